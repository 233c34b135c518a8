// Reads and writes on a qcow2 image beside `qemu-img bench` on the same image: the same places in the same order, as many in flight.

import { spawnSync } from "node:child_process";
import { randomFillSync } from "node:crypto";
import { join } from "node:path";
import { IoVector } from "../src/base/io-vector.ts";
import type { BlockNode } from "../src/block/node.ts";
import { isInstalled } from "./block-peer.ts";
import { inFolder, MIB } from "./images.ts";
import { makeQcow2Image, withQcow2 } from "./qcow2-images.ts";
import { type BenchTable, median, ratioOf } from "./report.ts";

const ROUNDS = 5;
/** Not counted: 4,096 requests are too few for the compiler to see what is worth its while, and a machine runs for longer. */
const WARMING_ROUNDS = 2;
const IMAGE_BYTES = 256 * MIB;
const IN_FLIGHT = 64;
const MAX_REQUESTS = 16384;
/** Jumps over this and one request: neighbours in time are no neighbours on the disk. `qemu-img bench` knows no other disorder. */
const STRIDE_BYTES: number = 37 * MIB;
/** What both sides do: of `qemu-img bench` its defaults. Neither has written its tables when the clock stops. */
const TERMS =
  "through the page cache (cache=writeback), which is warm; no flush; open, close and first rounds not counted";

interface Work {
  readonly writes: boolean;
  readonly requestBytes: number;
  readonly strided: boolean;
  /** On an image without a cluster of its own, a new one each time. */
  readonly allocates: boolean;
}

/** In a folder below `parent`, which has room for 600 MiB. */
export function qcow2RequestBenchmarks(parent: string): Promise<BenchTable[]> {
  return inFolder(parent, async (folder) => {
    const full = join(folder, "full.img");
    await makeQcow2Image(full, IMAGE_BYTES, { pieces: IMAGE_BYTES / MIB, pieceBytes: MIB });
    const rows: string[][] = [];
    for (const work of allWork()) rows.push(await compare(work, full, join(folder, "new.img")));
    return [
      {
        title: `Requests on a qcow2 image of ${IMAGE_BYTES / MIB} MiB, ${IN_FLIGHT} in flight; ${TERMS}`,
        columns: ["what", "virtio-blk", "qemu-img bench", "virtio-blk is"],
        rows,
      },
    ];
  });
}

function allWork(): Work[] {
  const works: Work[] = [];
  for (const [writes, allocates] of [
    [false, false],
    [true, false],
    [true, true],
  ] as const)
    for (const strided of [false, true])
      for (const requestBytes of [4096, 65536]) works.push({ writes, requestBytes, strided, allocates });
  return works;
}

async function compare(work: Work, full: string, fresh: string): Promise<string[]> {
  const { writes, requestBytes, strided, allocates } = work;
  const image = allocates ? fresh : full;
  const peers = [ours, ...(isInstalled("qemu-img") ? [qemuImg] : [])];
  const times = peers.map((): number[] => []);
  for (let round = 0; round < WARMING_ROUNDS + ROUNDS; round++) {
    for (const [i, run] of peers.entries()) {
      if (allocates) await makeQcow2Image(fresh, IMAGE_BYTES);
      const elapsedMs = await run(image, work);
      if (round >= WARMING_ROUNDS) times[i]!.push(elapsedMs / requestsOf(work));
    }
  }
  const where = allocates ? ", where nothing is yet" : "";
  const name = `${writes ? "write" : "read"} ${requestBytes / 1024} KiB, ${strided ? "scattered" : "in order"}${where}`;
  const figures = times.map((all) => `${(median(all) * 1000).toFixed(1)} µs`);
  return [name, figures[0]!, figures[1] ?? "-", times.length > 1 ? `${ratioOf(times[1]!, times[0]!)} as fast` : "-"];
}

function requestsOf({ requestBytes }: Work): number {
  return Math.min(MAX_REQUESTS, IMAGE_BYTES / requestBytes);
}

function stepOf({ strided, requestBytes }: Work): number {
  return strided ? STRIDE_BYTES + requestBytes : requestBytes;
}

/** Milliseconds from the first request to the end of the last, the image open before and closed after. */
function ours(image: string, work: Work): Promise<number> {
  return withQcow2(image, async (node) => {
    const startedMs = performance.now();
    let next = 0;
    const take = (): number => next++;
    await Promise.all(Array.from({ length: IN_FLIGHT }, () => serve(node, work, take)));
    return performance.now() - startedMs;
  });
}

/** One request after the other until there are none left. */
async function serve(node: BlockNode, work: Work, take: () => number): Promise<void> {
  const { writes, requestBytes } = work;
  const bytes = new Uint8Array(requestBytes);
  if (writes) randomFillSync(bytes);
  const step = stepOf(work);
  const requests = requestsOf(work);
  for (let i = take(); i < requests; i = take()) {
    const at = (i * step) % IMAGE_BYTES;
    const pending = writes ? node.write(at, IoVector.of(bytes)) : node.read(at, IoVector.of(bytes));
    if (pending !== undefined) await pending;
  }
}

function qemuImg(image: string, work: Work): Promise<number> {
  const options = ["-f", "qcow2", "-c", requestsOf(work), "-d", IN_FLIGHT, "-s", work.requestBytes, "-S", stepOf(work)];
  const args = ["bench", ...options.map(String), ...(work.writes ? ["-w", "--pattern=90"] : []), image];
  const { stdout, stderr, status } = spawnSync("qemu-img", args, { encoding: "utf8" });
  const seconds = /Run completed in ([\d.]+) seconds/.exec(stdout)?.[1];
  if (status !== 0 || seconds === undefined) throw new Error(`qemu-img bench: status ${status}: ${stdout}${stderr}`);
  return Promise.resolve(Number(seconds) * 1000);
}
