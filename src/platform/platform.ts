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
  /**
   * `bytes` as raw deflate (RFC 1951) that never looks back more than 4 KiB; undefined where that is not shorter, or where the platform
   * has none such.
   */
  deflateRaw(bytes: Uint8Array): Promise<Uint8Array | undefined>;
  /** The first `length` bytes of what raw deflate holds; what follows it does not matter. Undefined where it holds fewer. */
  inflateRaw(data: Uint8Array, length: number): Promise<Uint8Array | undefined>;
}
