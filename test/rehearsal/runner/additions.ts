import { chmodSync, copyFileSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PodIdentity } from './env';
import type { Mount } from './oci';
import type { Overlay } from './types';

/** Files that the kubelet and the engine put into every container. */
export function engineFiles(folder: string, hosts: string, hostname: string, readOnlyRoot: boolean): Mount[] {
  mkdirSync(folder, { recursive: true });
  const file = (destination: string, content: string, mode: number): Mount => {
    const source = join(folder, destination.replaceAll('/', '_'));
    writeFileSync(source, content);
    chmodSync(source, mode);
    return { destination, source, readOnly: readOnlyRoot && mode !== 0o666 };
  };
  return [
    file('/etc/hosts', hosts, 0o644),
    file('/etc/hostname', `${hostname}\n`, 0o644),
    file('/etc/resolv.conf', '# names of the rehearsal stand in /etc/hosts\n', 0o644),
    file('/dev/termination-log', '', 0o666),
  ];
}

/** What a pod gets that does not switch automountServiceAccountToken off. */
export function serviceAccountToken(folder: string, identity: PodIdentity): Mount {
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of [
    ['namespace', identity.namespace],
    ['token', 'a token that no API server knows'],
    ['ca.crt', ''],
  ] as const) {
    writeFileSync(join(folder, name), text);
    chmodSync(join(folder, name), 0o644);
  }
  return { destination: '/var/run/secrets/kubernetes.io/serviceaccount', source: folder, readOnly: true };
}

/** Fault injection: copies, so that a container may run them whatever mode the test's files have. */
export function overlayFiles(folder: string, overlay: Overlay): Mount[] {
  mkdirSync(folder, { recursive: true });
  return Object.entries(overlay).map(([destination, file], index) => {
    const source = join(folder, String(index));
    copyFileSync(file, source);
    chmodSync(source, 0o755);
    return { destination, source, readOnly: true };
  });
}

const FAKETIME = '/usr/lib/rehearsal-faketime.so';

function faketimeLibrary(): string {
  for (const triplet of readdirSync('/usr/lib')) {
    const folder = join('/usr/lib', triplet, 'faketime');
    try {
      if (readdirSync(folder).includes('libfaketime.so.1')) return join(folder, 'libfaketime.so.1');
    } catch {
      // not a folder of libraries
    }
  }
  throw new Error('libfaketime is missing; apt-get install libfaketime');
}

/**
 * Another time of day for the pod's processes: an offset, so that it is the same for all of them and goes on. Files get the
 * machine's time (as those on an NFS server would), and sleeps last as long as they say. bash's own clock (`printf %()T`,
 * EPOCHSECONDS) is out of reach; `date`, awk and perl are not.
 */
export function clockOf(clock: string): { files: Overlay; env: Record<string, string> } {
  const wanted = Date.parse(`${clock.replace(' ', 'T').replace(/Z$/, '')}Z`);
  if (Number.isNaN(wanted)) throw new Error(`clock must be like \`2026-11-01 05:30:00\` (UTC), got \`${clock}\``);
  // Never before the wanted time, and at most a second after it.
  const seconds = Math.ceil((wanted - Date.now()) / 1000);
  return {
    files: { [FAKETIME]: faketimeLibrary() },
    env: {
      LD_PRELOAD: FAKETIME,
      FAKETIME: `${seconds < 0 ? '' : '+'}${seconds}`,
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      NO_FAKE_STAT: '1',
    },
  };
}
