// Guests of the qcow2 model test: requests to an image and what they make of its twin. docs/reference/bitmaps.md §2.3, corrections.md A4.

import { expect } from "vitest";
import { IoVector } from "../../../src/base/io-vector.ts";
import type { BlockNode } from "../../../src/block/node.ts";
import { Random } from "../../support/simulation.ts";
import type { GuestStep, Place } from "./program.ts";
import type { ImageTwin } from "./twin.ts";

const SECTOR = 512;
const MAX_REQUEST = 4 << 20;

interface Range {
  readonly start: number;
  readonly length: number;
}

/** Where a place is on a disk of this length. */
function rangeOf({ at, length, unit }: Place, diskBytes: number, clusterBytes: number): Range {
  const unitBytes = unit === "cluster" ? clusterBytes : SECTOR;
  const start = Math.floor(Math.floor((at / 1024) * diskBytes) / unitBytes) * unitBytes;
  return { start, length: Math.min(length * unitBytes, MAX_REQUEST, diskBytes - start) };
}

/** A node, what it should be, and what of discards its image can carry out. */
export class Guest {
  readonly #node: BlockNode;
  readonly #twin: ImageTwin;
  /** A cluster that is gone would show what is below, and the image has no way to say otherwise. */
  readonly #keepsDiscarded: boolean;

  constructor(node: BlockNode, twin: ImageTwin, keepsDiscarded: boolean) {
    this.#node = node;
    this.#twin = twin;
    this.#keepsDiscarded = keepsDiscarded;
  }

  async request(step: GuestStep): Promise<void> {
    const range = this.#range(step);
    const done = this.#send(step, range);
    this.#note(step, range);
    await done;
  }

  /** While a job copies from the node discards do nothing: corrections.md B1. */
  async requestDuringJob(step: GuestStep): Promise<void> {
    if (step.op === "discard") await this.#send(step, this.#range(step));
    else await this.request(step);
  }

  /** All at once, each of them with a part of the place. */
  async burst(place: Place, requests: readonly GuestStep[]): Promise<void> {
    const all = this.range(place);
    const sectors = all.length / SECTOR;
    const pending: Promise<void>[] = [];
    for (const [i, step] of requests.entries()) {
      const [from, to] = [i, i + 1].map((part) => Math.floor((part * sectors) / requests.length) * SECTOR);
      const range = { start: all.start + from!, length: to! - from! };
      const plain = step.op === "compressed" ? { ...step, op: "write" as const } : step;
      if (range.length === 0) continue;
      pending.push(this.#send(plain, range));
      this.#note(plain, range);
    }
    await Promise.all(pending);
  }

  async read(place: Place): Promise<void> {
    const { start, length } = this.range(place);
    const bytes = new Uint8Array(length).fill(0xee);
    await this.#node.read(start, IoVector.of(bytes));
    const expected = this.#twin.bytes.subarray(start, start + length);
    const at = bytes.findIndex((byte, i) => byte !== expected[i]);
    if (at >= 0) expect.fail(`read ${bytes[at]} in place of ${expected[at]} at ${start + at}`);
  }

  range(place: Place): Range {
    return rangeOf(place, this.#twin.bytes.length, this.#clusterBytes);
  }

  get #clusterBytes(): number {
    return this.#node.driver.clusterSizeBytes!;
  }

  #range(step: GuestStep): Range {
    const unit = step.op === "compressed" ? "cluster" : step.unit;
    return this.range({ ...step, unit });
  }

  async #send(step: GuestStep, { start, length }: Range): Promise<void> {
    const node = this.#node;
    switch (step.op) {
      case "write":
        return node.write(start, IoVector.of(dataOf(step, length)));
      case "compressed":
        return node.write(start, IoVector.of(dataOf(step, length)), { compressed: true });
      case "zero":
      case "zero-unmap":
        return node.writeZeroes(start, length, { mayUnmap: step.op === "zero-unmap" });
      case "discard":
        return node.discard(start, length);
    }
  }

  #note(step: GuestStep, { start, length }: Range): void {
    const twin = this.#twin;
    twin.request(start, length);
    const end = start + length;
    if (step.op === "write" || step.op === "compressed") twin.bytes.set(dataOf(step, length), start);
    else if (step.op !== "discard") twin.bytes.fill(0, start, end);
    else if (!this.#keepsDiscarded) {
      const cluster = this.#clusterBytes;
      const first = Math.ceil(start / cluster) * cluster;
      const last = end === twin.bytes.length ? end : Math.floor(end / cluster) * cluster;
      if (first < last) twin.bytes.fill(0, first, last);
    }
  }
}

/** Bytes that say which write they are of, and which sector of it. */
function dataOf({ value, fill }: GuestStep, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  if (fill === "zeroes") return bytes;
  if (fill === "runs") {
    for (let at = 0; at < length; at += SECTOR) bytes.fill(1 + ((value + at / SECTOR) % 255), at, at + SECTOR);
    return bytes;
  }
  const random = new Random(value);
  const words = new Uint32Array(bytes.buffer);
  for (let i = 0; i < words.length; i++) words[i] = random.next() * 2 ** 32;
  return bytes;
}
