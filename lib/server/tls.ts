import { refuse } from '../guard/input-error';
import { checkName } from '../guard/names';
import type { Mount } from '../pod/hardened-pod';
import type { ImageFacts } from '../pod/image-facts';

/** A certificate by reference: a key of a Secret or of a ConfigMap in the chart's namespace. */
export type CertificateSource =
  | {
      /** Name of a Secret, e.g. the one that cert-manager writes. */
      readonly secret: string;
      /**
       * @default "ca.crt"
       */
      readonly key?: string;
    }
  | {
      /** Name of a ConfigMap, e.g. the one that trust-manager writes. */
      readonly configMap: string;
      /**
       * @default "ca.crt"
       */
      readonly key?: string;
    };

/** The certificate that a client shows to a server that asks for one (`hostssl … cert`, or `clientcert=…` in pg_hba.conf). */
export interface ClientCertificate {
  /** Name of a Secret, as a rule of type `kubernetes.io/tls`. */
  readonly secret: string;
  /**
   * The Secret's key that holds the certificate.
   *
   * @default "tls.crt"
   */
  readonly certificate?: string;
  /**
   * The Secret's key that holds the private key.
   *
   * @default "tls.key"
   */
  readonly privateKey?: string;
}

export interface TlsProps {
  /**
   * What the client shows of itself.
   *
   * @default nothing: it has a password
   */
  readonly clientCertificate?: ClientCertificate;
}

export interface VerifyCaProps extends TlsProps {
  /** Certificate of the authority that has signed the server's. */
  readonly ca: CertificateSource;
}

export interface VerifyFullProps extends TlsProps {
  /**
   * Certificate of the authority that has signed the server's.
   *
   * @default the public authorities that the image knows (PostgreSQL 16 and later; the official Debian image knows none)
   */
  readonly ca?: CertificateSource;
}

type Mode = 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';

/**
 * How a connection is protected: libpq's `sslmode` and its files.
 *
 * @see https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION
 */
export class Tls {
  /** Encrypted, and the server is the one that the host name says. The one mode that protects from everybody on the way. */
  static verifyFull(props: VerifyFullProps = {}): Tls {
    return new Tls('verify-full', props);
  }

  /** Encrypted, and the server's certificate is signed by the authority, whatever name it holds. */
  static verifyCa(props: VerifyCaProps): Tls {
    return new Tls('verify-ca', props);
  }

  /** Encrypted, or no connection; whoever answers is believed. */
  static require(props: TlsProps = {}): Tls {
    return new Tls('require', props);
  }

  /** Encrypted where the server can, in the clear where it can't; the log says which. */
  static prefer(): Tls {
    return new Tls('prefer', {});
  }

  /** In the clear. */
  static disable(): Tls {
    return new Tls('disable', {});
  }

  private constructor(
    private readonly mode: Mode,
    private readonly props: VerifyFullProps,
  ) {}

  /** @internal */
  get _env(): Record<string, string> {
    const { ca, clientCertificate } = this.props;
    const root = ca ? `${CA_PATH}/ca.crt` : this.mode === 'verify-full' && 'system';
    return {
      PGSSLMODE: this.mode,
      ...(root && { PGSSLROOTCERT: root }),
      ...(clientCertificate && { PGSSLCERT: `${CLIENT_PATH}/tls.crt`, PGSSLKEY: `${CLIENT_PATH}/tls.key` }),
    };
  }

  /**
   * Only the keys that are named: a Secret with the authority's certificate often holds a private key, too.
   *
   * @internal
   */
  get _mounts(): Mount[] {
    const { ca, clientCertificate } = this.props;
    const mounts: Mount[] = [];
    if (ca) {
      const files = { items: [{ key: ca.key ?? 'ca.crt', path: 'ca.crt' }] };
      const source =
        'secret' in ca
          ? { secret: { secretName: ca.secret, ...files } }
          : { configMap: { name: ca.configMap, ...files } };
      mounts.push({ path: CA_PATH, readOnly: true, volume: { name: 'tls-ca', ...source } });
    }
    if (clientCertificate) {
      const { secret, certificate = 'tls.crt', privateKey = 'tls.key' } = clientCertificate;
      const items = [
        { key: certificate, path: 'tls.crt' },
        { key: privateKey, path: 'tls.key' },
      ];
      const volume = { name: 'tls-client', secret: { secretName: secret, items } };
      mounts.push({ path: CLIENT_PATH, readOnly: true, volume });
    }
    return mounts;
  }

  /**
   * @throws InputError if a client of this image could never connect
   * @internal
   */
  static _check(prop: string, tls: Tls, image: ImageFacts): void {
    if (!(tls instanceof Tls)) refuse(prop, 'be one of the modes of `Tls`', tls, 'write for example `Tls.require()`');
    const { ca, clientCertificate } = tls.props;
    if (ca) checkSource(`${prop}.ca`, ca);
    if (tls.mode === 'verify-ca' && !ca) {
      refuse(`${prop}.ca`, 'name a certificate', ca, 'write for example `Tls.verifyCa({ ca: { secret: "pg-tls" } })`');
    }
    if (tls.mode === 'verify-full' && !ca) checkPublicAuthorities(prop, image);
    if (clientCertificate) {
      const { secret, certificate = 'tls.crt', privateKey = 'tls.key' } = clientCertificate;
      checkName('Secret', secret, `${prop}.clientCertificate.secret`);
      checkKey(`${prop}.clientCertificate.certificate`, certificate);
      checkKey(`${prop}.clientCertificate.privateKey`, privateKey);
    }
  }
}

/** Where the pods of clients see the files. */
const CA_PATH = '/tls/ca';
const CLIENT_PATH = '/tls/client';

const NAME_ONE = 'write for example `Tls.verifyFull({ ca: { secret: "pg-tls" } })`';

function checkSource(prop: string, source: CertificateSource): void {
  const { secret, configMap } = source as { secret?: string; configMap?: string };
  if ((secret === undefined) === (configMap === undefined)) {
    const got = secret === undefined ? undefined : `${secret} and ${configMap}`;
    refuse(prop, 'name a Secret or a ConfigMap', got, 'write for example `{ secret: "pg-tls" }`');
  }
  if (secret !== undefined) checkName('Secret', secret, `${prop}.secret`);
  else checkName('ConfigMap', configMap!, `${prop}.configMap`);
  checkKey(`${prop}.key`, source.key ?? 'ca.crt');
}

function checkKey(prop: string, key: string): void {
  if (typeof key === 'string' && /^[-._a-zA-Z0-9]{1,253}$/.test(key)) return;
  // Most often it is the certificate itself.
  const got = typeof key === 'string' && key.includes('-----BEGIN') ? 'a certificate' : key;
  refuse(prop, 'be a key of a Secret or ConfigMap (letters, digits, "-", "_", ".")', got, 'write for example "ca.crt"');
}

/** `sslrootcert=system` came with libpq 16: https://www.postgresql.org/docs/16/release-16.html */
function checkPublicAuthorities(prop: string, image: ImageFacts): void {
  if (image.major < 16) {
    const must = 'name a `ca`: clients before PostgreSQL 16 do not know the public authorities';
    refuse(prop, must, `a client of PostgreSQL ${image.major}`, NAME_ONE);
  }
  if (image.lacks?.includes('rootCertificates')) {
    refuse(prop, 'name a `ca`: the image has no certificates of public authorities', image.reference, NAME_ONE);
  }
}
