// The work of the bitmap benchmarks: rows 5 to 8 of docs/performance.md, on 1 TiB of disk at 64 KiB, which is 16 Mi bits.

import { TypedFastBitSet } from "typedfastbitset";
import { DirtyArea, HierarchicalBitmap } from "../src/bitmap/hierarchical-bitmap.ts";

/** `run` does the work once and returns how many operations that were; `prepare` puts back what it changed, untimed. */
export interface Contender {
  readonly run: () => number;
  readonly prepare?: () => void;
}

/** One line of the table. */
export interface BitmapWork {
  readonly row: number;
  readonly what: string;
  /** Nanoseconds an operation of QEMU's hbitmap in C, as measured once on a machine of this kind; from least to most. */
  readonly inC: readonly [number, number];
  /** What docs/performance.md calls acceptable first: C's time divided by ours, or a time. */
  readonly acceptable: string;
  readonly ours: Contender;
  readonly peer?: Contender;
}

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const TIB = 2 ** 40;
const GRANULARITY = 65536;
const BITS = TIB / GRANULARITY;
/** Little enough that a run over them is over before the system gives the processor to somebody else. */
const BITS_A_RUN = 2 ** 16;
const DENSITIES = [0.0001, 0.01, 0.5] as const;

/** Numbers that look random, the same in every run. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return ((state >>> 8) ^ (Math.imul(state, 0x9e3779b1) >>> 27)) / 2 ** 24;
  };
}

function dirtyAtRandom(density: number, seed: number): { bitmap: HierarchicalBitmap; set: TypedFastBitSet } {
  const random = randomNumbers(seed);
  const bitmap = new HierarchicalBitmap(TIB, GRANULARITY);
  const set = new TypedFastBitSet();
  set.resize(BITS - 1);
  for (let bit = 0; bit < BITS; bit++) {
    if (random() >= density) continue;
    bitmap.set(bit * GRANULARITY, GRANULARITY);
    set.add(bit);
  }
  return { bitmap, set };
}

/** All the work, its data made. Every contender has code of its own, as its callers would. */
export function bitmapWork(): BitmapWork[] {
  return [...singleBits(), ...searches(), ...wholeBitmaps(), ...ranges()];
}

function singleBits(): BitmapWork[] {
  const random = randomNumbers(1);
  const offsets = new Float64Array(BITS_A_RUN);
  const bits = new Int32Array(BITS_A_RUN);
  for (let i = 0; i < BITS_A_RUN; i++) {
    bits[i] = Math.floor(random() * BITS);
    offsets[i] = bits[i]! * GRANULARITY;
  }
  const bitmap = new HierarchicalBitmap(TIB, GRANULARITY);
  const set = new TypedFastBitSet();
  set.resize(BITS - 1);
  const setRandom = (): number => {
    for (let i = 0; i < BITS_A_RUN; i++) bitmap.set(offsets[i]!, 4096);
    return BITS_A_RUN;
  };
  const resetRandom = (): number => {
    for (let i = 0; i < BITS_A_RUN; i++) bitmap.reset(offsets[i]!, GRANULARITY);
    return BITS_A_RUN;
  };
  const addRandom = (): number => {
    for (let i = 0; i < BITS_A_RUN; i++) set.add(bits[i]!);
    return BITS_A_RUN;
  };
  const removeRandom = (): number => {
    for (let i = 0; i < BITS_A_RUN; i++) set.remove(bits[i]!);
    return BITS_A_RUN;
  };
  const sequential = new HierarchicalBitmap(TIB, GRANULARITY);
  const sequentialSet = new TypedFastBitSet();
  sequentialSet.resize(BITS - 1);
  return [
    {
      row: 5,
      what: "set a bit at random",
      inC: [18, 18],
      acceptable: "1.00",
      ours: { prepare: resetRandom, run: setRandom },
      peer: { prepare: removeRandom, run: addRandom },
    },
    {
      row: 5,
      what: "reset a bit at random",
      inC: [14, 14],
      acceptable: "1.00",
      ours: { prepare: setRandom, run: resetRandom },
      peer: { prepare: addRandom, run: removeRandom },
    },
    {
      row: 5,
      what: "set bits in order",
      inC: [11, 11],
      acceptable: "1.00",
      ours: {
        prepare: () => sequential.reset(0, BITS_A_RUN * GRANULARITY),
        run: () => {
          for (let bit = 0; bit < BITS_A_RUN; bit++) sequential.set(bit * GRANULARITY, GRANULARITY);
          return BITS_A_RUN;
        },
      },
      peer: {
        prepare: () => sequentialSet.removeRange(0, BITS_A_RUN),
        run: () => {
          for (let bit = 0; bit < BITS_A_RUN; bit++) sequentialSet.add(bit);
          return BITS_A_RUN;
        },
      },
    },
  ];
}

