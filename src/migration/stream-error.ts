// Why a migration stream was not taken: docs/reference/migration-stream.md §3.

import { type Errno, strerror } from "../base/errors.ts";

/**
 * The stream is broken, hostile, or means something else than this machine. `lines` are what is told before the last line,
 * `load of migration failed: <strerror>`: none, one or two.
 */
export class StreamError extends Error {
  override readonly name: string = "StreamError";
  readonly errno: Errno;
  readonly lines: readonly string[];

  constructor(errno: Errno, ...lines: readonly string[]) {
    super(lines.join("\n") || strerror(errno));
    this.errno = errno;
    this.lines = lines;
  }

  /** All that is told, in order. */
  get report(): readonly string[] {
    return [...this.lines, `load of migration failed: ${strerror(this.errno)}`];
  }

  /** The same with one more line. */
  with(line: string): StreamError {
    return new StreamError(this.errno, ...this.lines, line);
  }
}

/** The stream has ended where it may not. Nothing is told but that reading failed. */
export class EndOfStreamError extends StreamError {
  override readonly name: string = "EndOfStreamError";

  constructor() {
    super("EIO");
  }
}

/** What `reading` reads. A stream that ends before is told of by `line`. */
export async function orCutOff<Value>(
  reading: Promise<Value> | undefined,
  errno: Errno,
  line: string,
): Promise<Value | undefined> {
  try {
    return await reading;
  } catch (error) {
    throw error instanceof EndOfStreamError ? new StreamError(errno, line) : error;
  }
}
