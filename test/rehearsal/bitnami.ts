import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import type { KubeObject } from './runner/types';

/** What the owner of a release has chosen of the chart's values. */
export interface Release {
  readonly name: string;
  readonly image: string;
  readonly password: string;
  /** `tls.enabled` with `tls.certificatesSecret`: `tls.crt`, `tls.key` and whatever else the server is to see. */
  readonly certificates?: Record<string, string>;
  /** `primary.pgHbaConfiguration` */
  readonly pgHba?: string;
}

/**
 * What Bitnami's chart `postgresql` (16 to 18) renders for a standalone server, written down from its templates and
 * default values: someone else's objects, of which the library knows nothing. Left out: NetworkPolicy, disruption
 * budget, service account, the headless Service.
 *
 * https://github.com/bitnami/charts/tree/main/bitnami/postgresql/templates/primary
 */
export function bitnamiRelease({ name, image, password, certificates, pgHba }: Release): KubeObject[] {
  const tls = certificates !== undefined;
  const text = `
apiVersion: v1
kind: Secret
metadata:
  name: ${name}
  namespace: data
  labels:
    app.kubernetes.io/instance: ${name}
    app.kubernetes.io/managed-by: Helm
    app.kubernetes.io/name: postgresql
    app.kubernetes.io/component: primary
type: Opaque
data:
  postgres-password: ${Buffer.from(password).toString('base64')}
---
apiVersion: v1
kind: Secret
metadata: { name: ${name}-crt, namespace: data }
stringData: ${JSON.stringify(certificates ?? {})}
---
apiVersion: v1
kind: ConfigMap
metadata: { name: ${name}-configuration, namespace: data }
data: ${JSON.stringify(pgHba === undefined ? {} : { 'pg_hba.conf': pgHba })}
---
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: data }
spec:
  type: ClusterIP
  sessionAffinity: None
  ports:
    - { name: tcp-postgresql, port: 5432, targetPort: tcp-postgresql }
  selector:
    app.kubernetes.io/instance: ${name}
    app.kubernetes.io/name: postgresql
    app.kubernetes.io/component: primary
---
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: ${name}, namespace: data }
spec:
  replicas: 1
  serviceName: ${name}-hl
  updateStrategy: { rollingUpdate: {}, type: RollingUpdate }
  selector: { matchLabels: { app.kubernetes.io/instance: ${name} } }
  template:
    metadata:
      name: ${name}
      labels:
        app.kubernetes.io/instance: ${name}
        app.kubernetes.io/managed-by: Helm
        app.kubernetes.io/name: postgresql
        app.kubernetes.io/component: primary
    spec:
      serviceAccountName: ${name}
      automountServiceAccountToken: false
      hostNetwork: false
      hostIPC: false
      securityContext:
        fsGroup: 1001
        fsGroupChangePolicy: Always
        supplementalGroups: []
      initContainers:
        - name: copy-certs
          image: ${image}
          securityContext: &restricted
            allowPrivilegeEscalation: false
            capabilities: { drop: [ALL] }
            privileged: false
            readOnlyRootFilesystem: true
            runAsGroup: 1001
            runAsNonRoot: true
            runAsUser: 1001
            seccompProfile: { type: RuntimeDefault }
          command:
            - /bin/sh
            - -ec
            - cp /tmp/certs/* /opt/bitnami/postgresql/certs/; chmod 600 /opt/bitnami/postgresql/certs/tls.key
          volumeMounts:
            - { name: raw-certificates, mountPath: /tmp/certs }
            - { name: postgresql-certificates, mountPath: /opt/bitnami/postgresql/certs }
      containers:
        - name: postgresql
          image: ${image}
          imagePullPolicy: IfNotPresent
          securityContext: *restricted
          env:
            - { name: BITNAMI_DEBUG, value: "false" }
            - { name: POSTGRESQL_PORT_NUMBER, value: "5432" }
            - { name: POSTGRESQL_VOLUME_DIR, value: /bitnami/postgresql }
            - { name: PGDATA, value: /bitnami/postgresql/data }
            - { name: POSTGRES_PASSWORD_FILE, value: /opt/bitnami/postgresql/secrets/postgres-password }
            - { name: POSTGRESQL_ENABLE_LDAP, value: "no" }
            - { name: POSTGRESQL_ENABLE_TLS, value: "${tls ? 'yes' : 'no'}" }
            - { name: POSTGRESQL_TLS_CERT_FILE, value: /opt/bitnami/postgresql/certs/tls.crt }
            - { name: POSTGRESQL_TLS_KEY_FILE, value: /opt/bitnami/postgresql/certs/tls.key }
            - { name: POSTGRESQL_LOG_HOSTNAME, value: "false" }
            - { name: POSTGRESQL_CLIENT_MIN_MESSAGES, value: error }
            - { name: POSTGRESQL_SHARED_PRELOAD_LIBRARIES, value: pgaudit }
          ports:
            - { name: tcp-postgresql, containerPort: 5432 }
          livenessProbe: &probe
            failureThreshold: 6
            initialDelaySeconds: 30
            periodSeconds: 10
            successThreshold: 1
            timeoutSeconds: 5
            exec: { command: [/bin/sh, -c, 'exec pg_isready -U "postgres" -h 127.0.0.1 -p 5432'] }
          readinessProbe:
            <<: *probe
            initialDelaySeconds: 5
            exec: { command: [/bin/sh, -c, -e, 'exec pg_isready -U "postgres" -h 127.0.0.1 -p 5432'] }
          resources:
            limits: { cpu: 150m, ephemeral-storage: 2Gi, memory: 192Mi }
            requests: { cpu: 100m, ephemeral-storage: 50Mi, memory: 128Mi }
          volumeMounts:
            - { name: empty-dir, mountPath: /tmp, subPath: tmp-dir }
            - { name: empty-dir, mountPath: /opt/bitnami/postgresql/conf, subPath: app-conf-dir }
            - { name: empty-dir, mountPath: /opt/bitnami/postgresql/tmp, subPath: app-tmp-dir }
            - { name: postgresql-password, mountPath: /opt/bitnami/postgresql/secrets/ }
            - { name: postgresql-certificates, mountPath: /opt/bitnami/postgresql/certs, readOnly: true }
            - { name: dshm, mountPath: /dev/shm }
            - { name: data, mountPath: /bitnami/postgresql }
            - { name: postgresql-config, mountPath: /bitnami/postgresql/conf }
      volumes:
        - { name: empty-dir, emptyDir: {} }
        - { name: postgresql-config, configMap: { name: ${name}-configuration } }
        - { name: postgresql-password, secret: { secretName: ${name} } }
        - { name: raw-certificates, secret: { secretName: ${name}-crt } }
        - { name: postgresql-certificates, emptyDir: {} }
        - { name: dshm, emptyDir: { medium: Memory } }
  volumeClaimTemplates:
    - apiVersion: v1
      kind: PersistentVolumeClaim
      metadata: { name: data }
      spec:
        accessModes: [ReadWriteOnce]
        resources: { requests: { storage: 8Gi } }
`;
  const objects = parseAllDocuments(text, { merge: true }).map((one) => one.toJS() as KubeObject);
  const set = objects.find(({ kind }) => kind === 'StatefulSet')!['spec'].template.spec;
  if (!tls) without(set, 'certificates');
  if (pgHba === undefined) without(set, 'postgresql-config');
  if (!tls) delete set.initContainers;
  return objects;
}

