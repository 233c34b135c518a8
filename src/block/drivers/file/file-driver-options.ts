// How a file driver is opened and made, and what it tells of itself.

import type { Clock } from "../../../base/clock.ts";
import type { FileIo } from "./file-io.ts";
import type { LockingMode } from "./image-lock.ts";

/** How many discards there were, and of how many bytes in all those that succeeded. */
export interface DiscardStatistics {
  done: number;
  failed: number;
  bytes: number;
}

export interface FileDriverOptions {
  /** Of a regular file, or a symbolic link to one. */
  readonly path: string;
  readonly readOnly?: boolean;
  /**
   * Where reads and writes are carried out. `auto`: those up to 1 MiB within the call, which is fastest for what the system
   * has cached or takes into its cache; `threads`: all on libuv's pool, so that cold or remote storage stops nobody.
   */
  readonly xIo?: "auto" | "threads";
  readonly locking?: LockingMode;
  /**
   * As in a block graph: locked as the permissions of its node's users ask (`permissionListener`). By default it is locked from
   * the beginning, for one user who lets nobody write beside him.
   */
  readonly lockAsUsed?: boolean;
}

export interface CreateFileOptions extends Omit<FileDriverOptions, "readOnly" | "lockAsUsed"> {
  readonly lengthBytes: number;
  /** The file must not be there yet; otherwise one that is there, and that nobody uses, loses its contents. */
  readonly exclusive?: boolean;
}

/** What a driver stands on, for tests that put something else there. */
export interface FileDriverSeams {
  readonly io?: FileIo;
  /** The program that takes QEMU's locks. */
  readonly perl?: string;
  readonly clock?: Clock;
}
