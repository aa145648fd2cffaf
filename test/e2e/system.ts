import { Chart, Size } from 'cdk8s';
import { Cpu } from 'cdk8s-plus-28';
import type { Construct } from 'constructs';
import { Credentials, Postgres, type PostgresProps, type Resources, Storage } from '../../lib';
import { createNamespace, ownNamespace } from './cluster';
import { kubectl } from './kubectl';

/** Small, so that several fit beside each other on a laptop's cluster. */
export const SMALL: Resources = {
  cpu: { request: Cpu.millis(50), limit: Cpu.units(1) },
  memory: { request: Size.mebibytes(128), limit: Size.mebibytes(512) },
};
const SECRET = 'e2e-postgres';

/** A chart in a namespace of its own, and servers in it. */
export class TestSystem extends Chart {
  readonly namespaceName: string;

  constructor(
    scope: Construct,
    readonly purpose: string,
  ) {
    super(scope, purpose, { namespace: ownNamespace(purpose) });
    this.namespaceName = ownNamespace(purpose);
  }

  addServer(
    props: Pick<PostgresProps, 'name' | 'image'> &
      Partial<PostgresProps> & { claim: Parameters<typeof Storage.claimTemplate>[0] },
  ): Postgres {
    const { claim, ...rest } = props;
    return new Postgres(this, props.name, {
      storage: Storage.claimTemplate(claim),
      superuser: Credentials.fromSecret(SECRET, { passwordKey: 'password' }),
      resources: SMALL,
      ...rest,
    });
  }
}

/** The namespace and the Secret that a {@link TestSystem} needs. */
export async function createSystemNamespace(purpose: string): Promise<string> {
  const namespace = ownNamespace(purpose);
  await createNamespace(namespace);
  await kubectl(['create', 'secret', 'generic', SECRET, '-n', namespace, '--from-literal=password=e2e']);
  return namespace;
}
