// The bitmaps of a node and the commands on one of them: docs/reference/bitmaps.md §2.2, §2.3, §2.6 and §3.1 to §3.3.
import { describe, expect, it } from "vitest";
import { QmpError } from "../../src/base/errors.ts";
import type { DirtyBitmap } from "../../src/bitmap/dirty-bitmap.ts";
import { DirtyBitmapList } from "../../src/bitmap/dirty-bitmap-list.ts";

const MIB = 1 << 20;

/** Everything that a user can see of the bitmaps. */
function visible(list: DirtyBitmapList): unknown[] {
  return [...list].map(({ name, enabled, busy, readonly, inconsistent, countBytes, sizeBytes, granularityBytes }) => ({
    name,
    enabled,
    busy,
    readonly,
    inconsistent,
    countBytes,
    sizeBytes,
    granularityBytes,
  }));
}

/** Calls `command`, which must fail with that text and change nothing. */
function expectRefused(list: DirtyBitmapList, text: string, command: () => void): void {
  const before = visible(list);
  expect(command).toThrow(new QmpError(text));
  expect(visible(list)).toEqual(before);
}

const counts = (list: DirtyBitmapList): number[] => [...list].map((bitmap) => bitmap.countBytes);

describe("DirtyBitmapList.add", () => {
  it("puts a clean, enabled bitmap as long as the node at the head", () => {
    const list = new DirtyBitmapList(MIB);
    expect([list.count, [...list]]).toEqual([0, []]);
    const a = list.add({ name: "a" });
    const b = list.add({ name: "b", granularityBytes: 512, disabled: true });
    expect([...list]).toEqual([b, a]);
    expect(list.count).toBe(2);
    expect(a).toMatchObject({ name: "a", sizeBytes: MIB, granularityBytes: 65536, countBytes: 0, enabled: true });
    expect(b).toMatchObject({ name: "b", sizeBytes: MIB, granularityBytes: 512, countBytes: 0, enabled: false });
  });

  it("takes the granularity from the node's clusters unless one is given", () => {
    const list = new DirtyBitmapList(MIB);
    expect(list.add({ name: "a", clusterSizeBytes: 32768 }).granularityBytes).toBe(32768);
    expect(list.add({ name: "b", clusterSizeBytes: 2 * MIB }).granularityBytes).toBe(65536);
    expect(list.add({ name: "c", clusterSizeBytes: 32768, granularityBytes: 1024 }).granularityBytes).toBe(1024);
    expect(list.add({ name: "d", granularityBytes: 2 ** 31 }).granularityBytes).toBe(2 ** 31);
  });

  it("refuses names that are empty, taken or too long", () => {
    const list = new DirtyBitmapList(MIB);
    list.add({ name: "a" });
    expectRefused(list, "Bitmap name cannot be empty", () => list.add({ name: "" }));
    expectRefused(list, "Bitmap already exists: a", () => list.add({ name: "a" }));
    expectRefused(list, `Bitmap name too long: ${"y".repeat(1024)}`, () => list.add({ name: "y".repeat(1024) }));
    list.add({ name: "x".repeat(1023) });
    list.add({ name: "A" });
    list.add({ name: "ü" });
    expect(list.count).toBe(4);
  });

  it("refuses granularities that are no power of two from 512 on", () => {
    const list = new DirtyBitmapList(MIB);
    for (const granularityBytes of [0, 1, 768]) {
      expectRefused(list, "Granularity must be power of 2 and at least 512", () =>
        list.add({ name: "b", granularityBytes }),
      );
    }
  });

  it("checks the name, then the granularity, then whether the name is taken or too long, then the size", () => {
    const list = new DirtyBitmapList(2 ** 53);
    list.add({ name: "a" });
    expectRefused(list, "Bitmap name cannot be empty", () => list.add({ name: "", granularityBytes: 1 }));
    const bad = "Granularity must be power of 2 and at least 512";
    expectRefused(list, bad, () => list.add({ name: "a", granularityBytes: 1 }));
    expectRefused(list, "Bitmap already exists: a", () => list.add({ name: "a", granularityBytes: 512 }));
    const large = "Too much space will be occupied by the bitmap. Use larger granularity";
    expectRefused(list, large, () => list.add({ name: "b", granularityBytes: 512 }));
  });
});

describe("DirtyBitmapList.create", () => {
  it("makes any number of anonymous bitmaps, which no name finds", () => {
    const list = new DirtyBitmapList(MIB);
    const named = list.create({ name: "a", granularityBytes: 65536 });
    const first = list.create({ granularityBytes: 65536 });
    const second = list.create({ granularityBytes: 4096, disabled: true });
    expect([...list]).toEqual([second, first, named]);
    expect([list.find(""), list.find("undefined"), list.find("a")]).toEqual([undefined, undefined, named]);
    expectRefused(list, "Dirty bitmap '' not found", () => list.remove(""));
  });
});

describe("DirtyBitmapList.get", () => {
  it("compares names as they are", () => {
    const list = new DirtyBitmapList(MIB);
    const bitmap = list.add({ name: "Bitmap\n'0'" });
    expect(list.get("Bitmap\n'0'")).toBe(bitmap);
    expect(() => list.get("bitmap\n'0'")).toThrow(new QmpError("Dirty bitmap 'bitmap\n'0'' not found"));
  });
});

