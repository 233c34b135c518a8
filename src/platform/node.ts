// The platform on Node: the one file below `src/base` that may import `node:` modules.

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { createInflateRaw, deflateRaw } from "node:zlib";
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

  deflateRaw: (bytes) =>
    new Promise((resolve, reject) => {
      deflateRaw(bytes, { windowBits: 12 }, (error, data) => {
        if (error !== null) reject(error);
        else resolve(data.length < bytes.length ? data : undefined);
      });
    }),

  // As a stream: it is left when there is enough, so that neither what follows nor what else is claimed costs anything.
  inflateRaw: (data, length) =>
    new Promise((resolve) => {
      const result = new Uint8Array(length);
      let done = 0;
      const stream = createInflateRaw({ windowBits: 15, chunkSize: Math.max(length, 64) });
      const end = (): void => {
        stream.destroy();
        resolve(done === length ? result : undefined);
      };
      stream.on("data", (chunk: Uint8Array) => {
        const some = chunk.subarray(0, length - done);
        result.set(some, done);
        done += some.length;
        if (done === length) end();
      });
      stream.on("end", end);
      stream.on("error", end);
      stream.end(data);
    }),
};
