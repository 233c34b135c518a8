// What one 4 KiB request costs, from QueueNotify to the used ring and the line: rows 1 to 4 of docs/performance.md.

import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BeforeWriteNotifier } from "../src/block/before-write-notifier.ts";
import type { BlockDriver } from "../src/block/driver.ts";
import { FileDriver } from "../src/block/drivers/file/file-driver.ts";
import { MemoryDriver } from "../src/block/drivers/memory.ts";
import { NullDriver } from "../src/block/drivers/null.ts";
import { RawDriver } from "../src/block/drivers/raw.ts";
import { BlockNode } from "../src/block/node.ts";
import { type BenchTable, median } from "./report.ts";
import { REQUEST_BYTES, RequestRig } from "./request-rig.ts";

const ROUNDS = 25;
/** Short enough that most samples are over before the system gives the processor to somebody else. */
const SAMPLE_MS = 2;
const WARM_UP_REQUESTS = 1 << 15;
const DISK_BYTES = 64 << 20;
/** The null driver's disk, large enough that a sample of writes to new places marks clusters that were clean. */
const LARGE_DISK_BYTES = 2 ** 30;
const GRANULARITY_BYTES = 1 << 16;
const BARE_STRIDE_BYTES = 255 * REQUEST_BYTES;

/** Something to time: `run(requests)` does that many. */
interface Contender {
  readonly name: string;
  readonly run: (requests: number) => void;
  /** Before each sample, untimed. */
  readonly prepare?: () => void;
}

interface Configuration {
  readonly driver: "null" | "memory" | "file";
  readonly kind: "read" | "write";
  readonly batch: number;
  readonly notifiers?: number;
  readonly bitmaps?: number;
  readonly sequential?: boolean;
}

/** A notifier that has nothing to do, as a backup's whose clusters are all copied. */
const IDLE_NOTIFIER: BeforeWriteNotifier = { beforeWrite: () => undefined };

type Make = (configuration: Configuration) => Promise<Contender>;

/** Two tables: what requests cost by driver, direction and batch, and what observers add to a write. */
export async function requestPathBenchmarks(): Promise<BenchTable[]> {
  const folder = mkdtempSync(join(tmpdir(), "vblk-bench-"));
  const opened: BlockNode[] = [];
  try {
    const path = join(folder, "disk.img");
    writeFileSync(path, new Uint8Array(DISK_BYTES).fill(0x5a)); // warm: just written
    const copy = copyContender();
    const make: Make = async (configuration) => {
      const node = await makeNode(configuration, path);
      opened.push(node);
      return rigContender(node, configuration);
    };
    return [await plainRequests(path, copy, make), await observedWrites(copy, make)];
  } finally {
    for (const node of opened) await closeNode(node);
    rmSync(folder, { recursive: true });
  }
}

async function plainRequests(path: string, copy: Contender, make: Make): Promise<BenchTable> {
  const fd = openSync(path, "r+");
  try {
    const contenders = [copy, bareRead(fd), bareWrite(fd)];
    for (const driver of ["null", "memory", "file"] as const)
      for (const kind of ["read", "write"] as const)
        for (const batch of [64, 1]) contenders.push(await make({ driver, kind, batch }));
    const samples = sample(contenders);
    return {
      title: "One 4 KiB request (rows 1 to 3): RAM in a SharedArrayBuffer, 64 places on the disk, files warm",
      columns: ["what", "ns", "copies of 4 KiB"],
      rows: contenders.map(({ name }, i) => [name, Math.round(median(samples[i]!)), ratio(samples[i]!, samples[0]!)]),
    };
  } finally {
    closeSync(fd);
  }
}

async function observedWrites(copy: Contender, make: Make): Promise<BenchTable> {
  const observers = [0, 1].flatMap((notifiers) => [0, 1, 4].map((bitmaps) => ({ notifiers, bitmaps })));
  const contenders = [copy];
  for (const observer of observers)
    contenders.push(await make({ driver: "null", kind: "write", batch: 64, sequential: true, ...observer }));
  const [copies, ...samples] = sample(contenders) as [number[], ...number[][]];
  const rows = observers.map(({ notifiers, bitmaps }, i): (string | number)[] => {
    const bare = samples[notifiers * 3]!;
    const each = samples[i]!.map((time, round) => (time - bare[round]!) / bitmaps);
    const perBitmap = bitmaps === 0 ? ["-", "-"] : [median(each).toFixed(1), ratio(each, copies)];
    return [notifiers, bitmaps, Math.round(median(samples[i]!)), ...perBitmap];
  });
  return {
    title: "A 4 KiB write that is observed (row 4): null driver, batch 64, each write beside the one before",
    columns: ["notifiers", "bitmaps", "ns a write", "ns a bitmap", "copies of 4 KiB a bitmap"],
    rows,
  };
}