/** The chart has these volumes only with what they are for. */
function without(pod: { volumes: Named[]; containers: [{ volumeMounts: Named[] }] }, volume: string): void {
  const others = (list: Named[]) => list.filter(({ name }) => !name.includes(volume));
  pod.volumes = others(pod.volumes);
  pod.containers[0].volumeMounts = others(pod.containers[0].volumeMounts);
}

interface Named {
  readonly name: string;
}

/** An authority made for one test: `crt(name, …)` signs. */
export class Authority {
  private readonly folder = mkdtempSync(join(tmpdir(), 'authority-'));

  constructor(name: string) {
    const subject = ['-subj', `/CN=${name}`, '-days', '2'];
    const made = [
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      'ca.key',
      '-out',
      'ca.crt',
    ];
    this.openssl('req', '-x509', ...subject, ...made);
  }

  get certificate(): string {
    return this.read('ca.crt');
  }

  key(): string {
    this.openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', 'one.key');
    return this.read('one.key');
  }

  /** A certificate for a key; `dates` as openssl takes them, e.g. `20200101000000Z`. */
  sign(key: string, name: string, { hosts = [], dates = [] }: { hosts?: string[]; dates?: string[] } = {}): string {
    writeFileSync(join(this.folder, 'one.key'), key);
    writeFileSync(
      join(this.folder, 'one.ext'),
      hosts
        .map((host) => `DNS:${host}`)
        .join(',')
        .replace(/^./, 'subjectAltName=$&'),
    );
    writeFileSync(join(this.folder, 'index.txt'), '');
    const options = 'database=index.txt\nnew_certs_dir=.\nserial=serial\ndefault_md=sha256\npolicy=p\nrand_serial=1\n';
    writeFileSync(join(this.folder, 'ca.cnf'), `[ca]\ndefault_ca=d\n[d]\n${options}[p]\ncommonName=supplied\n`);
    this.openssl('req', '-new', '-key', 'one.key', '-subj', `/CN=${name}`, '-out', 'one.csr');
    const [from = '20260101000000Z', to = '20460101000000Z'] = dates;
    const files = ['-cert', 'ca.crt', '-keyfile', 'ca.key', '-in', 'one.csr', '-out', 'one.crt', '-extfile', 'one.ext'];
    this.openssl('ca', '-batch', '-notext', '-config', 'ca.cnf', '-startdate', from, '-enddate', to, ...files);
    return this.read('one.crt');
  }

  close(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  private read(file: string): string {
    return readFileSync(join(this.folder, file), 'utf8');
  }

  private openssl(...args: string[]): void {
    execFileSync('openssl', args, { cwd: this.folder, stdio: ['ignore', 'ignore', 'pipe'] });
  }
}
