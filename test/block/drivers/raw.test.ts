// The raw format: all requests go to the file node as they are.
import { describe, expect, it } from "vitest";
import { BlockError } from "../../../src/base/errors.ts";
import { IoVector } from "../../../src/base/io-vector.ts";
import { RawDriver } from "../../../src/block/drivers/raw.ts";
import { BlockNode } from "../../../src/block/node.ts";
import { FaultyDriver } from "../../support/faulty-driver.ts";
import { Simulation } from "../../support/simulation.ts";

function rawOnFaulty(options: { readOnly?: boolean; rawReadOnly?: boolean } = {}): {
  file: FaultyDriver;
  raw: BlockNode;
} {
  const { readOnly = false, rawReadOnly } = options;
  const file = new FaultyDriver({ simulation: new Simulation(1), bytes: new Uint8Array(4096), readOnly });
  const node = new BlockNode({ name: "file", driver: file, discard: "unmap" });
  const driver = new RawDriver(rawReadOnly === undefined ? { file: node } : { file: node, readOnly: rawReadOnly });
  return { file, raw: new BlockNode({ name: "raw", driver, discard: "unmap" }) };
}

describe("RawDriver", () => {
  it("passes every operation on, with offset, length and options", async () => {
    const { file, raw } = rawOnFaulty();
    expect(raw.write(512, IoVector.of(new Uint8Array(512).fill(1)))).toBeUndefined();
    expect(raw.read(0, IoVector.of(new Uint8Array(1024)))).toBeUndefined();
    expect(raw.writeZeroes(1024, 512, { mayUnmap: true })).toBeUndefined();
    expect(raw.discard(2048, 1024)).toBeUndefined();
    expect(raw.flush()).toBeUndefined();
    expect(raw.blockStatus(512, 1024)).toEqual({ lengthBytes: 1024, allocated: true, data: true, zero: false });
    await raw.resize(8192);
    expect(raw.lengthBytes).toBe(8192);
    expect(file.calls.map((call) => [call.kind, call.offsetBytes, call.lengthBytes, call.mayUnmap])).toEqual([
      ["write", 512, 512, false],
      ["read", 0, 1024, false],
      ["write-zeroes", 1024, 512, true],
      ["discard", 2048, 1024, true],
      ["flush", 0, 0, false],
      ["status", 512, 1024, false],
      ["resize", 0, 8192, false],
    ]);
    expect(file.bytes[512]).toBe(1);
  });

  it("passes errors on as they are", () => {
    const { file, raw } = rawOnFaulty();
    file.fault = () => "ENOSPC";
    expect(() => raw.write(0, IoVector.of(new Uint8Array(512)))).toThrow(new BlockError("ENOSPC"));
  });

  it("is read-only when the file is, or when it was asked to be", () => {
    expect(rawOnFaulty().raw.readOnly).toBe(false);
    expect(rawOnFaulty({ readOnly: true }).raw.readOnly).toBe(true);
    expect(rawOnFaulty({ rawReadOnly: true }).raw.readOnly).toBe(true);
  });
});
