// A file driver beside an array of bytes: any sequence of requests, over any segments, with calls cut short and interrupted.
import { readFileSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { IoVector } from "../../../../src/base/io-vector.ts";
import type { BlockStatus } from "../../../../src/block/driver.ts";
import { FileDriver } from "../../../../src/block/drivers/file/file-driver.ts";
import { type Fault, FaultyFileIo, type IoCall } from "./support/faulty-file-io.ts";
import { useTemporaryFolder } from "./support/temporary-folder.ts";

const RAM_BYTES = 1 << 18;
const MAX_LENGTH_BYTES = 100_000;
const RUNS = process.env["VBLK_SOAK"] === undefined ? 60 : 3000;

/** Offsets and lengths are fractions of what is possible when the request is made. */
type Transfer = { kind: "transfer"; write: boolean; at: number; cuts: number[]; seed: number };
type Zero = { kind: "zero"; at: number; size: number; noFallback: boolean };
type Status = { kind: "status"; at: number; size: number };
type Step = Transfer | Zero | Status | { kind: "resize"; lengthBytes: number };

const fraction = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
const cuts = fc.oneof(
  fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 9 }),
  fc.array(fc.integer({ min: 1, max: 30_000 }), { minLength: 1, maxLength: 3 }),
);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("transfer" as const), write: fc.boolean(), at: fraction, cuts, seed: fc.nat(255) }),
  fc.record({ kind: fc.constant("zero" as const), at: fraction, size: fraction, noFallback: fc.boolean() }),
  fc.record({ kind: fc.constant("resize" as const), lengthBytes: fc.nat(MAX_LENGTH_BYTES) }),
  fc.record({ kind: fc.constant("status" as const), at: fraction, size: fraction }),
);

describe("FileDriver", () => {
  const inFolder = useTemporaryFolder();

  it.each([
    ["x-io=auto", "auto", false],
    ["x-io=threads", "threads", false],
    ["x-io=auto, calls cut short and interrupted", "auto", true],
    ["x-io=threads, calls cut short and interrupted", "threads", true],
  ] as const)("behaves like an array of bytes: %s", async (_title, xIo, faulty) => {
    const path = inFolder("a.img");
    await fc.assert(
      fc.asyncProperty(
        fc.record({ lengthBytes: fc.nat(MAX_LENGTH_BYTES), fresh: fc.boolean() }),
        fc.array(step, { minLength: 1, maxLength: 40 }),
        fc.nat(),
        async ({ lengthBytes, fresh }, steps, seed) => {
          const io = new FaultyFileIo(faulty ? smallFaults(seed) : () => undefined);
          const content = fresh ? new Uint8Array(lengthBytes) : fill(new Uint8Array(lengthBytes), seed);
          if (!fresh) writeFileSync(path, content);
          const driver = fresh
            ? await FileDriver.create({ path, lengthBytes, xIo, locking: "off" }, { io })
            : await FileDriver.open({ path, xIo, locking: "off" }, { io });
          try {
            let model = padded(content);
            for (const each of steps) model = await perform(driver, each, model);
            expect(driver.lengthBytes).toBe(model.length);
            const file = padded(readFileSync(path));
            expect(Buffer.compare(file, model)).toBe(0);
          } finally {
            await driver.close();
          }
        },
      ),
      { numRuns: RUNS },
    );
  });
});

/** Carries out one step on the driver and gives the image that is to be found then. */
async function perform(driver: FileDriver, each: Step, model: Uint8Array): Promise<Uint8Array> {
  switch (each.kind) {
    case "transfer":
      return transfer(driver, each, model);
    case "zero":
      return zero(driver, each, model);
    case "status":
      return status(driver, each, model);
    case "resize": {
      await driver.resize(each.lengthBytes);
      const resized = new Uint8Array(each.lengthBytes);
      resized.set(model.subarray(0, each.lengthBytes));
      return padded(resized);
    }
  }
}

