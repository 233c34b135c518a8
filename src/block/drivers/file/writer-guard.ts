// Whether what is known of an image's contents still holds: it does while nobody else may write, and while the file has not changed.

import { fstatSync } from "node:fs";
import type { PermissionListener } from "../../driver.ts";
import type { Permissions } from "../../permissions.ts";
import type { KnownZeroes } from "./known-zeroes.ts";
import type { PermissionLocks } from "./permission-locks.ts";

/** Changes within one tick of the system's clock, 10 ms at most, have the same time: a file that changed so lately may change unseen. */
export const SETTLED_AFTER_MS = 20;

/** What `stat` tells of a file's last change. */
export interface FileVersion {
  readonly ctimeNs: bigint;
  readonly size: bigint;
}

/**
 * The locks of an image whose permissions change, and the zeroes that are known of it. Where others may write, the zeroes are
 * forgotten as soon as the file is not the one of which they are known; our own writes change it, too.
 */
export class WriterGuard implements PermissionListener {
  readonly #locks: PermissionLocks;
  readonly #zeroes: KnownZeroes;
  /** The file when the zeroes were right, while others may write. Undefined where that cannot be told. */
  #version: FileVersion | undefined;
  /** How often others were let in. */
  #timesShared = 0;

  /** `version`: of the file of which the zeroes are known. */
  constructor(locks: PermissionLocks, zeroes: KnownZeroes, version: FileVersion) {
    this.#locks = locks;
    this.#zeroes = zeroes;
    this.#version = version;
  }

  /**
   * Others may write, and what they write counts. The target of a copy is shared as well, for the sake of disks of this program that stand
   * on it and write through the same node; another program that writes to it meanwhile spoils the copy in any case.
   */
  get isShared(): boolean {
    return !this.#locks.refuseWriters && !this.#locks.onlyWrites;
  }

  get timesShared(): number {
    return this.#timesShared;
  }

  /** The zeroes were found in this file, and nobody has changed it since. */
  noteKnown(version: FileVersion): void {
    this.#version = version;
  }

  prepare(permissions: Permissions): void {
    const wasShared = this.isShared;
    this.#locks.prepare(permissions);
    if (wasShared && !this.isShared) this.#forgetIfChanged();
  }

  commit(): void {
    this.#change(() => this.#locks.commit());
  }

  abort(): void {
    this.#change(() => this.#locks.abort());
  }

  /** To be called before the zeroes are gone by. */
  check(): void {
    if (this.isShared) this.#forgetIfChanged();
  }

  #forgetIfChanged(): void {
    if (!this.#zeroes.any) return;
    const before = this.#version;
    if (before !== undefined) {
      const now = fstatSync(this.#locks.fd, { bigint: true });
      if (now.ctimeNs === before.ctimeNs && now.size === before.size) return;
    }
    this.#version = undefined;
    this.#zeroes.forget();
  }

  /** The file is looked at before others may write to it. */
  #change(change: () => void): void {
    const wasShared = this.isShared;
    const version = wasShared ? this.#version : settledVersion(this.#locks.fd);
    change();
    if (!this.isShared) return;
    this.#version = version;
    if (!wasShared) this.#timesShared++;
  }
}

/** True if the file changed so lately that a later change might have the same time. */
export function isUnsettled(version: FileVersion): boolean {
  return Date.now() - Number(version.ctimeNs / 1_000_000n) < SETTLED_AFTER_MS;
}

function settledVersion(fd: number): FileVersion | undefined {
  const version = fstatSync(fd, { bigint: true });
  return isUnsettled(version) ? undefined : version;
}
