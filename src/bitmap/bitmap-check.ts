// The one gate that every command on a dirty bitmap passes: docs/reference/bitmaps.md §2.6.

import { QmpError } from "../base/errors.ts";
import type { DirtyBitmap } from "./dirty-bitmap.ts";

/** Refuses a bitmap that a job, an export or a migration uses. */
export const BITMAP_BUSY = 1;
/** Refuses a bitmap that may not change. */
export const BITMAP_RO = 2;
/** Refuses a bitmap that may have missed writes. */
export const BITMAP_INCONSISTENT = 4;
/** For what changes the bits. */
export const BITMAP_DEFAULT: number = BITMAP_BUSY | BITMAP_RO | BITMAP_INCONSISTENT;
/** For what uses the bits or only changes whether they are recorded. */
export const BITMAP_ALLOW_RO: number = BITMAP_BUSY | BITMAP_INCONSISTENT;

/** Throws `QmpError` with QEMU's text for the first of the conditions in `checks` that holds, in the order above. */
export function checkDirtyBitmap(bitmap: DirtyBitmap, checks: number): void {
  const name = bitmap.name ?? "";
  if ((checks & BITMAP_BUSY) !== 0 && bitmap.busy) {
    throw new QmpError(`Bitmap '${name}' is currently in use by another operation and cannot be used`);
  }
  if ((checks & BITMAP_RO) !== 0 && bitmap.readonly) {
    throw new QmpError(`Bitmap '${name}' is readonly and cannot be modified`);
  }
  if ((checks & BITMAP_INCONSISTENT) !== 0 && bitmap.inconsistent) {
    throw new QmpError(`Bitmap '${name}' is inconsistent and cannot be used`);
  }
}
