// The overlay in memory, on drivers that complete at once and later, against plain arrays.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { IoVector } from "../../../src/base/io-vector.ts";
import { blockStatusAbove } from "../../../src/block/block-status.ts";
import { MemoryDriver } from "../../../src/block/drivers/memory.ts";
import { MemoryOverlayDriver } from "../../../src/block/drivers/memory-overlay.ts";
import { BlockNode } from "../../../src/block/node.ts";
import { FaultyDriver } from "../../support/faulty-driver.ts";
import { Random, Simulation } from "../../support/simulation.ts";

const SECTOR = 512;
const CLUSTER = 2048;

async function read(node: BlockNode, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length).fill(0xaa);
  await node.read(offset, IoVector.of(bytes));
  return bytes;
}

function overlayOn(bytes: Uint8Array, lengthBytes = bytes.length): { base: BlockNode; top: BlockNode } {
  const base = new BlockNode({ name: "base", driver: new MemoryDriver({ bytes }) });
  const driver = new MemoryOverlayDriver({ backing: base, lengthBytes, clusterSizeBytes: CLUSTER });
  return { base, top: new BlockNode({ name: "top", driver, discard: "unmap" }) };
}

describe("MemoryOverlayDriver", () => {
  it("shows what lies below, and keeps a whole cluster of its own once a part is written", async () => {
    const { base, top } = overlayOn(new Uint8Array(3 * CLUSTER).fill(1));
    await top.write(CLUSTER + SECTOR, IoVector.of(new Uint8Array(SECTOR).fill(2)));
    await base.write(0, IoVector.of(new Uint8Array(3 * CLUSTER).fill(9)));
    const expected = new Uint8Array(3 * CLUSTER).fill(9);
    expected.fill(1, CLUSTER, 2 * CLUSTER).fill(2, CLUSTER + SECTOR, CLUSTER + 2 * SECTOR);
    expect(await read(top, 0, 3 * CLUSTER)).toEqual(expected);
  });

  it("tells which clusters are its own, and which of them are zeroes", () => {
    const { top } = overlayOn(new Uint8Array(4 * CLUSTER).fill(1));
    expect(top.blockStatus(0, 4 * CLUSTER)).toEqual({
      lengthBytes: 4 * CLUSTER,
      allocated: false,
      data: false,
      zero: false,
    });
    void top.write(CLUSTER, IoVector.of(new Uint8Array(SECTOR)));
    void top.writeZeroes(2 * CLUSTER, CLUSTER);
    expect(top.blockStatus(0, 4 * CLUSTER)).toMatchObject({ lengthBytes: CLUSTER, allocated: false });
    expect(top.blockStatus(CLUSTER, 3 * CLUSTER)).toEqual({
      lengthBytes: CLUSTER,
      allocated: true,
      data: true,
      zero: false,
    });
    expect(top.blockStatus(2 * CLUSTER, 2 * CLUSTER)).toEqual({
      lengthBytes: CLUSTER,
      allocated: true,
      data: false,
      zero: true,
    });
    expect(top.blockStatus(3 * CLUSTER, 100)).toMatchObject({ lengthBytes: 100, allocated: false });
  });

  it("drops whole clusters alone when it discards", async () => {
    const { top } = overlayOn(new Uint8Array(4 * CLUSTER).fill(1));
    await top.discard(SECTOR, 2 * CLUSTER);
    const expected = new Uint8Array(4 * CLUSTER).fill(1).fill(0, CLUSTER, 2 * CLUSTER);
    expect(await read(top, 0, 4 * CLUSTER)).toEqual(expected);
  });

  it("reads zeroes beyond the end of what lies below, also when it has grown beyond an old end", async () => {
    const { top } = overlayOn(new Uint8Array(4 * CLUSTER).fill(1), CLUSTER + SECTOR);
    await top.resize(4 * CLUSTER);
    const expected = new Uint8Array(4 * CLUSTER).fill(1, 0, CLUSTER + SECTOR);
    expect(await read(top, 0, 4 * CLUSTER)).toEqual(expected);
    const long = overlayOn(new Uint8Array(SECTOR).fill(1), 2 * CLUSTER);
    expect(await read(long.top, 0, 2 * CLUSTER)).toEqual(new Uint8Array(2 * CLUSTER).fill(1, 0, SECTOR));
  });

  it("refuses to be resized away from under an overlay, and is a parent of what lies below", () => {
    const { base, top } = overlayOn(new Uint8Array(CLUSTER));
    expect([...base.parents].map(({ parentName, role }) => [parentName, role])).toEqual([["node 'top'", "backing"]]);
    expect(base.opBlockers.reason("resize")).toBe("node is used as backing hd of 'top'");
    expect(top.driver.clusterSizeBytes).toBe(CLUSTER);
  });

  it("behaves as an array over an array, whatever comes when", async () => {
    const step = fc.record({
      kind: fc.constantFrom("write", "zero", "discard", "resize", "below" as const),
      at: fc.nat(31),
      length: fc.integer({ min: 1, max: 12 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 25 }),
        fc.nat(),
        fc.constantFrom(0, 1),
        async (steps, seed, delayed) => {
          const simulation = new Simulation(seed);
          const random = new Random(seed);
          const below = new Uint8Array(20 * SECTOR).map(() => random.below(255) + 1);
          const base = new BlockNode({ name: "base", driver: new FaultyDriver({ simulation, bytes: below, delayed }) });
          const driver = new MemoryOverlayDriver({
            backing: base,
            lengthBytes: 24 * SECTOR,
            clusterSizeBytes: CLUSTER,
          });
          const top = new BlockNode({ name: "top", driver, discard: "unmap" });
          let own: (number | undefined)[] = new Array<undefined>(24 * SECTOR).fill(undefined);
          const shown = (i: number): number => own[i] ?? below[i] ?? 0;
          const take = (from: number, to: number, value: number | undefined): void => {
            for (let i = from; i < to; i++) own[i] = value ?? shown(i);
          };
          for (const { kind, at, length } of steps) {
            const from = Math.min(at * SECTOR, top.lengthBytes);
            const to = Math.min(from + length * SECTOR, top.lengthBytes);
            const first = Math.ceil(from / CLUSTER) * CLUSTER;
            const last = to === top.lengthBytes ? to : Math.floor(to / CLUSTER) * CLUSTER;
            const down = Math.floor(from / CLUSTER) * CLUSTER;
            const up = Math.min(Math.ceil(to / CLUSTER) * CLUSTER, top.lengthBytes);
            switch (kind) {
              case "write": {
                const value = random.below(255) + 1;
                await simulation.run(
                  Promise.resolve(top.write(from, IoVector.of(new Uint8Array(to - from).fill(value)))),
                );
                if (to > from) take(down, up, undefined);
                take(from, to, value);
                break;
              }
              case "zero":
                await simulation.run(Promise.resolve(top.writeZeroes(from, to - from)));
                if (to > from) take(down, up, undefined);
                take(from, to, 0);
                break;
              case "discard":
                await simulation.run(Promise.resolve(top.discard(from, to - from)));
                if (last > first) take(first, last, 0);
                break;
              case "resize": {
                const old = own.length;
                const size = at * SECTOR;
                await simulation.run(top.resize(size));
                const cut = Math.floor(old / CLUSTER) * CLUSTER;
                if (size > old && cut < old) take(cut, old, undefined);
                own = own.slice(0, size);
                while (own.length < size) own.push(0);
                break;
              }
              case "below":
                await simulation.run(
                  Promise.resolve(
                    base.write(Math.min(at, 19) * SECTOR, IoVector.of(new Uint8Array(SECTOR).fill(at + 1))),
                  ),
                );
                break;
            }
            const bytes = new Uint8Array(top.lengthBytes).fill(0xaa);
            await simulation.run(Promise.resolve(top.read(0, IoVector.of(bytes))));
            expect(
              Buffer.compare(
                bytes,
                Uint8Array.from(own, (_, i) => shown(i)),
              ),
            ).toBe(0);
            for (let i = 0; i < own.length; ) {
              const status = driver.blockStatus(i, own.length - i);
              expect(status.lengthBytes).toBeGreaterThan(0);
              for (let end = i + status.lengthBytes; i < end; i++) {
                if (status.allocated !== (own[i] !== undefined)) throw new Error(`byte ${i} is not the overlay's own`);
                if (status.zero && shown(i) !== 0) throw new Error(`byte ${i} is not zero`);
              }
            }
          }
        },
      ),
      { numRuns: process.env["VBLK_SOAK"] === undefined ? 150 : 5000 },
    );
  });
});

