/** What an image has not, where it is known at synth that something else would need it. */
export type Missing = 'entrypoint' | 'rootCertificates' | 'zstd';

/** What follows from an image. */
export interface ImageFacts {
  readonly reference: string;
  readonly major: number;
  readonly uid: number;
  readonly gid: number;
  readonly declaredVolumes: readonly string[];
  /**
   * @default nothing that is known
   */
  readonly lacks?: readonly Missing[];
}
