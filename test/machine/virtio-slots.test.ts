// Disks that no guest could use are refused when their device is made: VIRTIO 1.4 §5.2.5.2.
import { describe, expect, it } from "vitest";
import { VirtioBlk } from "../../devices/virtio-blk/virtio-blk.ts";
import { VirtioMmio } from "../../devices/virtio-mmio.ts";
import { virtBoards } from "../../machine/boards.ts";
import { parseDeviceOptions } from "../../machine/device-options.ts";
import { VirtioSlots } from "../../machine/virtio-slots.ts";
import { systemClock } from "../../src/base/clock.ts";
import { memoryOpener } from "../../src/block/drivers/memory-openers.ts";
import { ZonedDriver } from "../../src/block/drivers/zoned.ts";
import { BlockGraph } from "../../src/block/graph.ts";
import type { DriverOpener } from "../../src/block/graph-options.ts";
import type { ZoneModel } from "../../src/block/zones.ts";
import { Bus } from "../../src/memory/bus.ts";
import { GuestMemory } from "../../src/memory/guest-memory.ts";
import { InterruptLine } from "../../src/memory/interrupt-line.ts";

const zonedOpener: DriverOpener = {
  driver: "zoned",
  children: [{ role: "file", required: true }],
  open: (context) =>
    new ZonedDriver({ file: context.child("file"), model: context.options["model"] as ZoneModel, zoneBytes: 65536 }),
};

async function slots(model: ZoneModel, legacy: boolean): Promise<VirtioSlots> {
  const graph = new BlockGraph({ drivers: [memoryOpener, zonedOpener] });
  await graph.add({ driver: "zoned", "node-name": "disk", model, file: { driver: "memory", size: 1 << 20 } });
  const memory = new GuestMemory({ baseAddress: 0x4000_0000, sizeBytes: 1 << 20 });
  const bus = new Bus({ memory, unmapped: "zeroes" });
  return new VirtioSlots({ layout: virtBoards.arm.slots, legacy, memory, bus, graph, clock: systemClock });
}

const device = parseDeviceOptions("virtio-blk-device,drive=disk,id=d");

describe("a host-managed zoned disk", () => {
  it("is refused behind legacy registers, and nothing of it is left", async () => {
    const there = await slots("host-managed", true);
    for (let i = 0; i < 2; i++)
      await expect(there.plugIn(device)).rejects.toThrow(
        "Host-managed zoned disk 'disk' needs force-legacy=off: legacy registers have no zones",
      );
    expect(there.devices).toEqual([]);
  });

  it("is taken behind modern registers, and a host-aware one behind both", async () => {
    await (await slots("host-managed", false)).plugIn(device);
    await (await slots("host-aware", true)).plugIn(device);
    await (await slots("host-aware", false)).plugIn(device);
  });

  it("is no disk for a device that a program makes by itself with legacy registers", async () => {
    const graph = new BlockGraph({ drivers: [memoryOpener, zonedOpener] });
    const file = { driver: "memory", size: 1 << 20 };
    const node = await graph.add({ driver: "zoned", "node-name": "disk", model: "host-managed", file });
    const backend = graph.addBackend({ name: "d", node });
    const memory = new GuestMemory({ baseAddress: 0, sizeBytes: 1 << 20 });
    const make = (legacy: boolean): VirtioMmio =>
      new VirtioMmio({ device: new VirtioBlk({ backend }), memory, line: new InterruptLine(), legacy });
    expect(() => make(true)).toThrow("virtio-blk: a host-managed zoned disk behind legacy registers");
    expect(make(false)).toBeDefined();
  });
});
