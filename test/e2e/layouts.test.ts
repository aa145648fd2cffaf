import { Size } from 'cdk8s';
import { afterAll, beforeAll, expect } from 'vitest';
import { type Cluster, openCluster, ownNamespace, removeNamespace } from './cluster';
import { IMAGES } from './images';
import { kubectl } from './kubectl';
import { render } from './render';
import { Server } from './server';
import { steps } from './steps';
import { createSystemNamespace, TestSystem } from './system';

const NAMESPACE = ownNamespace('layouts');
/** Its rendered YAML is edited to the layout that the library refuses; the others are rendered as they are. */
const REFUSED = 'refused-on-17';
const OURS = ['ours-on-15', 'ours-on-17', 'ours-on-18'] as const;

const step = steps();
let cluster: Cluster;

beforeAll(async () => {
  cluster = await openCluster();
  await createSystemNamespace('layouts');
  const { folder } = render(
    'layouts',
    cluster,
    (app) => {
      const system = new TestSystem(app, 'layouts');
      const claim = { size: Size.gibibytes(1), storageClass: cluster.storageClass, rootSquash: true };
      system.addServer({ name: 'ours-on-15', image: IMAGES[15], claim });
      system.addServer({ name: 'ours-on-17', image: IMAGES[17], claim });
      system.addServer({ name: 'ours-on-18', image: IMAGES[18], claim });
      system.addServer({ name: REFUSED, image: IMAGES[17], claim });
    },
    (text) =>
      text.includes(`name: ${REFUSED}`)
        ? text.replaceAll('/var/lib/postgresql/pgdata', '/var/lib/postgresql/data')
        : text,
  );
  await kubectl(['apply', '-f', folder]);
});
afterAll(() => removeNamespace(NAMESPACE));

step('servers of 15, 17 and 18, and one of 17 with the refused layout, get 1000 rows', async () => {
  for (const name of [...OURS, REFUSED]) {
    const server = new Server(NAMESPACE, name);
    await server.waitReady();
    await server.psql('CREATE TABLE t AS SELECT generate_series(1, 1000) AS i');
    expect(await server.psql('SHOW server_version_num')).toMatch(new RegExp(`^${name.slice(-2)}`));
  }
  const directory = (name: string) => new Server(NAMESPACE, name).psql('SHOW data_directory');
  expect(await Promise.all([...OURS, REFUSED].map(directory))).toEqual([
    '/var/lib/postgresql/pgdata',
    '/var/lib/postgresql/pgdata',
    '/var/lib/postgresql/data',
    '/var/lib/postgresql/data',
  ]);
});

step('pods deleted: our layouts keep the rows', async () => {
  await deletePods();
  for (const name of OURS) expect(await new Server(NAMESPACE, name).psql('SELECT count(*) FROM t')).toBe('1000');
});

step('pods deleted: the refused layout has lost the rows where the runtime mounts declared volumes', async () => {
  const server = new Server(NAMESPACE, REFUSED);
  const found = await server.psql("SELECT count(*) FROM pg_class WHERE relname = 't'");
  expect(found).toBe(cluster.mountsDeclaredVolumes ? '0' : '1');
});

async function deletePods(): Promise<void> {
  const servers = [...OURS, REFUSED].map((name) => new Server(NAMESPACE, name));
  const before = await Promise.all(servers.map((server) => server.get()));
  await kubectl(['delete', 'pod', ...servers.map(({ pod }) => pod), '-n', NAMESPACE]);
  for (const [i, server] of servers.entries()) await server.waitReady(180, before[i]!.metadata.uid);
}
