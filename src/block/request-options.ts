// What a request to a node may ask for beside its range.

import type { BeforeWriteNotifier } from "./before-write-notifier.ts";

export interface ReadOptions {
  /**
   * The read is made for a before-write notifier: it waits for no serialising request, which may be the one that the
   * notifier holds and that waits for the read.
   */
  readonly fromNotifier?: boolean;
}

export interface WriteOptions {
  /** Nothing that overlaps the request runs beside it. */
  readonly serialising?: boolean;
  /** Whole clusters may be stored compressed, where the driver can. */
  readonly compressed?: boolean;
  /** The zones of the disk have let it in already. */
  readonly admitted?: boolean;
}

export interface DiscardOptions {
  /**
   * The notifier that makes the discard: it does not meet the request itself, and the request waits for no serialising one, which may
   * be what the notifier holds.
   */
  readonly maker?: BeforeWriteNotifier | undefined;
}

export interface WriteZeroesRequestOptions extends WriteOptions {
  readonly mayUnmap?: boolean;
  readonly noFallback?: boolean;
  /** The data must be irretrievable: of a driver that has `secureErase`. */
  readonly erase?: boolean;
}
