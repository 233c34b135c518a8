// A packed ring that another thread rewrites while the device reads it: docs/reference/virtio-errors.md §4, 28.
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { createVirtqueue } from "../../../devices/virtqueue/create-virtqueue.ts";
import { DescriptorChain, OUTSIDE_RAM } from "../../../devices/virtqueue/descriptor-chain.ts";
import { placeRing } from "../support/ring-driver.ts";

/** Of each outcome; until there are, or until the two threads have had their chance on a busy machine. */
const ENOUGH = 50;
const MAX_MS = 30_000;

describe("a list of a packed ring that changes while it is read", () => {
  it("is what its descriptors were at one time each, and lies within RAM or is known not to", async () => {
    const { memory, layout, data, tableAt } = placeRing({ size: 3, packed: true, indirect: true });
    const word = (address: number): number => (address - memory.baseAddress) / 4;
    const last = memory.baseAddress + memory.sizeBytes - 16;
    const slot = (i: number): number => word(layout.descriptorArea + 16 * i);
    const flags = (value: number, id: number): number => value * 0x1_0000 + id;
    const lap1 = 0x80;
    const words = [
      { index: slot(0), values: [data, last, Math.ceil(tableAt(0) / 16) * 16] },
      { index: slot(0) + 2, values: [16, 16, 48, 17, 0xffff_fff0] },
      { index: slot(0) + 3, values: [flags(lap1 | 1, 0), flags(lap1 | 3, 0), flags(lap1 | 4, 7), flags(0x8000, 0)] },
      { index: slot(1), values: [data, last, last + 8] },
      { index: slot(1) + 1, values: [0, 0, 1] },
      { index: slot(1) + 2, values: [16, 8, 0] },
      { index: slot(1) + 3, values: [flags(lap1 | 3, 1), flags(lap1 | 2, 1), flags(0x8002, 1)] },
      { index: slot(2), values: [data] },
      { index: slot(2) + 2, values: [1] },
      { index: slot(2) + 3, values: [flags(lap1 | 2, 2), flags(lap1 | 1, 2)] },
    ];
    const control = new SharedArrayBuffer(8);
    const state = new Int32Array(control);
    const worker = new Worker(new URL("../support/descriptor-flipper.mjs", import.meta.url), {
      workerData: { ram: memory.bytes.buffer, control, words },
    });
    const stopped = new Promise<number>((resolve, reject) => {
      worker.on("exit", resolve);
      worker.on("error", reject);
    });
    const seen = new Map<string, number>();
    try {
      for (let spins = 0; Atomics.load(state, 1) === 0; spins++) {
        if (spins > 1000) throw new Error("the thread does not start");
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      const startedMs = performance.now();
      const outcomes = ["empty", "inside", "outside", "DescriptorNotAvailable", "DescriptorLoop", "IndirectLength"];
      const enough = (): boolean => outcomes.every((outcome) => (seen.get(outcome) ?? 0) >= ENOUGH);
      const chain = new DescriptorChain(memory);
      while (!enough() && performance.now() - startedMs < MAX_MS) {
        for (let i = 0; i < 1000; i++) {
          const queue = createVirtqueue(memory, layout);
          if (typeof queue === "string") throw new Error(queue);
          const result = queue.pop(chain);
          const outcome = result === "chain" ? look(chain, memory.sizeBytes) : (queue.mistake ?? result);
          seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
        }
        await new Promise(setImmediate);
      }
      for (const outcome of outcomes) expect(seen.get(outcome), outcome).toBeGreaterThan(0);
    } finally {
      Atomics.store(state, 0, 1);
      expect(await stopped).toBe(0);
    }
  });
});

/** Checks what a chain points to: each segment in RAM, or known not to be. */
function look(chain: DescriptorChain, ramBytes: number): string {
  let outside = false;
  for (const vector of [chain.readable, chain.writable]) {
    for (let i = vector.first; i < vector.end; i++) {
      const [offset, length] = [vector.offsets[i]!, vector.lengths[i]!];
      if (offset === OUTSIDE_RAM) outside = true;
      else if (offset < 0 || offset + length > ramBytes) throw new Error(`a segment at ${offset} of ${length} bytes`);
    }
  }
  expect(chain.outsideRam).toBe(outside);
  return outside ? "outside" : "inside";
}
