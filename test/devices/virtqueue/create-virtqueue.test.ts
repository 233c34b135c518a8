// Where a queue can lie and where not, in either layout: VIRTIO 1.4 §2.7, §2.8.10.1; and what is particular to legacy queues, §2.7.3, §6.3.
import { describe, expect, it } from "vitest";
import { createVirtqueue } from "../../../devices/virtqueue/create-virtqueue.ts";
import { DescriptorChain } from "../../../devices/virtqueue/descriptor-chain.ts";
import type { VirtqueueLayout } from "../../../devices/virtqueue/virtqueue.ts";
import { GuestMemory } from "../../../src/memory/guest-memory.ts";
import { placeRing } from "../support/ring-driver.ts";
import { SplitDriver } from "../support/split-driver.ts";

const MIB = 1 << 20;

describe("createVirtqueue", () => {
  const memory = new GuestMemory({ baseAddress: MIB, sizeBytes: MIB });
  const layout: VirtqueueLayout = {
    size: 8,
    descriptorArea: MIB,
    driverArea: MIB + 0x1000,
    deviceArea: MIB + 0x2000,
    packed: false,
    eventIndex: true,
    indirect: true,
    inOrder: false,
    notifyOnEmpty: false,
    bigEndian: false,
  };

  function refusal(changes: Partial<VirtqueueLayout>): string | undefined {
    const result = createVirtqueue(memory, { ...layout, ...changes });
    return typeof result === "string" ? result : undefined;
  }

  it("SPLIT-DEV-001 takes a power of two up to 32768 for a split queue", () => {
    const big = { driverArea: MIB + 0x9_0000, deviceArea: MIB + 0xb_0000 };
    for (const size of [1, 2, 1024, 32768]) expect(refusal({ ...big, size }), String(size)).toBeUndefined();
    for (const size of [0, 3, 100, 65536, -1, 1.5, 2 ** 32 + 8]) expect(refusal({ ...big, size })).toBe("size");
  });

  it("PACK-DEV-012 takes any size up to 32768 for a packed queue", () => {
    const big = { packed: true, driverArea: MIB + 0x9_0000 };
    for (const size of [1, 2, 3, 5, 100, 257, 32767, 32768]) expect(refusal({ ...big, size })).toBeUndefined();
    for (const size of [0, 32769, 65536, -1, 1.5]) expect(refusal({ ...big, size }), String(size)).toBe("size");
  });

  it("wants areas aligned as the layout says", () => {
    for (const packed of [false, true]) {
      for (const by of [1, 2, 4, 8]) expect(refusal({ packed, descriptorArea: MIB + by })).toBe("misaligned");
      for (const by of [1, 2, 3]) expect(refusal({ packed, deviceArea: MIB + by })).toBe("misaligned");
      expect(refusal({ packed, driverArea: MIB + 1 })).toBe("misaligned");
      expect(refusal({ packed, driverArea: MIB + 2 })).toBe(packed ? "misaligned" : undefined);
    }
  });

  it("wants every byte of every area in RAM, and those of the event index if it is negotiated", () => {
    const end = 2 * MIB;
    for (const packed of [false, true]) {
      for (const area of ["descriptorArea", "driverArea", "deviceArea"] as const) {
        for (const address of [0, MIB - 16, end, 2 ** 53, 2 ** 64]) {
          expect(refusal({ packed, [area]: address }), `${area} ${address}`).toBe("outside RAM");
        }
      }
      expect(refusal({ packed, descriptorArea: end - 16 * 8 })).toBeUndefined();
      expect(refusal({ packed, descriptorArea: end - 16 * 7 })).toBe("outside RAM");
    }
    expect(refusal({ driverArea: end - 4 - 16 - 2 })).toBeUndefined();
    expect(refusal({ driverArea: end - 4 - 16 })).toBe("outside RAM");
    expect(refusal({ driverArea: end - 4 - 16, eventIndex: false })).toBeUndefined();
    expect(refusal({ deviceArea: end - 4 - 64 })).toBe("outside RAM");
    expect(refusal({ deviceArea: end - 4 - 64, eventIndex: false })).toBeUndefined();
    expect(refusal({ packed: true, driverArea: end - 4, deviceArea: end - 4 })).toBeUndefined();
  });

  it("touches nothing of a queue that it makes", () => {
    memory.bytes.fill(0x5a);
    for (const packed of [false, true]) createVirtqueue(memory, { ...layout, packed });
    expect(memory.bytes.every((byte) => byte === 0x5a)).toBe(true);
  });
});

describe("a legacy queue", () => {
  function legacy(features: Partial<VirtqueueLayout>) {
    const place = placeRing({ size: 8, ...features });
    const queue = createVirtqueue(place.memory, place.layout);
    if (typeof queue === "string") throw new Error(queue);
    const driver = new SplitDriver(place);
    const parts = [{ address: place.data, lengthBytes: 1, writable: true }];
    return { place, queue, driver, add: () => driver.add(parts, "direct")! };
  }

  it("SPLIT-DEV-005 of a big-endian guest has every number of the ring turned round", () => {
    const { place, queue, driver } = legacy({ bigEndian: true, eventIndex: true });
    const { memory, layout } = place;
    driver.add([{ address: place.data, lengthBytes: 0x102, writable: false }], "direct");
    driver.add([{ address: place.data + 4, lengthBytes: 0x304, writable: true }], "direct");
    const [first, second] = [new DescriptorChain(memory), new DescriptorChain(memory)];
    expect([queue.pop(first), queue.pop(second)]).toEqual(["chain", "chain"]);
    expect([first.readable.byteLength, second.writable.byteLength]).toEqual([0x102, 0x304]);
    queue.push(second, 0x0102_0304);
    queue.publish();
    queue.rearm();
    const { deviceArea, size } = layout;
    expect([...memory.viewOf(deviceArea, 12)]).toEqual([0, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4]);
    expect([...memory.viewOf(deviceArea + 4 + 8 * size, 2)], "avail_event").toEqual([0, 2]);
  });

  it("SPLIT-DEV-005 of a big-endian guest loses nothing when its indices wrap at 65536", () => {
    const { queue, driver, add, place } = legacy({ bigEndian: true });
    const chain = new DescriptorChain(place.memory);
    for (let i = 0; i < 65_600; i++) {
      const { id } = add();
      if (queue.pop(chain) !== "chain" || chain.head !== id) throw new Error(`buffer ${i} is not ${id}`);
      queue.push(chain, i);
      queue.publish();
      const [used] = driver.takeUsed();
      if (used?.id !== id || used.lengthBytes !== i) throw new Error(`used ${JSON.stringify(used)} instead of ${i}`);
    }
  });

  it("RSVD-DEV-010 with NOTIFY_ON_EMPTY interrupts when nothing is available any more, suppressed or not", () => {
    for (const eventIndex of [false, true]) {
      for (const notifyOnEmpty of [false, true]) {
        const { queue, driver, add, place } = legacy({ eventIndex, notifyOnEmpty });
        driver.askFor("never");
        for (let i = 0; i < 3; i++) add();
        const answers = [0, 1, 2].map((i) => {
          const chain = new DescriptorChain(place.memory);
          expect(queue.pop(chain)).toBe("chain");
          queue.push(chain, i);
          return queue.publish();
        });
        expect(answers).toEqual([false, false, notifyOnEmpty]);
        expect(queue.publish()).toBe(false); // nothing was used since
      }
    }
  });
});
