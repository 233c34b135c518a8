// When a flush is done: which fdatasync it waits for, and what a failed one means for all later ones.
import { describe, expect, it } from "vitest";
import { nodeFileIo } from "../../../../src/block/drivers/file/file-io.ts";
import { StableStorage } from "../../../../src/block/drivers/file/stable-storage.ts";
import { systemError } from "./support/faulty-file-io.ts";

/** A storage whose fdatasync calls end when the test says so. */
class Bench {
  readonly storage: StableStorage;
  /** The calls begun, in order. */
  readonly syncs: ((code?: string) => void)[] = [];
  readonly events: string[] = [];

  constructor(clean = false) {
    const io = {
      ...nodeFileIo,
      fdatasync: (_fd: number, done: (error: Error | null) => void): void => {
        this.syncs.push((code) => done(code === undefined ? null : systemError(code)));
      },
    };
    this.storage = new StableStorage({ io, fd: -1, path: "disk.img", clean });
  }

  /** Flushes and writes down how it ended. */
  flush(name: string): void {
    let pending: void | Promise<void>;
    try {
      pending = this.storage.flush();
    } catch (error) {
      this.events.push(`${name} failed at once: ${(error as { errno: string }).errno}`);
      return;
    }
    if (pending === undefined) this.events.push(`${name} done at once`);
    else {
      void pending.then(
        () => this.events.push(`${name} done`),
        (error) => this.events.push(`${name} failed: ${error.errno}`),
      );
    }
  }

  write(): void {
    this.storage.changes++;
  }

  /** Ends fdatasync number `index` and lets everybody know. */
  async end(index: number, code?: string): Promise<void> {
    this.syncs[index]!(code);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe("StableStorage", () => {
  it("waits for an fdatasync after a write, and for none when nothing was written since", async () => {
    const bench = new Bench();
    bench.write();
    bench.flush("a");
    expect([bench.syncs.length, bench.events]).toEqual([1, []]);
    await bench.end(0);
    bench.flush("b");
    expect([bench.syncs.length, bench.events]).toEqual([1, ["a done", "b done at once"]]);
    bench.write();
    bench.flush("c");
    expect(bench.syncs.length).toBe(2);
    await bench.end(1);
    expect(bench.events).toEqual(["a done", "b done at once", "c done"]);
  });

  it("covers with the first flush what others may have written before the image was opened", () => {
    const opened = new Bench();
    opened.flush("a");
    expect(opened.syncs.length).toBe(1);
    const readOnly = new Bench(true);
    readOnly.flush("a");
    expect([readOnly.syncs.length, readOnly.events]).toEqual([0, ["a done at once"]]);
  });

  it("makes a flush asked for during an fdatasync wait for a new one, shared by all who wait", async () => {
    const bench = new Bench();
    bench.flush("a");
    bench.write();
    bench.flush("b");
    bench.write();
    bench.flush("c");
    expect(bench.syncs.length).toBe(1);
    await bench.end(0);
    expect([bench.syncs.length, bench.events]).toEqual([2, ["a done"]]);
    bench.write();
    bench.flush("d");
    expect(bench.syncs.length).toBe(2);
    await bench.end(1);
    expect([bench.syncs.length, bench.events]).toEqual([3, ["a done", "b done", "c done"]]);
    await bench.end(2);
    expect(bench.events).toEqual(["a done", "b done", "c done", "d done"]);
    bench.flush("e");
    expect([bench.syncs.length, bench.events.at(-1)]).toEqual([3, "e done at once"]);
  });

  it("lets a flush share the fdatasync under way if nothing was written since that began", async () => {
    const bench = new Bench();
    bench.flush("a");
    bench.flush("b");
    expect(bench.syncs.length).toBe(1);
    await bench.end(0);
    expect([bench.syncs.length, bench.events]).toEqual([1, ["a done", "b done"]]);
  });

  it("does not take a write acknowledged during an fdatasync for covered by it", async () => {
    const bench = new Bench();
    bench.flush("a");
    bench.write();
    await bench.end(0);
    bench.flush("b");
    expect([bench.syncs.length, bench.events]).toEqual([2, ["a done"]]);
  });

  it.each(["EIO", "ENOSPC", "EDQUOT"])(
    "fails every flush from the first %s on, those that wait included",
    async (code) => {
      const bench = new Bench();
      bench.flush("a");
      bench.write();
      bench.flush("b");
      bench.flush("c");
      await bench.end(0, code);
      bench.flush("d");
      bench.write();
      bench.flush("e");
      expect(bench.syncs.length).toBe(1);
      expect(bench.events).toEqual([
        `a failed: ${code}`,
        `b failed: ${code}`,
        `c failed: ${code}`,
        `d failed at once: ${code}`,
        `e failed at once: ${code}`,
      ]);
      expect(() => bench.storage.flush()).toThrow("Could not flush 'disk.img': an earlier flush failed");
    },
  );

  it("keeps a failure although the next fdatasync would have succeeded: it is not asked", async () => {
    const bench = new Bench();
    bench.flush("a");
    await bench.end(0);
    bench.write();
    bench.flush("b");
    await bench.end(1, "EIO");
    bench.write();
    bench.flush("c");
    expect([bench.syncs.length, bench.events]).toEqual([2, ["a done", "b failed: EIO", "c failed at once: EIO"]]);
  });

  it("makes an fdatasync again that a signal ended, and no other", async () => {
    const bench = new Bench();
    bench.flush("a");
    await bench.end(0, "EINTR");
    expect([bench.syncs.length, bench.events]).toEqual([2, []]);
    await bench.end(1);
    expect(bench.events).toEqual(["a done"]);
  });

  it("gives up on an fdatasync that signals always end", async () => {
    const bench = new Bench();
    bench.flush("a");
    for (let i = 0; i < bench.syncs.length; i++) await bench.end(i, "EINTR");
    expect(bench.events).toEqual(["a failed: EIO"]);
    expect(bench.syncs.length).toBeLessThan(100);
  });
});
