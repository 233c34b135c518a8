// Random requests of a guest, many in flight, and what must be true of the disk and of its bitmaps after them.

import fc from "fast-check";
import { expect } from "vitest";
import { BlockError } from "../../src/base/errors.ts";
import { IoVector } from "../../src/base/io-vector.ts";
import type { HierarchicalBitmap } from "../../src/bitmap/hierarchical-bitmap.ts";
import type { FaultyDriver } from "./faulty-driver.ts";
import type { Simulation } from "./simulation.ts";

const SECTOR = 512;

export type GuestRequestKind = "write" | "write-zeroes" | "discard";

/** One request, `afterMs` after the one before was sent, wherever that one is. Offsets are parts of the disk, in 1/1024. */
export interface GuestStep {
  readonly kind: GuestRequestKind;
  readonly at: number;
  readonly sectors: number;
  readonly afterMs: number;
}

/** Programs of up to `maxSteps` steps. */
export function guestSteps(maxSteps: number, maxSectors: number): fc.Arbitrary<GuestStep[]> {
  const step = fc.record({
    kind: fc.constantFrom<GuestRequestKind>("write", "write", "write", "write-zeroes", "discard"),
    at: fc.nat(1023),
    sectors: fc.integer({ min: 1, max: maxSectors }),
    afterMs: fc.nat(6),
  });
  return fc.array(step, { minLength: 1, maxLength: maxSteps });
}

/** What the guest's requests are sent to. */
export interface Disk {
  readonly lengthBytes: number;
  write(offsetBytes: number, vector: IoVector): void | Promise<void>;
  writeZeroes(offsetBytes: number, lengthBytes: number, options: { mayUnmap: boolean }): void | Promise<void>;
  discard(offsetBytes: number, lengthBytes: number): void | Promise<void>;
}

interface SentRequest {
  readonly kind: GuestRequestKind;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  /** Stands in every four bytes of a write's data. */
  readonly stamp: number;
  readonly begun: number;
  ended: number;
  ok: boolean;
}

/** Sends a program's requests and remembers when each began and ended. */
export class GuestProgram {
  readonly requests: SentRequest[] = [];
  readonly #simulation: Simulation;
  readonly #disk: Disk;

  constructor(simulation: Simulation, disk: Disk) {
    this.#simulation = simulation;
    this.#disk = disk;
  }

  /** Resolves when all have ended. Rejects with what is no `BlockError`. */
  async run(steps: readonly GuestStep[]): Promise<void> {
    const pending: Promise<void>[] = [];
    for (const step of steps) {
      await this.#simulation.after(step.afterMs);
      pending.push(this.#send(step));
    }
    await Promise.all(pending);
  }

  async #send(step: GuestStep): Promise<void> {
    const sectors = Math.floor(this.#disk.lengthBytes / SECTOR);
    const first = Math.floor((sectors * step.at) / 1024);
    const request: SentRequest = {
      kind: step.kind,
      offsetBytes: first * SECTOR,
      lengthBytes: Math.min(step.sectors, sectors - first) * SECTOR,
      stamp: 0x55000001 + this.requests.length * 2,
      begun: this.#simulation.order(),
      ended: Number.POSITIVE_INFINITY,
      ok: false,
    };
    this.requests.push(request);
    try {
      await this.#call(request);
      request.ok = true;
    } catch (error) {
      if (!(error instanceof BlockError)) throw error;
    }
    request.ended = this.#simulation.order();
  }

  #call(request: SentRequest): void | Promise<void> {
    const { kind, offsetBytes, lengthBytes, stamp } = request;
    switch (kind) {
      case "write":
        return this.#disk.write(
          offsetBytes,
          IoVector.of(new Uint8Array(new Uint32Array(lengthBytes / 4).fill(stamp).buffer)),
        );
      case "write-zeroes":
        return this.#disk.writeZeroes(offsetBytes, lengthBytes, { mayUnmap: true });
      case "discard":
        return this.#disk.discard(offsetBytes, lengthBytes);
    }
  }

  /**
   * Each sector of the disk holds the data of a request that may have been the last one there, of those that the driver saw;
   * or, if none succeeded, what it held before.
   */
  checkContents(driver: FaultyDriver, before: Uint8Array): void {
    const reached = this.requests.filter((request) => this.#wasSeen(request, driver));
    for (const request of this.requests) {
      if (request.ok && request.kind !== "discard")
        expect(reached, "a request that succeeded was carried out").toContain(request);
    }
    for (let at = 0; at < before.length; at += SECTOR) {
      const there = reached.filter((one) => one.offsetBytes <= at && at < one.offsetBytes + one.lengthBytes);
      const sure = there.filter((one) => one.ok && one.kind !== "discard");
      const last = there.filter((one) => !sure.some((later) => later.begun > one.ended));
      if (last.some((one) => !one.ok)) continue; // Nobody knows what a failed request has left.
      const sector = driver.bytes.subarray(at, at + SECTOR);
      const was = before.subarray(at, at + SECTOR);
      const fits = last.some((one) => holds(sector, one)) || (sure.length === 0 && Buffer.compare(sector, was) === 0);
      if (!fits) expect.fail(`sector at ${at} holds what no request can have left there last`);
    }
  }

  /** True if the driver was called for it. */
  #wasSeen(request: SentRequest, driver: FaultyDriver): boolean {
    return driver.calls.some(
      ({ kind, offsetBytes, lengthBytes, begun }) =>
        kind === request.kind &&
        offsetBytes === request.offsetBytes &&
        lengthBytes === request.lengthBytes &&
        begun > request.begun &&
        begun < request.ended,
    );
  }
}

function holds(sector: Uint8Array, { kind, stamp }: SentRequest): boolean {
  const wanted = kind === "write" ? stamp : 0;
  const view = new DataView(sector.buffer, sector.byteOffset, sector.length);
  for (let i = 0; i < sector.length; i += 4) if (view.getUint32(i, true) !== wanted) return false;
  return true;
}

/** The bitmap holds the groups of whatever the driver was asked to change, and no others. */
export function checkBitmap(bits: HierarchicalBitmap, driver: FaultyDriver): void {
  const granularity = bits.granularityBytes;
  const expected = new Set<number>();
  for (const { kind, offsetBytes, lengthBytes } of driver.calls) {
    if (kind !== "write" && kind !== "write-zeroes" && kind !== "discard") continue;
    const end = offsetBytes + lengthBytes;
    for (let group = Math.floor(offsetBytes / granularity); group * granularity < end; group++) expected.add(group);
  }
  const groups = Math.ceil(bits.sizeBytes / granularity);
  const dirty = [...Array(groups).keys()].filter((group) => bits.get(group * granularity));
  expect(dirty).toEqual([...expected].sort((a, b) => a - b));
}
