// Which QEMU's monitor this is, and whose.

export interface VersionInfo {
  /** The QEMU whose behaviour this follows. Printed in QEMU's order. */
  readonly qemu: { readonly micro: number; readonly minor: number; readonly major: number };
  /** What it really is. */
  readonly package: string;
}

/** What query-version and the greeting say for this version of ours, `0.1.0`. */
export function versionInfo(version: string): VersionInfo {
  return { qemu: { micro: 2, minor: 1, major: 10 }, package: `virtio-blk ${version}` };
}
