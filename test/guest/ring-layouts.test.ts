// The block driver on rings and transports of every kind, against the device model: layouts, orders, versions, queue resets.
import { describe, expect, it } from "vitest";
import { GuestClosedError, GuestDriverError, type ProbeOptions } from "../../guest/index.ts";
import { type MachineOptions, makeMachine } from "../devices/support/machine.ts";
import { pattern, sameBytes } from "./support/bytes.ts";
import { reasonOf } from "./support/outcome.ts";

const ALL = { packed: true, inOrder: true, notificationData: true } as const;

interface Way {
  readonly name: string;
  readonly machine: MachineOptions;
  readonly probe: ProbeOptions;
  /** Features that are negotiated, among 27 to 40. */
  readonly features: readonly number[];
}

const WAYS: readonly Way[] = [
  { name: "a packed ring", machine: { device: { offeredFeatures: { packed: true } } }, probe: {}, features: [34] },
  {
    name: "a packed ring of 3 without event index and indirect",
    machine: { device: { offeredFeatures: { packed: true } } },
    probe: { queueSize: 3, withoutFeatures: [28, 29] },
    features: [34],
  },
  {
    name: "a packed ring of 7, direct, in order, with notification data",
    machine: { device: { offeredFeatures: ALL } },
    probe: { queueSize: 7, withoutFeatures: [28] },
    features: [34, 35, 38],
  },
  {
    name: "a split ring in order, with notification data",
    machine: { device: { offeredFeatures: ALL } },
    probe: { ringLayout: "split", queueSize: 8 },
    features: [35, 38],
  },
  {
    name: "a split ring in order, direct",
    machine: { device: { offeredFeatures: { inOrder: true } } },
    probe: { queueSize: 8, withoutFeatures: [28] },
    features: [35],
  },
  { name: "a legacy device", machine: { legacy: true }, probe: { queueSize: 16 }, features: [27] },
  {
    name: "a legacy device, direct, without event index and ANY_LAYOUT",
    machine: { legacy: true },
    probe: { withoutFeatures: [27, 28, 29] },
    features: [],
  },
];

describe("VirtioBlkDriver", () => {
  it.each(WAYS)("keeps the contents of a twin on $name", async ({ machine, probe, features }) => {
    const { guest } = makeMachine({ sectors: 64, ...machine });
    const disk = await guest.probe(probe);
    const negotiated = [27, 34, 35, 38].filter((number) => ((disk.features >> BigInt(number)) & 1n) === 1n);
    expect(negotiated).toEqual(features);
    if (probe.queueSize !== undefined) expect(disk.queueSize).toBe(probe.queueSize);
    const twin = await disk.read(0, 64 * 512);
    for (let i = 0; i < 200; i++) {
      const writes: Promise<void>[] = [];
      disk.batch(() => {
        for (let k = 0; k < 5; k++) {
          const at = ((i * 7 + k * 11) % 55) * 512;
          const bytes = pattern(512, i * 5 + k);
          twin.set(bytes, at);
          writes.push(disk.write(at, bytes));
        }
      });
      await Promise.all(writes);
      const at = ((i * 17) % 60) * 512;
      sameBytes(await disk.read(at, 4 * 512), twin.subarray(at, at + 4 * 512));
    }
    await disk.flush();
    sameBytes(await disk.read(0, twin.length), twin);
    await guest.close();
    expect(guest.allocator.allocatedCount).toBe(0);
  });

  it("fails to probe where a packed ring is asked of a device that has none, and sets FAILED", async () => {
    const { guest, registers } = makeMachine();
    const error = (await reasonOf(guest.probe({ ringLayout: "packed" }))) as GuestDriverError;
    expect([error.code, error.message]).toEqual(["feature-missing", "the device does not offer feature 34"]);
    expect(registers.status & 0x80).toBe(0x80);
  });

  it.each(["split", "packed"] as const)("resets a %s queue alone and goes on", async (ringLayout) => {
    const { guest } = makeMachine({ device: { offeredFeatures: { packed: true } } });
    const disk = await guest.probe({ ringLayout, queueSize: 8 });
    const allocated = guest.allocator.allocatedCount;
    for (let i = 0; i < 20; i++) {
      await disk.write(0, pattern(512, i));
      await disk.resetQueue();
      sameBytes(await disk.read(0, 512), pattern(512, i));
    }
    expect(guest.allocator.allocatedCount).toBe(allocated);
    await expect(disk.resetQueue(1)).rejects.toThrow("queue 1: not in use");
  });

  it("carries out what waited while its queue was reset", async () => {
    const { guest } = makeMachine({ device: { offeredFeatures: { packed: true } } });
    const disk = await guest.probe({ queueSize: 3 });
    const held: Promise<Uint8Array>[] = [];
    let reset: Promise<void> | undefined;
    disk.batch(() => {
      for (let i = 0; i < 4; i++) held.push(disk.read(512 * i, 512));
      reset = disk.resetQueue(); // before the kick: none of them has reached the device
    });
    await reset;
    for (const read of held) expect(await read).toHaveLength(512);
  });

  it("does not reset a queue without RING_RESET", async () => {
    const { guest } = makeMachine();
    const disk = await guest.probe({ withoutFeatures: [40] });
    const error = await reasonOf(disk.resetQueue());
    expect(error).toBeInstanceOf(GuestDriverError);
    expect((error as GuestDriverError).code).toBe("feature-missing");
    await expect(disk.read(0, 512)).resolves.toHaveLength(512);
  });

  it("tells requests of a guest that closes during a queue reset", async () => {
    const { guest } = makeMachine();
    const disk = await guest.probe();
    const reset = disk.resetQueue();
    const read = disk.read(0, 512);
    const outcomes = Promise.allSettled([reset, read]);
    await guest.close();
    for (const outcome of await outcomes) {
      if (outcome.status === "rejected") expect(outcome.reason).toBeInstanceOf(GuestClosedError);
    }
    expect(guest.allocator.allocatedCount).toBe(0);
  });
});
