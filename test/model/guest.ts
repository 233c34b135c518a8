// A guest of the model test: sends requests through its drive's backend, many at once, and knows what each sector should hold.

import { expect } from "vitest";
import { BlockError } from "../../src/base/errors.ts";
import { IoVector } from "../../src/base/io-vector.ts";
import type { BlockBackend } from "../../src/block/backend.ts";
import type { GuestStep } from "./program.ts";

const SECTOR = 512;
/** What a sector holds of which nobody knows what it holds. */
const UNKNOWN = -1;

interface Request {
  readonly first: number;
  readonly end: number;
  readonly reads: boolean;
  /** It overlaps another: which of the two was first nobody knows. */
  clashes: boolean;
}

export class Guest {
  readonly #backend: BlockBackend;
  /** By sector: the byte that it is full of. */
  #sectors: Int16Array;
  readonly #underWay = new Set<Request>();
  #shared = false;

  /** The disk holds `bytes`, whose sectors are each full of one value. */
  constructor(backend: BlockBackend, bytes: Uint8Array) {
    this.#backend = backend;
    this.#sectors = Int16Array.from({ length: bytes.length / SECTOR }, (_, i) => bytes[i * SECTOR]!);
  }

  /** What is added, and what a request that ran beside the resize may have hit, is not known. */
  resized(lengthBytes: number): void {
    const sectors = new Int16Array(lengthBytes / SECTOR).fill(UNKNOWN);
    sectors.set(this.#sectors.subarray(0, sectors.length));
    this.#sectors = sectors;
    for (const { first, end, reads } of this.#underWay) if (!reads) this.#note(first, end, UNKNOWN);
  }

  /** Others have written to the disk: what it holds nobody knows any more. */
  share(): void {
    this.#shared = true;
  }

  async send({ kind, at, sectors, value }: GuestStep): Promise<void> {
    const length = this.#backend.lengthBytes / SECTOR;
    const first = Math.floor((length * at) / 1024);
    const reads = kind === "read" || kind === "flush";
    const request: Request = { first, end: Math.min(first + sectors, length), reads, clashes: false };
    for (const other of reads ? [] : this.#changing(request.first, request.end)) {
      request.clashes = true;
      other.clashes = true;
    }
    this.#underWay.add(request);
    try {
      await this.#perform(kind, request, value);
    } catch (error) {
      if (!(error instanceof BlockError)) throw error;
      if (!request.reads) this.#note(request.first, request.end, UNKNOWN);
      return;
    } finally {
      this.#underWay.delete(request);
    }
    if (request.reads) return;
    const known = kind === "discard" || request.clashes ? UNKNOWN : kind === "write" ? value : 0;
    this.#note(request.first, request.end, known);
  }

  /** The disk holds what was written. */
  check(bytes: Uint8Array): void {
    expect(this.#underWay.size).toBe(0);
    expect(bytes.length / SECTOR).toBe(this.#sectors.length);
    for (const [sector, value] of this.#sectors.entries()) {
      if (!this.#shared && value !== UNKNOWN && !isFullOf(bytes, sector, value))
        expect.fail(`sector ${sector} is not full of ${value}`);
    }
  }

  async #perform(kind: GuestStep["kind"], request: Request, value: number): Promise<void> {
    const offset = request.first * SECTOR;
    const length = (request.end - request.first) * SECTOR;
    switch (kind) {
      case "write":
        return this.#backend.write(offset, IoVector.of(new Uint8Array(length).fill(value)));
      case "write-zeroes":
        return this.#backend.writeZeroes(offset, length, { mayUnmap: true });
      case "discard":
        return this.#backend.discard(offset, length);
      case "flush":
        return this.#backend.flush();
      case "read":
        return this.#read(request);
    }
  }

  /** Each sector holds what it held when the read was sent, if nobody has written to it since. */
  async #read({ first, end }: Request): Promise<void> {
    const known = this.#sectors.slice(first, end);
    for (const other of this.#underWay) {
      if (!other.reads) known.fill(UNKNOWN, clamp(other.first - first, known), clamp(other.end - first, known));
    }
    const bytes = new Uint8Array((end - first) * SECTOR);
    await this.#backend.read(first * SECTOR, IoVector.of(bytes));
    for (const [i, value] of known.entries()) {
      const unchanged = this.#sectors[first + i] === value && this.#changing(first + i, first + i + 1).length === 0;
      if (!this.#shared && value !== UNKNOWN && unchanged && !isFullOf(bytes, i, value))
        expect.fail(`sector ${first + i} was not read as ${value}`);
    }
  }

  #changing(first: number, end: number): Request[] {
    return [...this.#underWay].filter((other) => !other.reads && other.first < end && first < other.end);
  }

  #note(first: number, end: number, value: number): void {
    this.#sectors.fill(value, first, Math.min(end, this.#sectors.length));
  }
}

function clamp(at: number, { length }: Int16Array): number {
  return Math.max(0, Math.min(at, length));
}

function isFullOf(bytes: Uint8Array, sector: number, value: number): boolean {
  const start = sector * SECTOR;
  for (let i = start; i < start + SECTOR; i++) if (bytes[i] !== value) return false;
  return true;
}
