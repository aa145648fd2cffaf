import type { k8s } from 'cdk8s-plus-28';
import type { IConstruct } from 'constructs';
import type { Credentials } from './credentials';
import type { PostgresImage } from './image';

/** A server that backups are taken of and restored into. */
export interface IPostgres extends IConstruct {
  /** Name that the server is reached by from its own namespace. */
  readonly host: string;
  readonly port: number;
  /** Role that dumps and restores connect as; it must be a superuser. */
  readonly superuser: Credentials;
  /** Image whose client programs fit the server. */
  readonly image: PostgresImage;
  /** The claim that holds the server's data, where it is known. */
  readonly dataClaim?: string;
}

/** libpq's environment for a client of the server. */
export function clientEnv({ host, port, superuser }: IPostgres): k8s.EnvVar[] {
  return [
    { name: 'PGHOST', value: host },
    { name: 'PGPORT', value: String(port) },
    ...superuser._env('PGUSER', 'PGPASSWORD'),
    { name: 'PGDATABASE', value: 'postgres' },
    { name: 'PGCONNECT_TIMEOUT', value: '10' },
  ];
}
