import path from 'node:path';
import { expect } from 'vitest';
import { Rehearsal } from '.';
import { ARCHIVE_CLAIM, DATA_CLAIM, recordPlatform, SERVER } from './record-platform';
import type { ClaimHandle, Major, PodHandle, StartOptions, VolumeKind } from './runner/types';

const SQUASH: VolumeKind = { kind: 'squash' };

/** record-platform on squashed storage; the archive on another kind where the test asks for it. */
export function openArchive(major: Major, archive = SQUASH): Promise<Rehearsal> {
  const volumes = { [DATA_CLAIM]: SQUASH, [ARCHIVE_CLAIM]: archive };
  return Rehearsal.open({ major, objects: recordPlatform(major), volumes });
}

/** Segments of 1 MiB: bursts and full volumes need not write gigabytes. */
const SMALL = '--auth-local=trust --auth-host=scram-sha-256 --wal-segsize=1';

export async function start(rehearsal: Rehearsal, options: StartOptions = {}): Promise<PodHandle> {
  const pod = await rehearsal.startStatefulSet(SERVER, { env: { POSTGRES_INITDB_ARGS: SMALL }, ...options });
  await pod.waitReady(60_000);
  return pod;
}

/** What an operator sees of the archive. */
export class Archive {
  constructor(
    private readonly rehearsal: Rehearsal,
    private readonly claim: ClaimHandle = rehearsal.claim(ARCHIVE_CLAIM),
  ) {}

  /** Folders of servers. */
  servers(): string[] {
    return this.claim.list().filter((name) => /^\d+\/$/.test(name));
  }

  /** Names in the folder of a server, those in `.partial` as `.partial/NAME`. */
  names(server = this.servers()[0]): string[] {
    const all = this.claim.list().filter((name) => name.startsWith(server ?? '?') && !name.endsWith('/'));
    return all.map((name) => name.slice(server!.length));
  }

  segments(): string[] {
    return this.names().filter((name) => /^[0-9A-F]{24}$/.test(name));
  }

  path(name: string): string {
    return path.join(this.claim.path, this.servers()[0]!, name);
  }

  /** Waits until all that was written is archived; the switch wakes an archiver that has given up for a minute. */
  async settle(): Promise<string> {
    const name = await this.switch();
    await expect.poll(() => this.segments(), { timeout: 30_000 }).toContain(name);
    return name;
  }

  /** Ends a segment that has something in it, and returns its name. */
  async switch(): Promise<string> {
    await this.rehearsal.psql('CREATE TABLE IF NOT EXISTS ping (i int); INSERT INTO ping VALUES (1)');
    return this.rehearsal.psql('SELECT pg_walfile_name(pg_switch_wal())');
  }

  async stat(): Promise<Record<string, string>> {
    const json = await this.rehearsal.psql('SELECT row_to_json(a) FROM pg_stat_archiver a');
    return JSON.parse(json);
  }
}

export const health = (pod: PodHandle) => pod.exec(['bash', '/scripts/archive-health.sh']);