/** Nanoseconds a request, of each contender in each round. All have their turn in a round, so that they meet the same machine. */
function sample(contenders: readonly Contender[]): number[][] {
  const counts = contenders.map((contender) => {
    time(contender, WARM_UP_REQUESTS);
    const requests = (SAMPLE_MS * 1e6) / time(contender, WARM_UP_REQUESTS / 8);
    return 64 * Math.ceil(requests / 64);
  });
  const samples = contenders.map((): number[] => []);
  for (let round = 0; round < ROUNDS; round++)
    for (const [i, contender] of contenders.entries()) samples[i]!.push(time(contender, counts[i]!));
  return samples;
}

/** Nanoseconds a request. */
function time({ run, prepare }: Contender, requests: number): number {
  prepare?.();
  const startedMs = performance.now();
  run(requests);
  return ((performance.now() - startedMs) * 1e6) / requests;
}

/** The median of the rounds' ratios. */
function ratio(times: readonly number[], units: readonly number[]): string {
  return median(times.map((time, round) => time / units[round]!)).toFixed(2);
}

function rigContender(node: BlockNode, configuration: Configuration): Contender {
  const { driver, kind, batch, sequential = false } = configuration;
  const rig = new RequestRig({ node, kind, batch, sequential });
  return {
    name: `${kind}, ${driver} driver, batch ${batch}`,
    run: (requests) => rig.run(requests / batch),
    prepare: () => {
      for (const bitmap of node.bitmaps) node.bitmaps.clear(bitmap.name!);
    },
  };
}

/** The unit of all ratios. Source and target go through 256 KiB each, as a batch's buffers do. */
function copyContender(): Contender {
  const bytes = new Uint8Array(new SharedArrayBuffer(1 << 20));
  return {
    name: "a copy of 4 KiB within shared memory",
    run: (requests) => {
      for (let i = 0; i < requests; i++) {
        const from = (i % 64) * REQUEST_BYTES;
        bytes.set(bytes.subarray(from, from + REQUEST_BYTES), from + (1 << 19));
      }
    },
  };
}

/** What the file driver cannot do without; on the file that it works on: some file systems write slowly into one of large pages. */
function bareRead(fd: number): Contender {
  const bytes = new Uint8Array(new SharedArrayBuffer(64 * REQUEST_BYTES)).fill(0x5a);
  return {
    name: "a bare synchronous read of a file",
    run: (requests) => {
      for (let i = 0; i < requests; i++)
        readSync(fd, bytes, (i % 64) * REQUEST_BYTES, REQUEST_BYTES, (i % 64) * BARE_STRIDE_BYTES);
    },
  };
}

function bareWrite(fd: number): Contender {
  const bytes = new Uint8Array(new SharedArrayBuffer(64 * REQUEST_BYTES)).fill(0x5a);
  return {
    name: "a bare synchronous write to a file",
    run: (requests) => {
      for (let i = 0; i < requests; i++)
        writeSync(fd, bytes, (i % 64) * REQUEST_BYTES, REQUEST_BYTES, (i % 64) * BARE_STRIDE_BYTES);
    },
  };
}

async function makeNode(configuration: Configuration, path: string): Promise<BlockNode> {
  const { notifiers = 0, bitmaps = 0 } = configuration;
  const node = new BlockNode({ name: "disk", driver: await makeDriver(configuration, path) });
  for (let i = 0; i < notifiers; i++) node.beforeWrite.add(IDLE_NOTIFIER);
  for (let i = 0; i < bitmaps; i++) node.bitmaps.add({ name: `bitmap${i}`, granularityBytes: GRANULARITY_BYTES });
  return node;
}

async function makeDriver({ driver, sequential }: Configuration, path: string): Promise<BlockDriver> {
  const lengthBytes = sequential === true ? LARGE_DISK_BYTES : DISK_BYTES;
  switch (driver) {
    case "null":
      return new NullDriver({ lengthBytes, readZeroes: false });
    case "memory":
      return new MemoryDriver({ lengthBytes });
    case "file": {
      // Several at once on one image, which only a benchmark may do.
      const file = await FileDriver.open({ path, locking: "off" });
      return new RawDriver({ file: new BlockNode({ name: "file", driver: file }) });
    }
  }
}

async function closeNode(node: BlockNode): Promise<void> {
  for (const parent of node.parents) node.detachParent(parent);
  const children = node.driver.children.map((child) => child.node);
  await node.close();
  for (const child of children) await child.close();
}
