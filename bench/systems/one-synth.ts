import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { Chart, Size } from 'cdk8s';
import { Cpu } from 'cdk8s-plus-28';
import {
  BackupVolume,
  Credentials,
  LogicalBackup,
  LogicalRestore,
  Postgres,
  PostgresImage,
  Retention,
  Schedule,
  Storage,
  SystemApp,
} from '../../lib';

/** What home-lab is, but for its metrics, under names of its own. */
function system(app: SystemApp, name: string): void {
  const chart = new Chart(app, name, { namespace: name, labels: { 'app.kubernetes.io/part-of': name } });
  const nfs = { storageClass: 'nfs-client', rootSquash: true };
  const of = new Postgres(chart, 'server', {
    name: `${name}-postgresql`,
    image: PostgresImage.official('18.3', { suite: 'trixie' }),
    storage: Storage.claimTemplate({ size: Size.gibibytes(8), ...nfs }),
    superuser: Credentials.fromSecret(`${name}-postgresql`, { passwordKey: 'postgres-password' }),
    resources: {
      cpu: { request: Cpu.millis(100), limit: Cpu.millis(500) },
      memory: { request: Size.mebibytes(256), limit: Size.gibibytes(1) },
    },
  });
  const to = new BackupVolume(chart, 'backups', { name: `${name}-backup`, size: Size.gibibytes(10), ...nfs });
  const from = new LogicalBackup(chart, 'nightly', {
    of,
    to,
    schedule: Schedule.daily('02:00'),
    retention: Retention.last(7),
  });
  new LogicalRestore(chart, 'restore', { from, name: `${name}-restore` });
}

/** Builds and writes one app of so many systems; returns milliseconds. */
function synth(systems: number): number {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk8s-postgres-bench-'));
  try {
    const start = performance.now();
    const app = new SystemApp({ outdir: path.join(folder, 'dist') });
    for (let i = 0; i < systems; i++) system(app, `system-${i}`);
    app.synth();
    const milliseconds = performance.now() - start;
    if (fs.readdirSync(path.join(folder, 'dist')).length !== systems) throw new Error('not every system was written');
    return milliseconds;
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** `one-synth.ts SYSTEMS WARM_UPS`: prints milliseconds and the most memory that this process had, in bytes. */
const [systems, warmUps] = process.argv.slice(2).map(Number) as [number, number];
// What the compiler of V8 still learns would be counted to the smaller app's disadvantage.
for (let i = 0; i < warmUps; i++) synth(30);
process.stdout.write(JSON.stringify({ milliseconds: synth(systems), bytes: process.resourceUsage().maxRSS * 1024 }));
