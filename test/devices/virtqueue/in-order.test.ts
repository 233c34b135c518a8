// VIRTIO_F_IN_ORDER: buffers are used in the order in which they came, whenever they are done. VIRTIO 1.4 §2.7.9, §2.8.8.
import { describe, expect, it } from "vitest";
import { createVirtqueue } from "../../../devices/virtqueue/create-virtqueue.ts";
import { DescriptorChain } from "../../../devices/virtqueue/descriptor-chain.ts";
import { PackedDriver } from "../support/packed-driver.ts";
import { type Part, placeRing, type RingDriver } from "../support/ring-driver.ts";
import { SplitDriver } from "../support/split-driver.ts";

/** A queue with as many buffers in flight as it has descriptors, whose ids are given; oldest first. */
function inFlight(packed: boolean): { driver: RingDriver; chains: DescriptorChain[]; ids: number[]; use: Use } {
  const place = placeRing({ size: 8, packed, inOrder: true });
  const queue = createVirtqueue(place.memory, place.layout);
  if (typeof queue === "string") throw new Error(queue);
  const driver = packed ? new PackedDriver(place, named(40_000)) : new SplitDriver(place);
  const parts: Part[] = [{ address: place.data, lengthBytes: 64, writable: true }];
  const ids: number[] = [];
  for (let made = driver.add(parts, "direct"); made !== undefined; made = driver.add(parts, "direct"))
    ids.push(made.id);
  const chains = ids.map(() => new DescriptorChain(place.memory));
  for (const chain of chains) expect(queue.pop(chain)).toBe("chain");
  const use: Use = (chain, length) => {
    queue.push(chain, length);
    return queue.publish();
  };
  return { driver, chains, ids, use };
}

type Use = (chain: DescriptorChain, lengthBytes: number) => boolean;

function named(first: number): () => number {
  let id = first;
  return () => id--;
}

for (const packed of [false, true]) {
  describe(`a ${packed ? "packed" : "split"} queue with IN_ORDER`, () => {
    it("RSVD-DEV-005 shows nothing, and interrupts nobody, before the first buffer's turn", () => {
      const { driver, chains, ids, use } = inFlight(packed);
      expect(ids.length).toBe(8);
      for (const i of [3, 1, 2]) expect(use(chains[i]!, 10 + i)).toBe(false);
      expect(driver.takeUsed()).toEqual([]);
      expect(use(chains[0]!, 10)).toBe(true);
      expect(driver.takeUsed().map(({ id, lengthBytes }) => [id, lengthBytes])).toEqual(
        [0, 1, 2, 3].map((i) => [ids[i], 10 + i]),
      );
      expect(use(chains[5]!, 15)).toBe(false);
      expect(use(chains[4]!, 14)).toBe(true);
      expect(driver.takeUsed().map(({ lengthBytes }) => lengthBytes)).toEqual([14, 15]);
    });

    it("keeps what it holds back when the chain that carried it is used for something else", () => {
      const { driver, chains, ids, use } = inFlight(packed);
      for (let i = 7; i > 0; i--) {
        use(chains[i]!, i);
        chains[i]!.head = 0;
        chains[i]!.slots = 0;
        chains[i]!.hasWritable = false;
      }
      expect(driver.takeUsed()).toEqual([]);
      use(chains[0]!, 0);
      const expected = ids.map((id, lengthBytes) => (packed ? { id, lengthBytes, wrote: true } : { id, lengthBytes }));
      expect(driver.takeUsed()).toEqual(expected);
    });
  });
}
