import { limitsMemory } from './cgroup';
import type { User } from './user';

export interface Mount {
  destination: string;
  source: string;
  readOnly: boolean;
}

/** A container, resolved: what is left of the pod's YAML when every default and reference is filled in. */
export interface ContainerSpec {
  id: string;
  args: string[];
  env: Map<string, string>;
  cwd: string;
  user: User;
  capabilities: string[];
  noNewPrivileges: boolean;
  readOnlyRoot: boolean;
  root: string;
  /** The image's files. */
  image: string;
  stopSignal: string;
  mounts: Mount[];
  memoryBytes: number | undefined;
  hostname: string;
  network: string;
  cgroup: string;
}

/** What an engine grants when a pod says nothing. */
const DEFAULT_CAPABILITIES = [
  ...['CHOWN', 'DAC_OVERRIDE', 'FSETID', 'FOWNER', 'MKNOD', 'NET_RAW', 'SETGID', 'SETUID', 'SETFCAP', 'SETPCAP'],
  ...['NET_BIND_SERVICE', 'SYS_CHROOT', 'KILL', 'AUDIT_WRITE'],
];

export function capabilitiesOf({ add = [], drop = [] }: { add?: string[]; drop?: string[] } = {}): string[] {
  const kept = drop.includes('ALL') ? [] : DEFAULT_CAPABILITIES.filter((one) => !drop.includes(one));
  return [...new Set([...kept, ...add])].map((one) => `CAP_${one}`);
}

const FIXED_MOUNTS = [
  { destination: '/proc', type: 'proc', source: 'proc' },
  {
    destination: '/dev',
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
  },
  {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
  },
  { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
  { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
];

/** 64 MiB unless the pod mounts something there, which is why PostgreSQL pods do. */
const SHM = {
  destination: '/dev/shm',
  type: 'tmpfs',
  source: 'shm',
  options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'],
};

const MASKED = ['/proc/acpi', '/proc/kcore', '/proc/keys', '/proc/latency_stats', '/proc/timer_list', '/sys/firmware'];
const READ_ONLY = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

export function processOf(spec: ContainerSpec, args: string[], env: Record<string, string> = {}) {
  const all = new Map([...spec.env, ...Object.entries(env)]);
  return {
    terminal: false,
    user: { uid: spec.user.uid, gid: spec.user.gid, additionalGids: spec.user.groups },
    args,
    env: [...all].map(([name, value]) => `${name}=${value}`),
    cwd: spec.cwd,
    capabilities: { bounding: spec.capabilities, effective: spec.capabilities, permitted: spec.capabilities },
    noNewPrivileges: spec.noNewPrivileges,
  };
}

/** The OCI configuration that runc executes. */
export function ociConfig(spec: ContainerSpec) {
  const bound = spec.mounts.map(({ destination, source, readOnly }) => ({
    destination,
    type: 'bind',
    source,
    options: ['rbind', 'rprivate', readOnly ? 'ro' : 'rw'],
  }));
  const shm = bound.some((one) => one.destination === '/dev/shm') ? [] : [SHM];
  const memory = limitsMemory() && spec.memoryBytes !== undefined ? { memory: { limit: spec.memoryBytes } } : {};
  return {
    ociVersion: '1.0.2',
    process: processOf(spec, spec.args),
    root: { path: spec.root, readonly: spec.readOnlyRoot },
    hostname: spec.hostname,
    mounts: [...FIXED_MOUNTS, ...shm, ...bound],
    linux: {
      cgroupsPath: spec.cgroup,
      resources: { devices: [{ allow: false, access: 'rwm' }], ...memory },
      namespaces: [
        ...['pid', 'ipc', 'uts', 'mount', 'cgroup'].map((type) => ({ type })),
        { type: 'network', path: spec.network },
      ],
      maskedPaths: MASKED,
      readonlyPaths: READ_ONLY,
    },
  };
}
