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
};
