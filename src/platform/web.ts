// The platform on the web: plain language and browser globals only.

import type { Platform } from "./platform.ts";

const channel = new MessageChannel();
const waiters: (() => void)[] = [];
channel.port1.addEventListener("message", () => waiters.shift()?.());
channel.port1.start();

export const platform: Platform = {
  monotonicMs: () => performance.now(),

  yieldToEventLoop: () =>
    new Promise((resolve) => {
      waiters.push(resolve);
      channel.port2.postMessage(null);
    }),

  isZero(bytes, offset, length) {
    const end = offset + length;
    let at = offset;
    while (at < end && (bytes.byteOffset + at) % 8 !== 0) if (bytes[at++] !== 0) return false;
    const words = new Float64Array(bytes.buffer, bytes.byteOffset + at, Math.floor((end - at) / 8));
    // The bits of +0 alone: -0 and NaN carry bits, and `Object.is` tells them from it.
    for (let i = 0; i < words.length; i++) if (!Object.is(words[i], 0)) return false;
    at += words.length * 8;
    while (at < end) if (bytes[at++] !== 0) return false;
    return true;
  },

  async sha256(bytes) {
    // SubtleCrypto takes no shared memory: hash a copy.
    const digest = await crypto.subtle.digest("SHA-256", new Uint8Array(bytes));
    return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
  },

  // CompressionStream looks back up to 32 KiB, which a reader with a window of 4 KiB would not follow.
  deflateRaw: () => Promise.resolve(undefined),

  async inflateRaw(data, length) {
    const stream = new DecompressionStream("deflate-raw");
    const writer = stream.writable.getWriter();
    // Zeroes may follow, which the stream calls an error after it has given what it had.
    const written = writer.write(new Uint8Array(data)).then(
      () => writer.close(),
      () => undefined,
    );
    const ended = written.catch(() => undefined);
    const reader = stream.readable.getReader();
    const result = new Uint8Array(length);
    let done = 0;
    try {
      while (done < length) {
        const { value } = await reader.read();
        if (value === undefined) break;
        const some = value.subarray(0, length - done);
        result.set(some, done);
        done += some.length;
      }
    } catch {
      // What is not deflate: there is less than was asked for.
    }
    await reader.cancel().catch(() => undefined);
    await ended;
    return done === length ? result : undefined;
  },
};
