import { HIDDEN, refuse } from '../guard/input-error';

/** Parameters of `postgresql.conf` by name. */
export type Settings = Readonly<Record<string, string | number | boolean>>;

/** What a connection from outside the pod and the library's own files need; it can't be set otherwise. */
const OWN = [
  'listen_addresses',
  'port',
  'data_directory',
  'config_file',
  'hba_file',
  'ident_file',
  'include',
  'include_dir',
  'include_if_exists',
  'unix_socket_directories',
];

/** Without these a crash, of the server or of the node, loses the database. */
const NEEDED = ['fsync', 'full_page_writes'];

/**
 * The file that the server is started with. It takes in the one that initdb wrote (locale, time zone, shared memory for
 * this machine) and goes on top of it; `ALTER SYSTEM` beats both.
 *
 * @see https://www.postgresql.org/docs/current/config-setting.html#CONFIG-SETTING-CONFIGURATION-FILE
 */
export function renderSettings(settings: Settings, dataDirectory: string, port: number): string {
  const lines = Object.entries(settings).map(([name, value]) => {
    if (!/^[a-z_][a-z0-9_.]*$/i.test(name)) {
      refuse('settings', 'have names of PostgreSQL parameters', name, 'write for example "work_mem"');
    }
    if (OWN.includes(name.toLowerCase())) {
      refuse('settings', 'leave alone what the construct sets itself', name, 'leave it out');
    }
    if (NEEDED.includes(name.toLowerCase()) && /^(off?|f(a(l(s(e)?)?)?)?|no?|0)$/i.test(String(value))) {
      refuse('settings', `leave ${name} on: without it a crash loses the database`, value, 'leave it out');
    }
    if (/\bpassword\s*=/i.test(String(value))) {
      refuse('settings', `hold no password, they are rendered into a ConfigMap (${name})`, HIDDEN, 'use a passfile');
    }
    return `${name} = ${quoted(value)}`;
  });
  return [
    '# Rendered by cdk8s-postgres. initdb wrote the file below; what follows it here wins.',
    `include = ${quoted(`${dataDirectory}/postgresql.conf`)}`,
    "listen_addresses = '*'",
    `port = ${port}`,
    ...lines,
    '',
  ].join('\n');
}

function quoted(value: string | number | boolean): string {
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  if (typeof value === 'number') return String(value);
  if (/[\n\r\0]/.test(value)) refuse('settings', 'have values of one line', value, 'remove the line break');
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}
