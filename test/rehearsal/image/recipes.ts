/** What a pod's `image` may name, and the file in `recipes/` that makes it. */
export interface Recipe {
  /** `recipes/<name>.sh` */
  readonly name: string;
  /** Whether there is one for each major version of PostgreSQL; otherwise one serves all rehearsals. */
  readonly perMajor: boolean;
  /** Whether a reference means this image. */
  readonly fits: (repository: string, tag: string | undefined) => boolean;
  /** Other recipes that this one reads. */
  readonly reads?: readonly string[];
}

/** Docker Hub's own name, and mirrors of the name that documentation is free to use. */
const isOfficial = (repository: string) => /^(registry\.example\.com\/(.+\/)?)?postgres$/.test(repository);

export const OFFICIAL: Recipe = {
  name: 'official',
  perMajor: true,
  // Alpine's has another C library and another uid: what runs here would prove nothing about it.
  fits: (repository, tag) => isOfficial(repository) && !tag?.includes('alpine'),
};

export const RECIPES: readonly Recipe[] = [
  OFFICIAL,
  {
    name: 'exporter',
    perMajor: false,
    fits: (repository) => repository === 'quay.io/prometheuscommunity/postgres-exporter',
  },
  {
    name: 'bitnami',
    perMajor: true,
    fits: (repository) => /^bitnami(legacy)?\/postgresql$/.test(repository),
    reads: ['official', 'bitnami-entrypoint'],
  },
  { name: 'other', perMajor: false, fits: (repository) => repository === 'registry.example.com/other' },
];

/** `docker.io/library/postgres:18.3@sha256:…` is the image `postgres` with the tag `18.3`. */
function parse(reference: string): { repository: string; tag: string | undefined } {
  const name = reference.replace(/@.*$/, '');
  const tag = /:([^:/]+)$/.exec(name)?.[1];
  const whole = tag === undefined ? name : name.slice(0, -tag.length - 1);
  return { repository: whole.replace(/^docker\.io\/(library\/)?/, ''), tag };
}

/** The recipe of an image; never PostgreSQL's by mistake. Pods of tests that name none get PostgreSQL. */
export function recipeOf(reference: string | undefined): Recipe {
  if (reference === undefined) return OFFICIAL;
  const { repository, tag } = parse(reference);
  const found = RECIPES.find((one) => one.fits(repository, tag));
  if (found) return found;
  throw new Error(
    `the rehearsal has no image \`${reference}\`; add a recipe to test/rehearsal/image/recipes and list it in recipes.ts`,
  );
}
