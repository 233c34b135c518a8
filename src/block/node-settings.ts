// What a node's user may set on it, whatever its driver: the members that QMP's blockdev options have in common.

/** Whether writes of nothing but zeroes are made write-zeroes, and whether those may then deallocate. */
export type DetectZeroes = "off" | "on" | "unmap";

export interface NodeSettings {
  /** Nobody may write, whatever the driver could. */
  readonly readOnly: boolean;
  /** An image that cannot be opened for writing is opened read-only. */
  readonly autoReadOnly: boolean;
  /** The image is opened past the locks of others. */
  readonly forceShare: boolean;
  /** `unmap`: discards reach the driver. `ignore`: they succeed and do nothing. */
  readonly discard: "unmap" | "ignore";
  readonly detectZeroes: DetectZeroes;
  /** Was asked for, and is shown. Data go through the system's cache all the same: Node has no aligned buffers of guest RAM. */
  readonly cacheDirect: boolean;
  /** Flushes succeed without reaching the file: what was acknowledged may be lost. */
  readonly cacheNoFlush: boolean;
}

/** The defaults of all but `readOnly`. */
export const DEFAULT_NODE_SETTINGS: Omit<NodeSettings, "readOnly"> = {
  autoReadOnly: false,
  forceShare: false,
  discard: "ignore",
  detectZeroes: "off",
  cacheDirect: false,
  cacheNoFlush: false,
};
