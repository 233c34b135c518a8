// Observable requirements on drivers that show only when a device provokes them.
import { describe, expect, it } from "vitest";
import { Guest, GuestDriverError, InProcessTarget, VirtioMmioDriver } from "../../../guest/index.ts";
import { makeMachine } from "../../devices/support/machine.ts";
import { fakeMachine } from "../support/fixture.ts";
import { reasonOf } from "../support/outcome.ts";
import { Recording } from "./recording.ts";

/** A guest on the device model, with everything recorded. */
function recorded(options: Parameters<typeof makeMachine>[0] = {}): { recording: Recording; guest: Guest } {
  const { memory, bank, line } = makeMachine(options);
  const recording = new Recording("provoked", bank, memory);
  return { recording, guest: new Guest(new InProcessTarget({ memory, region: recording, line })) };
}

function writesOf(recording: Recording, offset: number): number[] {
  return recording.log.filter((access) => access.kind === "W" && access.offset === offset).map(({ value }) => value);
}

describe("the guest's driver, provoked", () => {
  it("STAT-DRV-003 resets the device before it tries again after FAILED", async () => {
    const { recording, guest } = recorded();
    recording.onRead = (offset, value) => (offset === 0x034 ? 0 : value);
    await reasonOf(guest.probe());
    recording.onRead = (_offset, value) => value;
    await guest.probe();
    const status = writesOf(recording, 0x070);
    const failed = status.findIndex((value) => (value & 0x80) !== 0);
    expect(status.slice(failed, failed + 3)).toEqual([0x8b, 0, 1]);
  });

  it("FEAT-DRV-006 INIT-DRV-007 sets FAILED and goes no further when it cannot do without a feature", async () => {
    const { recording, guest } = recorded();
    recording.onRead = (offset, value) => (offset === 0x010 ? value & ~1 : value); // bits 0 and 32
    const error = (await reasonOf(guest.probe())) as GuestDriverError;
    expect(error.code).toBe("feature-missing");
    expect(writesOf(recording, 0x070).at(-1)! & 0x80).toBe(0x80);
    expect(writesOf(recording, 0x044)).toEqual([]);
    expect(writesOf(recording, 0x050)).toEqual([]);
  });

  it("FEAT-DRV-008 gives a device of version 2 up that does not offer VERSION_1, and drives one of version 1", async () => {
    const modern = fakeMachine();
    modern.device.offered &= ~(1n << 32n);
    expect(await reasonOf(modern.guest.probe())).toBeInstanceOf(GuestDriverError);
    const { recording, guest } = recorded({ legacy: true });
    await guest.probe();
    expect(recording.log.some(({ offset }) => offset === 0x040)).toBe(true);
  });

  it.each(["split", "packed"] as const)(
    "SPLIT-DRV-028 SPLIT-DRV-029 notifies of everything without the event index, on a %s ring",
    async (ringLayout) => {
      const { recording, guest } = recorded({ device: { offeredFeatures: { packed: true } } });
      const disk = await guest.probe({ ringLayout, withoutFeatures: [29] });
      for (let i = 0; i < 10; i++) await disk.read(0, 512);
      expect(writesOf(recording, 0x050)).toHaveLength(10);
      expect(recording.lists).toHaveLength(10);
    },
  );

  it("MMIO-DRV-016 MMIO-DRV-017 stops a queue with QueueReady 0, and reads that back", async () => {
    const { recording, guest } = recorded();
    await guest.probe();
    recording.log.length = 0;
    new VirtioMmioDriver(guest.target).stopQueue(0);
    expect(recording.log.map(({ kind, offset, value }) => [kind, offset, value])).toEqual([
      ["W", 0x030, 0],
      ["W", 0x044, 0],
      ["R", 0x044, 0],
    ]);
  });

  it("MMIO-DRV-021 waits until QueueReset reads 0 before it sets the queue up anew", async () => {
    const { recording, guest } = recorded();
    const disk = await guest.probe();
    let held = 5;
    recording.onRead = (offset, value) => (offset === 0x0c0 && held-- > 0 ? 1 : value);
    recording.log.length = 0;
    await disk.resetQueue();
    const steps = recording.log.filter(({ offset }) => offset === 0x0c0 || offset === 0x044);
    expect(steps.map(({ kind, offset, value }) => `${kind} ${offset.toString(16)}=${value}`)).toEqual([
      "W c0=1",
      ...Array.from({ length: 5 }, () => "R c0=1"),
      "R c0=0",
      "R 44=0",
      "W 44=1",
      "R 44=1",
    ]);
  });

  it("MMIO-DRV-026 MMIO-DRV-027 touches nothing of an empty slot", async () => {
    const { recording, guest } = recorded();
    recording.onRead = (offset, value) => (offset === 0x008 ? 0 : value);
    await reasonOf(guest.probe());
    expect(recording.log.map(({ kind, offset }) => [kind, offset])).toEqual([
      ["R", 0x000],
      ["R", 0x004],
      ["R", 0x008],
    ]);
  });

  it("MMIO-DRV-031 reads InterruptStatus first when the line is raised", async () => {
    const { guest, device } = fakeMachine();
    await guest.probe();
    device.log.length = 0;
    device.interrupt(1);
    expect(device.conversation).toEqual(["R 060=1", "W 064=1"]);
  });

  it("BLK-DRV-016 accepts RO", async () => {
    const { recording, guest } = recorded({ readOnly: true });
    const disk = await guest.probe();
    expect([disk.readOnly, recording.has(5)]).toEqual([true, true]);
  });

  it("RSVD-DRV-009 does not accept SR_IOV and what else is not of this transport", async () => {
    const { guest, device } = fakeMachine();
    device.offered |= (1n << 37n) | (1n << 39n) | (1n << 41n);
    await guest.probe();
    expect(device.accepted & ((1n << 37n) | (1n << 39n) | (1n << 41n))).toBe(0n);
  });

  it("RSVD-DRV-011 RSVD-DRV-012 accepts ANY_LAYOUT of a legacy device, and never bit 30", async () => {
    const { recording, guest } = recorded({ legacy: true });
    recording.onRead = (offset, value) => (offset === 0x010 ? (value | (1 << 30)) >>> 0 : value);
    await guest.probe();
    expect([recording.has(27), recording.has(30)]).toEqual([true, false]);
  });
});
