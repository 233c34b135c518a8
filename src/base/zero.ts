// The test for zeroes, as the platform does it.

import { platform } from "#platform";

/** True when every one of `length` bytes from `offset` on is zero. */
export function isZero(bytes: Uint8Array, offset: number, length: number): boolean {
  return platform.isZero(bytes, offset, length);
}