function searches(): BitmapWork[] {
  const inCBit = [5.9, 5.0, 1.6] as const;
  return DENSITIES.flatMap((density, i): BitmapWork[] => {
    const { bitmap, set } = dirtyAtRandom(density, 2 + i);
    const batch = new Float64Array(512);
    const title = `${density * 100} % of 16 Mi bits`;
    const inC = [inCBit[i]!, inCBit[i]!] as const;
    const window = new Window(TIB / 2 ** (5 * i));
    const iterate = { run: () => iterateBatches(bitmap, window.next(), window.end, batch) };
    const peer = { run: () => iteratePeer(set) };
    const singly = { run: () => iterateSingly(bitmap, window.next(), window.end) };
    const walk = { run: () => walkAreas(bitmap, window.next(), window.end) };
    const search = { run: () => searchAreas(bitmap, window.next(), window.end) };
    return [
      { row: 6, what: `iterate ${title}`, inC, acceptable: "0.80", ours: iterate, peer },
      { row: 6, what: "the same one by one", inC, acceptable: "-", ours: singly },
      { row: 6, what: `next dirty area, ${title}`, inC: [12, 21], acceptable: "0.80", ours: walk },
      { row: 6, what: "the same by offset", inC: [12, 21], acceptable: "-", ours: search },
    ];
  });
}

/** A part of the disk after the other, so that a run is short and all of the bitmap has its turn. */
class Window {
  readonly #length: number;
  end = 0;

  constructor(length: number) {
    this.#length = length;
  }

  /** Moves on; the begin of the part. */
  next(): number {
    const start = this.end % TIB;
    this.end = start + this.#length;
    return start;
  }
}

/** What the loops below found: read by nobody, so that nothing is left out as useless. */
const found = { sum: 0.5 };
const area = new DirtyArea();

function iterateBatches(bitmap: HierarchicalBitmap, start: number, end: number, batch: Float64Array): number {
  const iterator = bitmap.iterate(start);
  let count = 0;
  let total = 0.5;
  for (let n = iterator.nextBatch(batch); n > 0; n = iterator.nextBatch(batch)) {
    total += sum(batch, n);
    count += n;
    if (batch[n - 1]! >= end) break;
  }
  found.sum += total;
  return count;
}

/** In four sums, as one would wait for itself longer than for the offsets. */
function sum(offsets: Float64Array, count: number): number {
  let a = 0.5;
  let b = 0.5;
  let c = 0.5;
  let d = 0.5;
  for (let i = 0; i < count; i += 4) {
    a += offsets[i]!;
    b += offsets[i + 1]!;
    c += offsets[i + 2]!;
    d += offsets[i + 3]!;
  }
  return a + b + c + d;
}

function iterateSingly(bitmap: HierarchicalBitmap, start: number, end: number): number {
  const iterator = bitmap.iterate(start);
  let count = 0;
  let total = 0.5;
  for (let offset = iterator.next(); offset >= 0 && offset < end; offset = iterator.next()) {
    total += offset;
    count++;
  }
  found.sum += total;
  return count;
}

