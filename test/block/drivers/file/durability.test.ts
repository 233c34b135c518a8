// Data is on stable storage when a flush completes, and when a write completes that is to go through: over thousands of requests.
import { describe, expect, it } from "vitest";
import { IoVector } from "../../../../src/base/io-vector.ts";
import { BlockBackend } from "../../../../src/block/backend.ts";
import { FileDriver } from "../../../../src/block/drivers/file/file-driver.ts";
import { RawDriver } from "../../../../src/block/drivers/raw.ts";
import { BlockNode } from "../../../../src/block/node.ts";
import { RecordingFileIo } from "./support/recording-file-io.ts";
import { useTemporaryFolder } from "./support/temporary-folder.ts";

const SECTOR = 512;
const SECTORS = 256;
const LENGTH = SECTORS * SECTOR;
const REQUESTS = process.env["VBLK_SOAK"] === undefined ? 3000 : 200_000;

/** What is wrong: an acknowledged sector that a power cut would have lost. */
type Loss = { readonly request: number; readonly sector: number; readonly promised: number; readonly found: number };

/**
 * Sends random requests, many in flight and each sector to one at a time, and looks at the recording layer at the moment at
 * which a request that promises durability completes.
 */
class Workload {
  readonly losses: Loss[] = [];
  flushes = 0;
  waited = 0;
  /** What the last acknowledged write filled each sector with, and the number of that write. */
  readonly #values: number[] = Array(SECTORS).fill(0);
  readonly #numbers: number[] = Array(SECTORS).fill(0);
  readonly #busy: boolean[] = Array(SECTORS).fill(false);
  readonly #backend: BlockBackend;
  readonly #io: RecordingFileIo;
  readonly #random: () => number;

  constructor(backend: BlockBackend, io: RecordingFileIo, random: () => number) {
    this.#backend = backend;
    this.#io = io;
    this.#random = random;
  }

  async run(requests: number): Promise<void> {
    let inFlight: Promise<void>[] = [];
    for (let number = 1; number <= requests; number++) {
      const pending = this.#random() < 0.2 ? this.#flush(number) : this.#write(number);
      if (pending !== undefined) {
        this.waited++;
        inFlight.push(pending);
      }
      if (this.#random() < 0.1) await new Promise((resolve) => setImmediate(resolve));
      if (inFlight.length >= 24) {
        await Promise.all(inFlight);
        inFlight = [];
      }
    }
    await Promise.all(inFlight);
  }

  #write(number: number): void | Promise<void> {
    const first = Math.floor(this.#random() * SECTORS);
    const count = Math.min(1 + Math.floor(this.#random() * 5), SECTORS - first);
    for (let i = first; i < first + count; i++) if (this.#busy[i]) return;
    this.#busy.fill(true, first, first + count);
    const zeroes = this.#random() < 0.1;
    const value = zeroes ? 0 : number % 256;
    const pending = zeroes
      ? this.#backend.writeZeroes(first * SECTOR, count * SECTOR)
      : this.#backend.write(first * SECTOR, this.#vectorOf(value, count));
    const acknowledge = (): void => {
      this.#busy.fill(false, first, first + count);
      this.#values.fill(value, first, first + count);
      this.#numbers.fill(number, first, first + count);
      if (!this.#backend.writeCache) for (let i = first; i < first + count; i++) this.#check(number, i);
    };
    if (pending === undefined) return acknowledge();
    return pending.then(acknowledge);
  }

  #flush(number: number): void | Promise<void> {
    this.flushes++;
    const before = [...this.#numbers];
    const quiet = this.#busy.map((busy) => !busy);
    // A sector that is written again while the flush runs may hold either.
    const check = (): void => {
      for (let i = 0; i < SECTORS; i++) {
        if (quiet[i] && !this.#busy[i] && this.#numbers[i] === before[i]) this.#check(number, i);
      }
    };
    const pending = this.#backend.flush();
    if (pending === undefined) return check();
    return pending.then(check);
  }

  #check(request: number, sector: number): void {
    const promised = this.#values[sector]!;
    const found = this.#io.stable[sector * SECTOR]!;
    const last = this.#io.stable[sector * SECTOR + SECTOR - 1]!;
    if (found !== promised || last !== promised) this.losses.push({ request, sector, promised, found });
  }

  #vectorOf(value: number, count: number): IoVector {
    const vector = new IoVector(new Uint8Array(count * SECTOR).fill(value));
    const cut = this.#random() < 0.5 ? 100 : 0;
    if (cut > 0) vector.push(0, cut);
    vector.push(cut, count * SECTOR - cut);
    return vector;
  }
}

describe("FileDriver", () => {
  const inFolder = useTemporaryFolder();

  async function run(options: {
    xIo: "auto" | "threads";
    writeCache: boolean;
    lie?: boolean;
  }): Promise<{ workload: Workload; io: RecordingFileIo }> {
    const random = randomOf(0x5eed);
    const io = new RecordingFileIo(LENGTH, () => Math.floor(random() * 4));
    const path = inFolder("a.img");
    const file = await FileDriver.create({ path, lengthBytes: LENGTH, xIo: options.xIo, locking: "off" }, { io });
    const fileNode = new BlockNode({ name: "file0", driver: file });
    const rawNode = new BlockNode({ name: "raw0", driver: new RawDriver({ file: fileNode }) });
    const { writeCache } = options;
    const backend = new BlockBackend({ name: "drive0", node: rawNode, writeCache });
    if (options.lie === true) file.flush = () => {};
    const workload = new Workload(backend, io, random);
    await workload.run(REQUESTS);
    backend.close();
    await rawNode.close();
    await fileNode.close();
    return { workload, io };
  }

  it.each(["auto", "threads"] as const)(
    "has an fdatasync that covers every earlier acknowledged write return before a flush completes (x-io=%s)",
    async (xIo) => {
      const { workload, io } = await run({ xIo, writeCache: true });
      expect(workload.losses).toEqual([]);
      expect(workload.flushes).toBeGreaterThan(REQUESTS / 10);
      expect(workload.waited).toBeGreaterThan(REQUESTS / 10);
      // Shared, but not by leaving them out.
      expect(io.fdatasyncs).toBeGreaterThan(REQUESTS / 100);
      expect(io.fdatasyncs).toBeLessThan(workload.flushes);
    },
  );

  it.each(["auto", "threads"] as const)(
    "has an fdatasync that covers a write return before the write completes, with the write cache off (x-io=%s)",
    async (xIo) => {
      const { workload, io } = await run({ xIo, writeCache: false });
      expect(workload.losses).toEqual([]);
      expect(workload.waited).toBeGreaterThan(REQUESTS / 4);
      expect(io.fdatasyncs).toBeGreaterThan(REQUESTS / 100);
    },
  );

  it.each([true, false])("would be caught flushing nothing (write cache %s)", async (writeCache) => {
    const { workload } = await run({ xIo: "auto", writeCache, lie: true });
    expect(workload.losses.length).toBeGreaterThan(100);
  });
});

/** Numbers in [0, 1), the same for the same seed. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
