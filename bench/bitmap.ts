// Bitmap operations beside QEMU's hbitmap in C, the package typedfastbitset and a copy of 4 KiB: rows 5 to 8 of docs/performance.md.

import { pathToFileURL } from "node:url";
import { type BitmapWork, bitmapWork, type Contender } from "./bitmap-work.ts";
import { type BenchTable, formatBenchTable, median } from "./report.ts";

const ROUNDS = 25;
/** Short enough that most samples are over before the system gives the processor to somebody else. */
const SAMPLE_MS = 1;
const WARM_UP_MS = 60;
const COPY_BYTES = 4096;
const COPIES = 1024;

/** One table. A ratio is the median of the rounds' ratios; C's times are figures of the document, all else is measured here. */
export function bitmapBenchmarks(): Promise<BenchTable[]> {
  const work = bitmapWork();
  const copy = copyContender();
  const contenders = [copy, ...work.flatMap(({ ours, peer }) => (peer === undefined ? [ours] : [ours, peer]))];
  for (const contender of contenders) warmUp(contender);
  const samples = new Map<Contender, number[]>(contenders.map((contender) => [contender, []]));
  for (let round = 0; round < ROUNDS; round++)
    for (const contender of contenders) samples.get(contender)!.push(time(contender));
  const copies = samples.get(copy)!;
  const table: BenchTable = {
    title: `Bitmap operations (rows 5 to 8): 1 TiB of disk, 64 KiB a bit; a copy of 4 KiB takes ${formatNs(median(copies))}`,
    columns: ["row", "what", "time", "C", "C ÷ ours", "acceptable", "typedfastbitset", "it ÷ ours", "copies of 4 KiB"],
    rows: work.map((each) => row(each, samples, copies)),
  };
  return Promise.resolve([table]);
}

function row(
  work: BitmapWork,
  samples: ReadonlyMap<Contender, number[]>,
  copies: readonly number[],
): (string | number)[] {
  const { row, what, inC, acceptable } = work;
  const ours = samples.get(work.ours)!;
  const time = median(ours);
  const peer = work.peer === undefined ? undefined : samples.get(work.peer)!;
  return [
    row,
    what,
    formatNs(time),
    inC[0] === inC[1] ? formatNs(inC[0]) : `${formatNs(inC[0])} to ${formatNs(inC[1])}`,
    inC[0] === inC[1] ? formatRatio(inC[0] / time) : `${formatRatio(inC[0] / time)} to ${formatRatio(inC[1] / time)}`,
    acceptable,
    peer === undefined ? "-" : formatNs(median(peer)),
    peer === undefined ? "-" : formatRatio(median(peer.map((each, round) => each / ours[round]!))),
    formatRatio(median(ours.map((each, round) => each / copies[round]!))),
  ];
}

function warmUp(contender: Contender): void {
  const startedMs = performance.now();
  do time(contender);
  while (performance.now() - startedMs < WARM_UP_MS);
}

/**
 * Nanoseconds an operation. The work is done once before, untimed, so that what others left in the caches does not count.
 * What needs no preparation is done again and again for a while.
 */
function time({ run, prepare }: Contender): number {
  prepare?.();
  run();
  prepare?.();
  const startedMs = performance.now();
  let operations = 0;
  let tookMs = 0;
  do {
    operations += run();
    tookMs = performance.now() - startedMs;
  } while (prepare === undefined && tookMs < SAMPLE_MS);
  return (tookMs * 1e6) / operations;
}

/** The unit of the last column. */
function copyContender(): Contender {
  const bytes = new Uint8Array(new SharedArrayBuffer(1 << 20));
  return {
    run: () => {
      for (let i = 0; i < COPIES; i++) {
        const from = (i % 64) * COPY_BYTES;
        bytes.set(bytes.subarray(from, from + COPY_BYTES), from + (1 << 19));
      }
      return COPIES;
    },
  };
}

function formatNs(ns: number): string {
  if (ns < 1e3) return `${Number(ns.toPrecision(ns < 100 ? 2 : 3))} ns`;
  return ns < 1e6 ? `${Number((ns / 1e3).toPrecision(2))} µs` : `${Number((ns / 1e6).toPrecision(2))} ms`;
}

function formatRatio(ratio: number): string {
  return ratio < 100 ? ratio.toFixed(2) : String(Math.round(ratio));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  for (const table of await bitmapBenchmarks()) console.log(formatBenchTable(table));
}
