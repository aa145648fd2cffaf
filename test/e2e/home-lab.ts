import fs from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { type Cluster, createNamespace, openCluster, removeNamespace } from './cluster';
import { kubectl } from './kubectl';
import { find, type Rendered, renderHomeLab } from './render';
import { Server } from './server';

export const NAMESPACE = 'data';
export const CLAIM = 'data-postgres-postgresql-0';
/** Every character that a shell, a URL, a .pgpass file or the kubelet's own $(…) could stumble over. */
export const PASSWORD = `p:@/\\'" $x%&$(PGUSER)\`#!`;
const SQL = (file: string) => fs.readFileSync(path.join(__dirname, 'sql', file), 'utf8');

/** The home-lab system in its namespace, with its Secrets: what a user has before the first `kubectl apply`. */
export class HomeLabOnCluster {
  readonly server = new Server(NAMESPACE, 'postgres-postgresql');

  private constructor(
    readonly cluster: Cluster,
    readonly rendered: Rendered,
  ) {}

  static async prepare(): Promise<HomeLabOnCluster> {
    const cluster = await openCluster();
    const rendered = renderHomeLab(cluster);
    await createNamespace(NAMESPACE);
    const password = `--from-literal=postgres-password=${PASSWORD}`;
    await kubectl(['create', 'secret', 'generic', 'postgres-postgresql', '-n', NAMESPACE, password]);
    const metrics = '--from-literal=password=e2e-metrics';
    await kubectl(['create', 'secret', 'generic', 'postgres-metrics', '-n', NAMESPACE, metrics]);
    return new HomeLabOnCluster(cluster, rendered);
  }

  get folder(): string {
    return this.rendered.folder;
  }

  get restoreFile(): string {
    return path.join(this.folder, 'ops', 'restore.yaml');
  }

  get restoreJob() {
    return find(this.rendered, 'Job', 'postgres-restore-');
  }

  async apply(): Promise<string> {
    return await kubectl(['apply', '-f', this.folder]);
  }

  async loadData(): Promise<void> {
    await this.server.psql(SQL('backup-test.sql'));
    const counts = 'SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM transactions)';
    expect(await this.server.psql(counts, 'backup_test')).toBe('3|5');
  }

  /** All of a database that a dump must bring back, as text. */
  async content(database: string): Promise<string> {
    return await this.server.psql(SQL('content.sql'), database);
  }

  async close(): Promise<void> {
    await removeNamespace(NAMESPACE);
    fs.rmSync(path.dirname(path.dirname(this.folder)), { recursive: true, force: true });
  }
}
