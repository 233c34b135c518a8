// What a driver tells of an image that contradicts itself: QMP's BLOCK_IMAGE_CORRUPTED.

/** Told once of an image that is written to, whose requests all fail from then on, and once of one that is only read. */
export interface ImageDamage {
  readonly reason: string;
  /** The image is marked as corrupt, and neither read nor written any more. */
  readonly fatal: boolean;
  /** Of the file: what a request was about to change, or undefined where that is not it. */
  readonly range: DamagedRange | undefined;
}

export interface DamagedRange {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}