/** It has no way to begin elsewhere than at the begin. */
function iteratePeer(set: TypedFastBitSet): number {
  let count = 0;
  let total = 0;
  set.forEach((bit) => {
    total ^= bit;
    count++;
  });
  found.sum += total;
  return count;
}

function walkAreas(bitmap: HierarchicalBitmap, start: number, end: number): number {
  let count = 0;
  let total = 0.5;
  for (const areas = bitmap.areas(start, end); areas.next(); count++) total += areas.length;
  found.sum += total;
  return count;
}

function searchAreas(bitmap: HierarchicalBitmap, start: number, end: number): number {
  let count = 0;
  for (let at = start; bitmap.nextDirtyArea(at, end, TIB, area); at = area.offset + area.length) count++;
  return count;
}

function wholeBitmaps(): BitmapWork[] {
  const work: BitmapWork[] = [];
  for (const density of [0.01, 0.5] as const) {
    const from = dirtyAtRandom(density, 7);
    const into = dirtyAtRandom(density, 8);
    const result = new HierarchicalBitmap(TIB, GRANULARITY);
    let union = into.set.clone();
    work.push({
      row: 7,
      what: `merge ${density * 100} % into ${density * 100} % of 16 Mi bits`,
      inC: [0.5e6, 0.9e6],
      acceptable: "0.40",
      ours: {
        prepare: () => {
          result.resetAll();
          result.merge(into.bitmap);
        },
        run: () => {
          result.merge(from.bitmap);
          return 1;
        },
      },
      // Its count is made when it is asked for.
      peer: {
        prepare: () => {
          union = into.set.clone();
        },
        run: () => {
          union.union(from.set);
          found.sum += union.size();
          return 1;
        },
      },
    });
    const bytes = new Uint8Array(BITS / 8);
    from.bitmap.serialize(0, TIB, bytes);
    const loaded = new HierarchicalBitmap(TIB, GRANULARITY);
    const out = new Uint8Array(BITS / 8);
    work.push(
      {
        row: 7,
        what: `serialise 16 Mi bits, ${density * 100} % set`,
        inC: [66e3, 66e3],
        acceptable: "0.80",
        ours: {
          run: () => {
            from.bitmap.serialize(0, TIB, out);
            return 1;
          },
        },
      },
      {
        row: 7,
        what: `load and rebuild 16 Mi bits, ${density * 100} % set`,
        inC: [1e6, 1e6],
        acceptable: "0.80",
        ours: {
          prepare: () => {
            for (let at = 0; at < TIB; at += 32 * GIB) loaded.reset(at, 32 * GIB);
          },
          run: () => {
            loaded.deserialize(0, TIB, bytes);
            return 1;
          },
        },
      },
    );
  }
  return work;
}

function ranges(): BitmapWork[] {
  const cases = [
    { what: "1 MiB", length: MIB, times: 4096, inC: [23, 23], acceptable: "200 ns" },
    { what: "1 GiB", length: GIB, times: 128, inC: [600, 600], acceptable: "5 µs" },
    { what: "1 TiB", length: TIB, times: 16, inC: [85e3, 900e3], acceptable: "2 ms" },
  ] as const;
  return cases.map(({ what, length, times, inC, acceptable }) => {
    const { bitmap, set } = dirtyAtRandom(0.01, 9);
    const places = Math.min(TIB / length, times);
    return {
      row: 8,
      what: `set and reset ${what} of disk`,
      inC,
      acceptable,
      ours: {
        run: () => {
          for (let i = 0; i < times; i++) {
            const start = (i % places) * length;
            bitmap.set(start, length);
            bitmap.reset(start, length);
          }
          return 2 * times;
        },
      },
      peer: {
        run: () => {
          const bits = length / GRANULARITY;
          for (let i = 0; i < times; i++) {
            const start = (i % places) * bits;
            set.addRange(start, start + bits);
            set.removeRange(start, start + bits);
          }
          return 2 * times;
        },
      },
    };
  });
}