describe("the commands on one bitmap", () => {
  const BUSY = "Bitmap 'b' is currently in use by another operation and cannot be used";
  const RO = "Bitmap 'b' is readonly and cannot be modified";
  const INCONSISTENT = "Bitmap 'b' is inconsistent and cannot be used";
  const commands = ["remove", "clear", "enable", "disable"] as const;

  function listWith(prepare: (bitmap: DirtyBitmap) => void): DirtyBitmapList {
    const list = new DirtyBitmapList(MIB);
    list.add({ name: "a" });
    const bitmap = list.add({ name: "b" });
    list.add({ name: "c" });
    list.setDirty(0, 1);
    prepare(bitmap);
    return list;
  }

  it("refuse a name that is not there", () => {
    const list = new DirtyBitmapList(MIB);
    for (const command of commands) expectRefused(list, "Dirty bitmap 'nope' not found", () => list[command]("nope"));
  });

  it("refuse what §2.6 says for each state", () => {
    const states: [string, (bitmap: DirtyBitmap) => void, Record<(typeof commands)[number], string | undefined>][] = [
      ["busy", (bitmap) => bitmap.setBusy(true), { remove: BUSY, clear: BUSY, enable: BUSY, disable: BUSY }],
      ["readonly", (b) => b.setReadonly(true), { remove: RO, clear: RO, enable: undefined, disable: undefined }],
      [
        "inconsistent",
        (bitmap) => bitmap.setInconsistent(),
        { remove: undefined, clear: INCONSISTENT, enable: INCONSISTENT, disable: INCONSISTENT },
      ],
      [
        "disabled",
        (bitmap) => bitmap.disable(),
        { remove: undefined, clear: undefined, enable: undefined, disable: undefined },
      ],
    ];
    for (const [state, prepare, texts] of states) {
      for (const command of commands) {
        const list = listWith(prepare);
        const text = texts[command];
        if (text === undefined) expect(() => list[command]("b"), `${command} when ${state}`).not.toThrow();
        else expectRefused(list, text, () => list[command]("b"));
      }
    }
  });

  it("do what they say, to that bitmap alone", () => {
    const list = listWith(() => {});
    list.disable("b");
    list.disable("b");
    expect([...list].map((bitmap) => bitmap.enabled)).toEqual([true, false, true]);
    list.clear("b");
    expect(counts(list)).toEqual([65536, 0, 65536]);
    list.enable("b");
    list.enable("b");
    expect([...list].map((bitmap) => bitmap.enabled)).toEqual([true, true, true]);
    list.remove("b");
    expect([...list].map((bitmap) => bitmap.name)).toEqual(["c", "a"]);
    expect(list.add({ name: "b" }).countBytes).toBe(0);
  });
});

describe("DirtyBitmapList.setDirty", () => {
  it("gives the range to every enabled bitmap in its own granularity, anonymous ones too", () => {
    const list = new DirtyBitmapList(MIB);
    list.add({ name: "a", granularityBytes: 512 });
    list.add({ name: "b", disabled: true });
    list.create({ granularityBytes: 4096 });
    list.setDirty(511, 2);
    list.setDirty(MIB - 1, 1);
    expect(counts(list)).toEqual([8192, 0, 1536]);
    list.enable("b");
    list.setDirty(0, 0);
    expect(counts(list)).toEqual([8192, 0, 1536]);
    list.setDirty(0, MIB);
    expect(counts(list)).toEqual([MIB, MIB, MIB]);
  });

  it("records in a busy bitmap that is enabled, and passes by an inconsistent one", () => {
    const list = new DirtyBitmapList(MIB);
    list.add({ name: "locked" }).setBusy(true);
    list.add({ name: "lost" }).setInconsistent();
    list.setDirty(0, 1);
    expect(counts(list)).toEqual([0, 65536]);
  });

  it("never meets an enabled readonly bitmap: the node refused the write before", () => {
    const list = new DirtyBitmapList(MIB);
    const bitmap = list.add({ name: "a" });
    bitmap.setReadonly(true);
    expect(() => list.setDirty(0, 1)).toThrow("readonly bitmap changed");
    bitmap.disable();
    list.setDirty(0, 1);
    expect(bitmap.countBytes).toBe(0);
  });

  it("does nothing without bitmaps", () => {
    expect(() => new DirtyBitmapList(MIB).setDirty(0, 512)).not.toThrow();
  });
});

describe("DirtyBitmapList.truncate", () => {
  it("gives every bitmap, and every later one, the new length", () => {
    const list = new DirtyBitmapList(MIB);
    list.add({ name: "a" });
    list.add({ name: "b", granularityBytes: 512, disabled: true });
    list.setDirty(MIB - 1, 1);
    list.truncate(3 * MIB);
    list.add({ name: "c" });
    expect([...list].map((bitmap) => bitmap.sizeBytes)).toEqual([3 * MIB, 3 * MIB, 3 * MIB]);
    list.setDirty(3 * MIB - 1, 1);
    expect(counts(list)).toEqual([65536, 0, 131072]);
    list.truncate(512);
    expect(counts(list)).toEqual([0, 0, 0]);
  });

  it("is refused beforehand where a bitmap cannot follow", () => {
    const list = new DirtyBitmapList(MIB);
    list.add({ name: "a", granularityBytes: 512 });
    expect(() => list.checkTruncate(2 ** 50)).not.toThrow();
    const large = "Too much space will be occupied by the bitmap. Use larger granularity";
    expectRefused(list, large, () => list.checkTruncate(2 ** 50 + 512));
    expect(() => new DirtyBitmapList(MIB).checkTruncate(2 ** 53)).not.toThrow();
  });
});

describe("DirtyBitmapList.release", () => {
  it("takes off a bitmap that nobody uses, and no other", () => {
    const list = new DirtyBitmapList(MIB);
    const bitmap = list.create({ granularityBytes: 512 });
    bitmap.setBusy(true);
    expect(() => list.release(bitmap)).toThrow("busy bitmap released");
    bitmap.setBusy(false);
    list.release(bitmap);
    expect(list.count).toBe(0);
    expect(() => list.release(bitmap)).toThrow("bitmap released that is not of this node");
  });
});
