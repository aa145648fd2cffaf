import { refuse } from '../guard/input-error';
import { checkReference, DIGEST } from '../guard/reference';
import type { ImageFacts } from '../pod/image-facts';

export interface OfficialImageProps {
  /**
   * Debian suite of the image. It decides the C library, and with it the collations that indexes are sorted by: a tag
   * that moves to another suite breaks text indexes (https://github.com/docker-library/postgres/issues/1356).
   *
   * @default none; then `digest` is needed
   */
  readonly suite?: 'bullseye' | 'bookworm' | 'trixie' | 'forky';
  /**
   * Content address, `sha256:` and 64 hexadecimal digits: the tag may move, the image does not.
   *
   * @default the tag alone
   */
  readonly digest?: string;
  /**
   * Where the image is pulled from, e.g. `registry.example.com/mirror/postgres`.
   *
   * @default "postgres" (Docker Hub)
   */
  readonly repository?: string;
  /**
   * Lets a tag through that moves by itself (no minor release, or no suite and no digest).
   *
   * @default false
   */
  readonly allowFloatingTag?: boolean;
}

export interface AlpineImageProps extends Omit<OfficialImageProps, 'suite'> {
  /**
   * Alpine release of the image, e.g. `3.22`.
   *
   * @default none; then `digest` is needed
   */
  readonly release?: string;
}

export interface CustomImageProps {
  /** The whole reference, e.g. `registry.example.com/postgis:18.1-3.6@sha256:…`. */
  readonly reference: string;
  /** PostgreSQL major release that the image holds. */
  readonly major: number;
  /** uid that the image's server runs as. */
  readonly uid: number;
  /**
   * gid that the image's server runs as.
   *
   * @default `uid`
   */
  readonly gid?: number;
  /**
   * Paths that the image declares with `VOLUME` (`docker inspect -f '{{json .Config.Volumes}}'`): a container runtime lays
   * an anonymous volume over each that the pod does not mount itself.
   *
   * @default what the official image of this major release declares
   */
  readonly declaredVolumes?: readonly string[];
  /**
   * Lets a reference through that can move by itself (no digest, and a tag without a number or "latest").
   *
   * @default false
   */
  readonly allowFloatingTag?: boolean;
}

export interface BitnamiImageProps {
  /**
   * PostgreSQL major release that the image holds.
   *
   * @default what the tag begins with; "latest" does not say it
   */
  readonly major?: number;
  /**
   * Content address, `sha256:` and 64 hexadecimal digits: the tag may move, the image does not.
   *
   * @default the tag alone
   */
  readonly digest?: string;
  /**
   * Where the image is pulled from.
   *
   * @default "bitnamilegacy/postgresql" for a tag with a version, "bitnami/postgresql" for others: that is where they are
   */
  readonly repository?: string;
  /**
   * Lets a tag through that moves by itself. "latest" moves to the next major release, too.
   *
   * @default false
   */
  readonly allowFloatingTag?: boolean;
}

/** Majors with an official image that this library is run against. */
const OFFICIAL_MAJORS: readonly number[] = [15, 16, 17, 18];

/**
 * A PostgreSQL image and what follows from it: uid, declared volumes, where the data may lie.
 *
 * The images must have bash, gzip and flock(1) on board, as the official ones do; the scripts run in them.
 */
export class PostgresImage {
  /**
   * The official Debian image, uid and gid 999.
   *
   * @param version major and minor release, e.g. `18.1`
   * @see https://hub.docker.com/_/postgres
   */
  static official(version: string, props: OfficialImageProps = {}): PostgresImage {
    return new PostgresImage(() => {
      const major = officialMajor(version, props.allowFloatingTag);
      if (!props.suite && !props.digest && !props.allowFloatingTag) {
        const fix = `write \`PostgresImage.official("${version}", { suite: "trixie" })\` or give a \`digest\``;
        refuse('suite', 'be given, since a tag without it moves between Debian releases', undefined, fix);
      }
      const tag = props.suite ? `${version}-${props.suite}` : version;
      const declaredVolumes = declaredByOfficial(major);
      return { ...official(tag, props), major, uid: 999, gid: 999, declaredVolumes, lacks: ['rootCertificates'] };
    });
  }

