// A dirty bitmap and the gate of its commands: docs/reference/bitmaps.md §2.1 and §2.6.
import { describe, expect, it } from "vitest";
import {
  BITMAP_ALLOW_RO,
  BITMAP_BUSY,
  BITMAP_DEFAULT,
  BITMAP_INCONSISTENT,
  BITMAP_RO,
  checkDirtyBitmap,
} from "../../src/bitmap/bitmap-check.ts";
import { DirtyBitmap } from "../../src/bitmap/dirty-bitmap.ts";

const MIB = 1 << 20;

function make(options: { name?: string; disabled?: boolean } = { name: "b" }): DirtyBitmap {
  return new DirtyBitmap({ granularityBytes: 65536, sizeBytes: MIB, ...options });
}

describe("DirtyBitmap", () => {
  it("starts clean, enabled, and with no other state", () => {
    const bitmap = make();
    expect(bitmap).toMatchObject({ name: "b", granularityBytes: 65536, sizeBytes: MIB, countBytes: 0 });
    expect(bitmap).toMatchObject({ enabled: true, busy: false, readonly: false, inconsistent: false });
  });

  it("may be anonymous, and disabled from the start", () => {
    expect(make({ disabled: true })).toMatchObject({ name: undefined, enabled: false });
  });

  it("refuses granularities below 512 and other than powers of two", () => {
    for (const granularityBytes of [0, 256, 768]) {
      expect(() => new DirtyBitmap({ granularityBytes, sizeBytes: MIB })).toThrow("granularity");
    }
  });

  it("counts dirty bytes in whole groups while ranges are set and reset", () => {
    const bitmap = make();
    bitmap.set(65535, 2);
    expect(bitmap.countBytes).toBe(131072);
    bitmap.reset(0, 65536);
    expect([bitmap.countBytes, bitmap.bits.nextDirty(0)]).toEqual([65536, 65536]);
    bitmap.clear();
    expect(bitmap.countBytes).toBe(0);
  });

  it("can be changed by its owner while it is disabled", () => {
    const bitmap = make({ disabled: true });
    bitmap.set(0, 1);
    expect(bitmap.countBytes).toBe(65536);
    bitmap.clear();
    expect(bitmap.countBytes).toBe(0);
  });

  it("is enabled and disabled any number of times, its bits staying", () => {
    const bitmap = make();
    bitmap.set(0, 1);
    for (const step of ["disable", "disable", "enable", "enable"] as const) {
      bitmap[step]();
      expect([bitmap.enabled, bitmap.countBytes]).toEqual([step === "enable", 65536]);
    }
  });

  it("follows the length of its node", () => {
    const bitmap = make();
    bitmap.set(0, MIB);
    bitmap.truncate(65536 + 1);
    expect([bitmap.sizeBytes, bitmap.countBytes]).toEqual([65537, 131072]);
    bitmap.truncate(2 * MIB);
    expect([bitmap.sizeBytes, bitmap.countBytes]).toEqual([2 * MIB, 131072]);
  });

  it("takes no change of its bits while it is readonly", () => {
    const bitmap = make();
    bitmap.setReadonly(true);
    for (const change of [() => bitmap.set(0, 1), () => bitmap.reset(0, 65536), () => bitmap.clear()]) {
      expect(change).toThrow("readonly bitmap changed");
    }
    bitmap.disable();
    bitmap.enable();
    bitmap.setReadonly(false);
    bitmap.set(0, 1);
    expect(bitmap.countBytes).toBe(65536);
  });

  it("is disabled for good once it is inconsistent", () => {
    const bitmap = make();
    bitmap.setInconsistent();
    expect([bitmap.inconsistent, bitmap.enabled]).toEqual([true, false]);
    expect(() => bitmap.enable()).toThrow("inconsistent bitmap enabled");
  });
});

describe("checkDirtyBitmap", () => {
  const BUSY = "Bitmap 'b' is currently in use by another operation and cannot be used";
  const RO = "Bitmap 'b' is readonly and cannot be modified";
  const INCONSISTENT = "Bitmap 'b' is inconsistent and cannot be used";

  /** A bitmap with the states of the mask. */
  function bitmapWith(states: number): DirtyBitmap {
    const bitmap = make();
    bitmap.setBusy((states & 1) !== 0);
    bitmap.setReadonly((states & 2) !== 0);
    if ((states & 4) !== 0) bitmap.setInconsistent();
    return bitmap;
  }

  it("has the masks of the reference", () => {
    expect([BITMAP_BUSY, BITMAP_RO, BITMAP_INCONSISTENT, BITMAP_DEFAULT, BITMAP_ALLOW_RO]).toEqual([1, 2, 4, 7, 5]);
  });

  it("refuses with the first text that applies, in the order busy, readonly, inconsistent", () => {
    for (let states = 0; states < 8; states++) {
      for (let checks = 0; checks < 8; checks++) {
        const refused = states & checks;
        const text = refused & 1 ? BUSY : refused & 2 ? RO : refused & 4 ? INCONSISTENT : undefined;
        const check = () => checkDirtyBitmap(bitmapWith(states), checks);
        if (text === undefined) expect(check).not.toThrow();
        else
          expect(check).toThrow(
            expect.objectContaining({ name: "QmpError", errorClass: "GenericError", message: text }),
          );
      }
    }
  });
});
