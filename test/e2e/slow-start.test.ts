import { Size } from 'cdk8s';
import { afterAll, beforeAll, expect } from 'vitest';
import { openCluster, ownNamespace, removeNamespace } from './cluster';
import { IMAGES } from './images';
import { getItems, kubectl, poll, sleep, tryKubectl } from './kubectl';
import { isTrue } from './objects';
import { render } from './render';
import { Server } from './server';
import { steps } from './steps';
import { createSystemNamespace, TestSystem } from './system';

const NAMESPACE = ownNamespace('slow-start');
const SLEEP = 60;

const step = steps();
const server = new Server(NAMESPACE, 'slow');
let started: number;

beforeAll(async () => {
  const cluster = await openCluster();
  await createSystemNamespace('slow-start');
  const { folder } = render('slow-start', cluster, (app) => {
    new TestSystem(app, 'slow-start').addServer({
      name: 'slow',
      image: IMAGES[18],
      claim: { size: Size.gibibytes(1), storageClass: cluster.storageClass, rootSquash: true },
      initScripts: {
        '01-slow.sql': `CREATE TABLE begun AS SELECT now();\nSELECT pg_sleep(${SLEEP});\nCREATE TABLE ended AS SELECT 1;\n`,
      },
    });
  });
  await kubectl(['apply', '-f', folder]);
});
afterAll(() => removeNamespace(NAMESPACE));

step(`an init script that sleeps ${SLEEP} s: the server answers on its socket and the pod is not Ready`, async () => {
  const begun = async () => {
    const { stdout } = await tryKubectl(server.execArgs(['psql', '-XAtw', '-U', 'postgres', '-c', 'TABLE begun']));
    return stdout === '' ? undefined : Date.now();
  };
  started = await poll('the init script', 120, begun);
  let looks = 0;
  while (Date.now() < started + (SLEEP - 5) * 1000) {
    expect(isTrue((await server.get()).status.conditions, 'Ready')).toBe(false);
    expect(await endpoints()).toEqual([]);
    looks += 1;
    await sleep(1);
  }
  expect(looks).toBeGreaterThan(10);
});

step('it is Ready once the script has ended, and was never killed', async () => {
  const pod = await server.waitReady(90);
  expect(await server.psql('TABLE ended')).toBe('1');
  expect(pod.status.containerStatuses?.map(({ restartCount }) => restartCount)).toEqual([0]);
  const ready = pod.status.conditions?.find(({ type }) => type === 'Ready');
  const script = await server.psql('SELECT extract(epoch FROM now)::bigint FROM begun');
  // The API server writes whole seconds.
  expect(Date.parse(ready!.lastTransitionTime) / 1000).toBeGreaterThanOrEqual(Number(script) + SLEEP - 1);
  expect(await endpoints()).toEqual(['slow-0']);
  type Event = { reason: string; involvedObject: { name: string } };
  const events = await getItems<Event>(['events', '-n', NAMESPACE]);
  const killed = events.filter(
    ({ reason, involvedObject }) => reason === 'Killing' && involvedObject.name === 'slow-0',
  );
  expect(killed).toEqual([]);
});

/** Pods that the Service sends connections to. */
async function endpoints(): Promise<(string | undefined)[]> {
  type Endpoints = { subsets?: { addresses?: { targetRef?: { name: string } }[] }[] };
  const all = await getItems<Endpoints>(['endpoints', '-n', NAMESPACE, '--field-selector', 'metadata.name=slow']);
  return all.flatMap(({ subsets = [] }) =>
    subsets.flatMap(({ addresses = [] }) => addresses.map((a) => a.targetRef?.name)),
  );
}