async function transfer(driver: FileDriver, each: Transfer, model: Uint8Array): Promise<Uint8Array> {
  const at = Math.floor(each.at * model.length);
  const ram = fill(new Uint8Array(new SharedArrayBuffer(RAM_BYTES)), each.seed);
  const expectedRam = ram.slice();
  const vector = scattered(ram, each.cuts, model.length - at);
  if (vector.byteLength === 0) return model;
  const result = model.slice();
  if (each.write) {
    await driver.write(at, vector);
    vector.copyTo(result, at);
  } else {
    await driver.read(at, vector);
    scattered(expectedRam, each.cuts, model.length - at).copyFrom(model, at);
  }
  expect(Buffer.compare(ram, expectedRam)).toBe(0);
  return result;
}

async function zero(driver: FileDriver, each: Zero, model: Uint8Array): Promise<Uint8Array> {
  const at = Math.floor(each.at * model.length);
  const length = Math.ceil(each.size * (model.length - at));
  if (length === 0) return model;
  try {
    await driver.writeZeroes(at, length, { mayUnmap: true, noFallback: each.noFallback });
  } catch (error) {
    expect(each.noFallback).toBe(true);
    expect(error).toMatchObject({ errno: "ENOTSUP" });
    return model;
  }
  // Without writing, it can only have succeeded where all was zero.
  if (each.noFallback) expect(isZero(model, at, length)).toBe(true);
  return model.slice().fill(0, at, at + length);
}

function status(driver: FileDriver, each: Status, model: Uint8Array): Uint8Array {
  const at = Math.floor(each.at * model.length);
  const length = Math.ceil(each.size * (model.length - at));
  if (length === 0) return model;
  const found = driver.blockStatus(at, length) as BlockStatus;
  expect(found.lengthBytes).toBeGreaterThan(0);
  expect(found.lengthBytes).toBeLessThanOrEqual(length);
  expect([found.zero, found.allocated]).toEqual([!found.data, true]);
  if (found.zero) expect(isZero(model, at, found.lengthBytes)).toBe(true);
  return model;
}

/** Every second call or so moves less than asked for, or is interrupted; never so often that the driver gives up. */
function smallFaults(seed: number): (call: IoCall) => Fault {
  let state = seed | 1;
  let row = 0;
  return ({ name }) => {
    if (name !== "read" && name !== "write") return undefined;
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const choice = row > 20 ? 0 : (state >>> 16) % 5;
    row = choice >= 3 ? row + 1 : 0;
    if (choice <= 1) return undefined;
    if (choice === 2) return { atMost: 1 + ((state >>> 8) % 5000) };
    return { code: choice === 3 ? "EINTR" : "EAGAIN" };
  };
}

/** Segments of the given lengths, each somewhere else in `ram` and none over another, together at most `maxBytes`. */
function scattered(ram: Uint8Array, lengths: readonly number[], maxBytes: number): IoVector {
  const vector = new IoVector(ram);
  vector.revocable = lengths.length % 2 === 1; // as a guest's is, and a job's is not
  let end = RAM_BYTES;
  for (const length of lengths) {
    const cut = Math.min(length, maxBytes - vector.byteLength);
    if (cut === 0) break;
    end -= cut + (cut % 11);
    vector.push(end, cut);
  }
  return vector;
}

function padded(bytes: Uint8Array): Uint8Array {
  const result = new Uint8Array(Math.ceil(bytes.length / 512) * 512);
  result.set(bytes);
  return result;
}

function fill<T extends Uint8Array>(bytes: T, seed: number): T {
  for (let i = 0; i < bytes.length; i++) bytes[i] = 1 + ((i * 7 + (i >> 8) * 13 + seed * 31) % 255);
  return bytes;
}

function isZero(bytes: Uint8Array, start: number, length: number): boolean {
  return bytes.subarray(start, start + length).every((byte) => byte === 0);
}