  /**
   * The official Alpine image, uid and gid **70**: a volume written by the Debian image belongs to another user, and text
   * sorts differently (musl). Changing between them is a dump and a restore.
   *
   * @param version major and minor release, e.g. `18.1`
   */
  static alpine(version: string, props: AlpineImageProps = {}): PostgresImage {
    return new PostgresImage(() => {
      const major = officialMajor(version, props.allowFloatingTag);
      if (!props.release && !props.digest && !props.allowFloatingTag) {
        const fix = `write \`PostgresImage.alpine("${version}", { release: "3.22" })\` or give a \`digest\``;
        refuse('release', 'be given, since a tag without it moves between Alpine releases', undefined, fix);
      }
      const tag = `${version}-alpine${props.release ?? ''}`;
      return { ...official(tag, props), major, uid: 70, gid: 70, declaredVolumes: declaredByOfficial(major) };
    });
  }

  /**
   * Bitnami's image, uid and gid **1001** as in Bitnami's chart: for the pods that back up and restore a server of that chart.
   * Its own server is not run by this library. Since August 2025 the free images are "latest" alone, and those with versions
   * lie frozen under "bitnamilegacy", so the tag is free to choose; a digest is what holds it.
   *
   * @param tag e.g. `17.6.0-debian-12-r4`, or `latest`
   * @see https://github.com/bitnami/containers/issues/83267
   */
  static bitnami(tag: string, props: BitnamiImageProps = {}): PostgresImage {
    return new PostgresImage(() => {
      const major = bitnamiMajor(tag, props.major);
      const { digest, allowFloatingTag = false } = props;
      // What Bitnami never pushes to again has a distribution and a revision in its name.
      if (digest === undefined && !allowFloatingTag && !/^\d+\.\d+\.\d+-[a-z]+-\d+-r\d+$/.test(tag)) {
        const fix = 'give its `digest` (`docker buildx imagetools inspect`), or pass `allowFloatingTag: true`';
        refuse('tag', 'not be one that moves by itself', tag, fix);
      }
      const repository = props.repository ?? (/^\d/.test(tag) ? 'bitnamilegacy/postgresql' : 'bitnami/postgresql');
      return { ...official(tag, { ...props, repository }), major, ...BITNAMI };
    });
  }

  /** Any other image whose scripts and layout follow the official one's; say what it runs as and declares. */
  static custom(props: CustomImageProps): PostgresImage {
    return new PostgresImage(() => {
      if (!Number.isInteger(props.major) || props.major < 13) {
        refuse('major', 'be a major release, 13 or later', props.major, 'write for example 18');
      }
      const gid = props.gid ?? props.uid;
      for (const [prop, id] of Object.entries({ uid: props.uid, gid })) {
        if (!Number.isInteger(id) || id < 1 || id > 2 ** 31 - 1) {
          refuse(prop, 'be a number above 0, since nothing runs as root', id, 'write what `id` prints in the image');
        }
      }
      const declaredVolumes = props.declaredVolumes ?? declaredByOfficial(props.major);
      for (const path of declaredVolumes) {
        if (!path.startsWith('/')) refuse('declaredVolumes', 'hold absolute paths', path, `write "/${path}"`);
      }
      checkReference('reference', props.reference, 'registry.example.com/postgres:18.1-trixie', {
        allowFloating: props.allowFloatingTag,
        way: ', or pass `allowFloatingTag: true`',
      });
      checkCustomUid(props);
      const { reference, major, uid } = props;
      const lacks = isBitnami(reference) ? BITNAMI.lacks : undefined;
      return { reference, major, uid, gid, declaredVolumes, ...(lacks && { lacks }) };
    });
  }

  private constructor(private readonly read: () => ImageFacts) {}

  private facts?: ImageFacts;

