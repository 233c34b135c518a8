// The memory of a block copy: who gets it, and in what order.
import { describe, expect, it } from "vitest";
import {
  COPY_PIECE_BYTES,
  type CopyBuffer,
  CopyBuffers,
  MAX_COPY_BUFFER_BYTES,
} from "../../src/block/block-copy-buffers.ts";
import { settle } from "../support/simulation.ts";

function taken(buffer: CopyBuffer | Promise<CopyBuffer>): CopyBuffer {
  if (buffer instanceof Promise) throw new Error("no buffer at once");
  return buffer;
}

/** All of the memory, in buffers of one piece. */
function takeAll(buffers: CopyBuffers): CopyBuffer[] {
  return Array.from({ length: 16 }, () => taken(buffers.take(COPY_PIECE_BYTES, false)));
}

describe("CopyBuffers", () => {
  it("has 4 MiB, in pieces that nobody else holds", () => {
    const buffers = new CopyBuffers();
    const all = takeAll(buffers);
    expect(new Set(all.flatMap((buffer) => buffer.pieces)).size).toBe(16);
    expect(all[0]?.whole.bytes.length).toBe(4 * 1024 * 1024);
    expect(buffers.take(1, true)).toBeInstanceOf(Promise);
  });

  it("gives back the piece that was used last", () => {
    const buffers = new CopyBuffers();
    const first = taken(buffers.take(512, false));
    const { pieces } = { pieces: [...first.pieces] };
    buffers.give(first);
    expect(taken(buffers.take(512, false)).pieces).toEqual(pieces);
  });

  it("serves those in a hurry first, and each line in its order", async () => {
    const buffers = new CopyBuffers();
    const all = takeAll(buffers);
    const order: string[] = [];
    const wait = (name: string, bytes: number, urgent: boolean): void => {
      const buffer = buffers.take(bytes, urgent);
      expect(buffer).toBeInstanceOf(Promise);
      void Promise.resolve(buffer).then(() => order.push(name));
    };
    wait("background", COPY_PIECE_BYTES, false);
    wait("large guest", 2 * COPY_PIECE_BYTES, true);
    wait("small guest", 512, true);
    buffers.give(all.pop()!);
    await settle();
    expect(order).toEqual([]);
    wait("late background", 512, false);
    wait("late guest", 512, true);
    buffers.give(all.pop()!);
    await settle();
    expect(order).toEqual(["large guest"]);
    for (let i = 0; i < 4; i++) buffers.give(all.pop()!);
    await settle();
    expect(order).toEqual(["large guest", "small guest", "late guest", "background", "late background"]);
  });

  it("lets nobody pass those who wait", () => {
    const buffers = new CopyBuffers();
    const all = takeAll(buffers);
    expect(buffers.take(MAX_COPY_BUFFER_BYTES, true)).toBeInstanceOf(Promise);
    buffers.give(all.pop()!);
    expect(buffers.take(512, true)).toBeInstanceOf(Promise);
    expect(buffers.take(512, false)).toBeInstanceOf(Promise);
  });

  it("asserts sizes", () => {
    const buffers = new CopyBuffers();
    expect(() => buffers.take(0, false)).toThrow("wrong size");
    expect(() => buffers.take(MAX_COPY_BUFFER_BYTES + 1, false)).toThrow("wrong size");
    expect(() => taken(buffers.take(512, false)).resize(COPY_PIECE_BYTES + 1)).toThrow("too small");
  });
});

describe("CopyBuffer", () => {
  it("holds data across its pieces, and gives out any part of them", () => {
    const buffers = new CopyBuffers();
    const buffer = taken(buffers.take(3 * COPY_PIECE_BYTES, false));
    const length = 2 * COPY_PIECE_BYTES + 1024;
    buffer.resize(length);
    expect(buffer.whole.byteLength).toBe(length);
    buffer.whole.copyFrom(
      Uint8Array.from({ length }, (_, i) => 1 + (i % 250)),
      0,
    );
    const out = new Uint8Array(2048);
    buffer.part(COPY_PIECE_BYTES - 1024, 2048).copyTo(out, 0);
    expect(out.every((byte, i) => byte === 1 + ((COPY_PIECE_BYTES - 1024 + i) % 250))).toBe(true);
    expect(buffer.part(0, length)).toBe(buffer.whole);
  });

  it("finds zeroes in every piece", () => {
    const buffers = new CopyBuffers();
    const buffer = taken(buffers.take(2 * COPY_PIECE_BYTES, false));
    buffer.resize(2 * COPY_PIECE_BYTES);
    buffer.whole.copyFrom(new Uint8Array(2 * COPY_PIECE_BYTES).fill(1), 0);
    buffer.part(COPY_PIECE_BYTES + 4096, 8192).clearData();
    expect(buffer.isZero(COPY_PIECE_BYTES + 4096, 8192)).toBe(true);
    expect(buffer.isZero(COPY_PIECE_BYTES + 4095, 512)).toBe(false);
    expect(buffer.isZero(COPY_PIECE_BYTES + 12288 - 511, 512)).toBe(false);
    expect(buffer.isZero(4096, 8192)).toBe(false);
  });
});
