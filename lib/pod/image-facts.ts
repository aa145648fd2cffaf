/** What follows from an image. */
export interface ImageFacts {
  readonly reference: string;
  readonly major: number;
  readonly uid: number;
  readonly gid: number;
  readonly declaredVolumes: readonly string[];
}
