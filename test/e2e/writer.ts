import fs from 'node:fs';
import path from 'node:path';
import { poll } from './kubectl';
import type { Manifest } from './older-servers';
import { Client, type Server } from './server';

const SCRIPT = fs.readFileSync(path.join(__dirname, 'scripts', 'writer.sh'), 'utf8');
const FILE = '/tmp/committed';

/** A load of single-row transactions on `busy.load` from a pod of its own; it knows each id that was committed. */
export class Writer {
  private constructor(
    private readonly client: Client,
    private readonly server: Server,
  ) {}

  static async start(job: Manifest, server: Server): Promise<Writer> {
    const command = ['bash', '-c', SCRIPT, 'writer.sh', 'busy', FILE];
    return new Writer(await Client.start(job, server.namespace, 'e2e-writer', command), server);
  }

  async committed(): Promise<string[]> {
    const text = await this.client.exec(['cat', FILE]);
    // A line that is being written has no end yet.
    return text.split('\n').slice(0, -1);
  }

  /** Waits until so many more rows are committed than at the time of the call. */
  async progress(rows: number, seconds = 120): Promise<void> {
    const already = (await this.committed()).length;
    const enough = async () => (await this.committed()).length >= already + rows || undefined;
    await poll(`${rows} more committed rows`, seconds, enough);
  }

  async errors(): Promise<string> {
    return await this.client.exec(['cat', `${FILE}.errors`]);
  }

  /** Ids that the server called committed and does not have. */
  async lost(): Promise<string[]> {
    const committed = await this.committed();
    const there = new Set((await this.server.psql('SELECT id FROM load', 'busy')).split('\n'));
    return committed.filter((id) => !there.has(id));
  }

  async stop(): Promise<void> {
    await this.client.stop();
  }
}
