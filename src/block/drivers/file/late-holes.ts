// Holes of an image that are looked for when somebody first goes by them: a perl takes its time, and a format with a map of its own never asks.

import { fstatSync } from "node:fs";
import { SECTOR_SIZE_BYTES } from "../../driver.ts";
import type { ImageHole } from "./image-holes.ts";
import { KnownZeroes } from "./known-zeroes.ts";
import { isUnsettled, SETTLED_AFTER_MS, type WriterGuard } from "./writer-guard.ts";

/** Finds the holes within the first `lengthBytes` of the file behind `fd` as they are `pauseMs` from now. Never rejects. */
export type HoleFinder = (fd: number, lengthBytes: number, pauseMs: number) => Promise<readonly ImageHole[]>;

/**
 * The holes that an open image still has where it has not been written to. What is written while they are looked for is none, also
 * if the write began before: only what nobody has touched from the opening on counts. If others may write meanwhile, nothing counts
 * unless the file is the same in the end.
 */
export class LateHoles {
  readonly #find: HoleFinder;
  readonly #guard: WriterGuard;
  /** Nothing was written there since the image was opened, or since it grew. */
  readonly #untouched: KnownZeroes;

  constructor(find: HoleFinder, guard: WriterGuard, lengthBytes: number) {
    this.#find = find;
    this.#guard = guard;
    this.#untouched = new KnownZeroes(lengthBytes);
    this.#untouched.add(0, lengthBytes);
  }

  /** A write to the range begins. */
  noteWrite(offsetBytes: number, lengthBytes: number): void {
    this.#untouched.remove(offsetBytes, lengthBytes);
  }

  noteLength(lengthBytes: number): void {
    this.#untouched.resize(lengthBytes);
  }

  /**
   * Adds the holes of the file behind `fd` to `known`, if `isWanted` still says so when they are found. Rejects with the system's error.
   */
  async addTo(known: KnownZeroes, fd: number, isWanted: () => boolean): Promise<void> {
    const guard = this.#guard;
    const { isShared, timesShared } = guard;
    const version = fstatSync(fd, { bigint: true });
    const fileBytes = Number(version.size);
    const holes = await this.#find(fd, fileBytes, isShared && isUnsettled(version) ? SETTLED_AFTER_MS : 0);
    if (!isWanted()) return;
    if (isShared) {
      const now = fstatSync(fd, { bigint: true });
      if (now.ctimeNs !== version.ctimeNs || now.size !== version.size) return;
    } else if (guard.timesShared !== timesShared) return;
    for (const { start, end } of holes) this.#addUntouched(known, start, end === fileBytes ? endOfSector(end) : end);
    if (isShared) guard.noteKnown(version);
  }

  #addUntouched(known: KnownZeroes, start: number, end: number): void {
    const last = Math.min(end, this.#untouched.lengthBytes);
    for (let at = start; at < last; ) {
      const from = this.#untouched.nextZero(at, last - at);
      if (from < 0) return;
      const touched = this.#untouched.nextUnknown(from, last - from);
      at = touched < 0 ? last : touched;
      known.add(from, at - from);
    }
  }
}

/** Of the last sector there may be less in the file than in the image. */
function endOfSector(offsetBytes: number): number {
  return Math.ceil(offsetBytes / SECTOR_SIZE_BYTES) * SECTOR_SIZE_BYTES;
}
