// Raw deflate (RFC 1951), as the platform does it.

import { platform } from "#platform";

/** `bytes` in a window of 4 KiB; undefined where that is not shorter. */
export function deflateRaw(bytes: Uint8Array): Promise<Uint8Array | undefined> {
  return platform.deflateRaw(bytes);
}

/** The first `length` bytes of what was deflated; anything may follow it. Undefined where there are not so many. */
export function inflateRaw(data: Uint8Array, length: number): Promise<Uint8Array | undefined> {
  return platform.inflateRaw(data, length);
}