  /**
   * What follows from the image.
   *
   * @throws InputError if the reference was not acceptable
   * @internal
   */
  get _facts(): ImageFacts {
    this.facts ??= this.read();
    return this.facts;
  }
}

/** https://github.com/docker-library/postgres/pull/1259: 18 moved the declared volume one level up. */
function declaredByOfficial(major: number): readonly string[] {
  return major >= 18 ? ['/var/lib/postgresql'] : ['/var/lib/postgresql/data'];
}

function officialMajor(version: string, floating = false): number {
  const match = /^([1-9][0-9]*)(?:\.([0-9]+))?$/.exec(version);
  const major = Number(match?.[1]);
  if (!match || !OFFICIAL_MAJORS.includes(major)) {
    refuse('version', `be a release of PostgreSQL ${OFFICIAL_MAJORS.join(', ')}`, version, 'write for example "18.1"');
  }
  if (match[2] === undefined && !floating) {
    const fix = `write for example "${major}.1", or pass \`allowFloatingTag: true\``;
    refuse('version', 'name a minor release, since a tag without it moves', version, fix);
  }
  return major;
}

function official(tag: string, props: { digest?: string; repository?: string }): { reference: string } {
  const { digest, repository = 'postgres' } = props;
  if (digest !== undefined && !DIGEST.test(digest)) {
    refuse(
      'digest',
      'be "sha256:" and 64 hexadecimal digits',
      digest,
      'copy it from `docker buildx imagetools inspect`',
    );
  }
  if (!/^[a-z0-9][a-z0-9._:/-]*$/.test(repository) || /:[^/]*$/.test(repository)) {
    refuse(
      'repository',
      'be an image name without a tag',
      repository,
      'write for example "registry.example.com/postgres"',
    );
  }
  return { reference: `${repository}:${tag}${digest ? `@${digest}` : ''}` };
}

/**
 * https://github.com/bitnami/containers/blob/main/bitnami/postgresql/18/debian-12/Dockerfile (uid, volumes, packages) and
 * https://github.com/bitnami/charts/blob/main/bitnami/postgresql/values.yaml (runAsGroup, fsGroup).
 */
const BITNAMI: Pick<ImageFacts, 'uid' | 'gid' | 'declaredVolumes' | 'lacks'> = {
  uid: 1001,
  gid: 1001,
  declaredVolumes: ['/bitnami/postgresql', '/docker-entrypoint-initdb.d', '/docker-entrypoint-preinitdb.d'],
  lacks: ['entrypoint', 'zstd'],
};

const isBitnami = (reference: string) => /(^|\/)bitnami[a-z]*\/postgresql(:|@|$)/.test(reference);
/** The official image by the names of Docker Hub alone: what a mirror calls "postgres" may be anything. */
const isOfficial = (reference: string) => /^(docker\.io\/)?(library\/)?postgres(:|@|$)/.test(reference);

function bitnamiMajor(tag: string, given: number | undefined): number {
  if (typeof tag !== 'string' || !/^[\w][\w.-]{0,127}$/.test(tag)) {
    refuse('tag', "be a tag of Bitnami's image", tag, 'write for example "17.6.0-debian-12-r4" or "latest"');
  }
  const named = /^(\d+)(?=[.-]|$)/.exec(tag)?.[1];
  const major = given ?? Number(named);
  if (named !== undefined && major !== Number(named)) {
    refuse('major', `be the one of the tag ${tag}`, given, 'leave it out');
  }
  if (!Number.isInteger(major) || major < 13) {
    const must = `be given, a release from 13 on, since the tag ${tag} does not say it`;
    refuse('major', must, given, 'write what `SHOW server_version` says, for example 18');
  }
  return major;
}

/** Known images run as one user each, whatever is said. */
function checkCustomUid({ reference, uid }: CustomImageProps): void {
  const alpine = /:[^@]*alpine/.test(reference);
  const known = isBitnami(reference) ? BITNAMI.uid : isOfficial(reference) ? (alpine ? 70 : 999) : uid;
  if (uid !== known) refuse('uid', `be the one that ${reference} runs as, ${known}`, uid, `write ${known}`);
}
