// The platform on Node: the one file below `src/base` that may import `node:` modules.

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import type { Platform } from "./platform.ts";

const ZEROES = Buffer.alloc(1 << 16);

export const platform: Platform = {
  monotonicMs: () => performance.now(),

  yieldToEventLoop: () => new Promise((resolve) => setImmediate(resolve)),

  // memcmp against zeroes: 65 to 88 GB/s for large areas, where a loop over words does 4 to 9 GB/s.
  isZero(bytes, offset, length) {
    for (let done = 0; done < length; ) {
      const step = Math.min(ZEROES.length, length - done);
      if (ZEROES.compare(bytes, offset + done, offset + done + step, 0, step) !== 0) return false;
      done += step;
    }
    return true;
  },

  sha256: (bytes) => Promise.resolve(createHash("sha256").update(bytes).digest("hex")),
};
