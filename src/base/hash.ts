// Hashes, as the platform computes them.

import { platform } from "#platform";

/** SHA-256 of `bytes` as 64 lower-case hexadecimal digits. `bytes` must not change until it is there. */
export function sha256(bytes: Uint8Array): Promise<string> {
  return platform.sha256(bytes);
}