describe("blockStatusAbove", () => {
  it("looks through the layers, and knows what lies beyond the end of each", async () => {
    const bottom = new BlockNode({ name: "bottom", driver: new MemoryDriver({ lengthBytes: 2 * CLUSTER }) });
    const middle = new BlockNode({
      name: "middle",
      driver: new MemoryOverlayDriver({ backing: bottom, lengthBytes: 3 * CLUSTER, clusterSizeBytes: CLUSTER }),
    });
    const top = new BlockNode({
      name: "top",
      driver: new MemoryOverlayDriver({ backing: middle, lengthBytes: 5 * CLUSTER, clusterSizeBytes: CLUSTER }),
    });
    await middle.writeZeroes(CLUSTER, CLUSTER);
    const at = (cluster: number, base?: BlockNode): unknown =>
      blockStatusAbove(top, base, cluster * CLUSTER, (5 - cluster) * CLUSTER);
    expect(at(0)).toEqual({ lengthBytes: CLUSTER, allocated: true, data: true, zero: false });
    expect(at(1)).toEqual({ lengthBytes: CLUSTER, allocated: true, data: false, zero: true });
    expect(at(2)).toEqual({ lengthBytes: CLUSTER, allocated: true, data: false, zero: true });
    expect(at(3)).toEqual({ lengthBytes: 2 * CLUSTER, allocated: true, data: false, zero: true });
    expect(at(0, bottom)).toEqual({ lengthBytes: CLUSTER, allocated: false, data: false, zero: false });
    expect(at(1, bottom)).toMatchObject({ allocated: true, zero: true });
    expect(at(0, middle)).toEqual({ lengthBytes: 5 * CLUSTER, allocated: false, data: false, zero: false });
  });

  it("waits for a layer that answers later", async () => {
    const simulation = new Simulation(1);
    const base = new BlockNode({
      name: "base",
      driver: new FaultyDriver({ simulation, bytes: new Uint8Array(CLUSTER), delayed: 1 }),
    });
    const top = new BlockNode({ name: "top", driver: new MemoryOverlayDriver({ backing: base }) });
    const status = await simulation.run(Promise.resolve(blockStatusAbove(top, undefined, 0, CLUSTER)));
    expect(status).toEqual({ lengthBytes: CLUSTER, allocated: true, data: true, zero: false });
  });
});
