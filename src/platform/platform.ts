// What differs between Node and a browser, as one set of functions that `node.ts` and `web.ts` both provide.

export interface Platform {
  /** Milliseconds of a clock that never goes back. */
  monotonicMs(): number;
  /** Resolves after timers, sockets and signals have had their turn. */
  yieldToEventLoop(): Promise<void>;
  /** True when every one of `length` bytes from `offset` on is zero. */
  isZero(bytes: Uint8Array, offset: number, length: number): boolean;
  /** SHA-256 of `bytes` as 64 lower-case hexadecimal digits. */
  sha256(bytes: Uint8Array): Promise<string>;
}
