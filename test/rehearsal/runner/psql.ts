import type { Context } from './context';
import { containerEnv } from './env';
import type { ContainerYaml } from './podspec';
import { portsOf, selects } from './services';
import type { KubeObject, PsqlOptions } from './types';

/** A client of the tests' own: the image's psql outside all pods, connecting to a Service as an application would. */
export class Psql {
  constructor(private readonly context: Context) {}

  async query(sql: string, options: PsqlOptions): Promise<string> {
    const { ns, image, major, network } = this.context;
    const service = this.service(options.service);
    const server = this.serverEnv(service);
    const env = {
      PGHOST: await network.addressOf(service),
      PGPORT: String(portsOf(service)[0]?.port ?? 5432),
      PGUSER: options.user ?? server.get('POSTGRES_USER') ?? 'postgres',
      PGDATABASE: options.db ?? 'postgres',
      PGPASSWORD: options.password ?? server.get('POSTGRES_PASSWORD') ?? '',
      PGCONNECT_TIMEOUT: '10',
      PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
    };
    const chroot = ['chroot', '--userspec=999:999', image.root];
    const psql = [`/usr/lib/postgresql/${major}/bin/psql`, '-XAtqw', '-v', 'ON_ERROR_STOP=1', '-f', '-'];
    const timeoutMs = options.timeoutMs ?? 120_000;
    const done = await ns.run([...chroot, ...psql], { env, input: sql, timeoutMs });
    if (done.exitCode !== 0) throw new Error(`psql (exit ${done.exitCode}): ${done.stderr.trim()}`);
    return done.stdout.replace(/\n$/, '');
  }

  private service(name: string | undefined): KubeObject {
    if (name) return this.context.objects.get('Service', name);
    const all = this.context.objects.all('Service').filter((one) => portsOf(one).some(({ port }) => port === 5432));
    if (all.length === 1) return all[0] as KubeObject;
    const names = all.map((one) => `\`${one.metadata.name}\``).join(', ');
    throw new Error(`psql: \`service\` must say where to connect, there are ${names || 'no Services with port 5432'}`);
  }

  /** User and password as the server behind the Service got them. */
  private serverEnv(service: KubeObject): Map<string, string> {
    const { objects } = this.context;
    const set = objects
      .all('StatefulSet')
      .find((one) => selects(service, one['spec']?.template?.metadata?.labels ?? {}));
    const containers: ContainerYaml[] = set?.['spec']?.template?.spec?.containers ?? [];
    const identity = { name: '', namespace: objects.namespace, uid: '', labels: {}, annotations: {} };
    return new Map(
      containers.flatMap((one) => [
        ...containerEnv(one, new Map(), objects, { ...identity, address: '', serviceAccount: '' }),
      ]),
    );
  }
}
