// The transport driver, register access by register access.
import { describe, expect, it } from "vitest";
import { GuestDriverError, type GuestDriverErrorCode, VirtioMmioDriver } from "../../guest/index.ts";
import type { FakeDevice } from "./support/fake-device.ts";
import { fakeMachine } from "./support/fixture.ts";

async function probeError(
  prepare: (device: FakeDevice) => void,
): Promise<{ error: GuestDriverError; device: FakeDevice }> {
  const { guest, device, clock } = fakeMachine();
  prepare(device);
  const probed = guest.probe();
  const outcome = probed.then(
    () => undefined,
    (error: unknown) => error,
  );
  // For the one case that waits for its time to pass.
  for (let i = 0; i < 20; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(1000);
  }
  const error = await outcome;
  if (!(error instanceof GuestDriverError)) throw new Error(`expected a GuestDriverError, got ${String(error)}`);
  return { error, device };
}

describe("VirtioMmioDriver", () => {
  it("INIT-DRV-001 MMIO-DRV-030 follows the standard's order, access by access", async () => {
    const { guest, device } = fakeMachine({ ramBytes: 1 << 16 });
    await guest.probe({ queueSize: 8 });
    expect(device.conversation).toEqual([
      "R 000=74726976",
      "R 004=2",
      "R 008=2",
      "R 00c=1234",
      "W 070=0",
      "R 070=0",
      "R 070=0",
      "W 070=1",
      "R 070=1",
      "W 070=3",
      "W 014=1",
      "R 010=1",
      "W 014=0",
      "R 010=30000204",
      "W 024=1",
      "W 020=1",
      "W 024=0",
      "W 020=30000204",
      "R 070=3",
      "W 070=b",
      "R 070=b",
      "R 0fc=0",
      "R 100=800",
      "R 104=0",
      "R 10c=7e",
      "R 0fc=0",
      "W 030=0",
      "R 044=0",
      "R 034=100",
      "W 038=8",
      "W 080=40000000",
      "W 084=0",
      "W 090=40000080",
      "W 094=0",
      "W 0a0=40000098",
      "W 0a4=0",
      "W 044=1",
      "R 044=1",
      "R 070=b",
      "W 070=f",
    ]);
  });

  it("MMIO-DRV-006 leaves a device with another magic value alone", async () => {
    const { error, device } = await probeError((fake) => {
      fake.magic = 0x74726977;
    });
    expect(error.code).toBe("bad-magic");
    expect(error.message).toBe("MagicValue is 0x74726977, not 0x74726976: no virtio-mmio device");
    expect(device.conversation).toEqual(["R 000=74726977"]);
  });

  it.each([0, 3, 0xffff_ffff])("MMIO-DRV-008 leaves a device of version %i alone", async (version) => {
    const { error, device } = await probeError((fake) => {
      fake.version = version;
    });
    expect(error.code).toBe("bad-version");
    expect(device.log).toHaveLength(2);
  });

  it("MMIO-DRV-010 MMIO-DRV-011 takes DeviceID 0 for an empty slot: no access more, and no error at the transport", () => {
    const { target, device } = fakeMachine();
    device.deviceId = 0;
    expect(new VirtioMmioDriver(target).identify()).toBeUndefined();
    expect(device.conversation).toEqual(["R 000=74726976", "R 004=2", "R 008=0"]);
  });

  it("tells a script that asked for a disk that there is none, or another device", async () => {
    const empty = await probeError((fake) => {
      fake.deviceId = 0;
    });
    expect(empty.error.code).toBe("no-device");
    const network = await probeError((fake) => {
      fake.deviceId = 1;
    });
    expect(network.error.code).toBe("wrong-device");
    expect(network.device.log.every(({ kind }) => kind === "R")).toBe(true);
  });

  it("STAT-DRV-005 waits until Status reads 0 after a reset", async () => {
    const { guest, device } = fakeMachine();
    device.status = 0x0f;
    device.slowResetReads = 3;
    await guest.probe();
    const resets = device.conversation.slice(4, 10);
    expect(resets).toEqual(["W 070=0", "R 070=f", "R 070=f", "R 070=f", "R 070=0", "R 070=0"]);
  });

  it.each<[GuestDriverErrorCode, string, Partial<FakeDevice>]>([
    ["feature-missing", "the device does not offer feature 32", { offered: 0x30000204n }],
    ["features-refused", "refuses features 2, 9, 28, 29, 32", { refusedStatus: 8 }],
    ["queue-in-use", "QueueReady is not 0", { readyAfterReset: 1 }],
    ["queue-missing", "QueueSizeMax is 0", { queueSizeMax: 0 }],
    ["queue-too-small", "QueueSizeMax is 3", { queueSizeMax: 3 }],
    ["queue-refused", "does not stay 1", { refuseQueueReady: true }],
  ])("INIT-DRV-006 gives the device up with FAILED when set-up ends with %s", async (code, message, faults) => {
    const { error, device } = await probeError((fake) => Object.assign(fake, faults));
    expect(error.code).toBe(code);
    expect(error.message).toContain(message);
    const statusWrites = device.log.filter(({ kind, offset }) => kind === "W" && offset === 0x070);
    expect(statusWrites.at(-1)!.value & 0x80).toBe(0x80);
    expect(device.log.at(-1)).toBe(statusWrites.at(-1));
    expect(device.notifies).toBe(0);
  });

  it("gives up a reset that never ends", async () => {
    const { error, device } = await probeError((fake) => {
      fake.slowResetReads = Number.POSITIVE_INFINITY;
      fake.status = 4;
    });
    expect(error.code).toBe("reset-timeout");
    expect(error.message).toContain("Status still reads 0x4");
    expect(device.log.filter(({ kind, value }) => kind === "W" && value !== 0)).toEqual([]);
  });

  it("CFG-DRV-002 reads the configuration again when its generation changes meanwhile", async () => {
    const { guest, device } = fakeMachine();
    let changes = 0;
    device.onAccess = (_kind, offset) => {
      // Between the two halves of the capacity: a torn read would give 0x1_0000_0008 or 0x800.
      if (offset !== 0x104 || changes === 2) return;
      changes++;
      device.generation++;
      device.configView.setBigUint64(0, 0x1_0000_0000n + BigInt(changes) * 8n, true);
    };
    const disk = await guest.probe();
    expect(changes).toBe(2);
    expect(disk.config.capacitySectors).toBe(0x1_0000_0010);
  });

  it("reports a configuration that never stands still", async () => {
    const { error } = await probeError((fake) => {
      fake.onAccess = (_kind, offset) => {
        if (offset === 0x100) fake.generation++;
      };
    });
    expect(error.code).toBe("config-unstable");
  });

  it("FEAT-DRV-004 FEAT-DRV-007 accepts nothing it does not know, and does not mind the offer", async () => {
    const { guest, device } = fakeMachine();
    device.offered |= (1n << 30n) | (1n << 37n) | (1n << 39n) | (1n << 41n) | (1n << 45n) | (1n << 24n) | (1n << 27n);
    await guest.probe();
    expect(device.accepted).toBe(0x1_3000_0204n);
  });

  it("FEAT-DRV-002 leaves CONFIG_WCE when FLUSH is not taken", async () => {
    const { guest, device } = fakeMachine();
    device.offered |= 1n << 11n;
    await guest.probe({ withoutFeatures: [9] });
    expect(device.accepted & ((1n << 11n) | (1n << 9n))).toBe(0n);
    await guest.probe();
    expect(device.accepted & ((1n << 11n) | (1n << 9n))).toBe((1n << 11n) | (1n << 9n));
  });

  it("MMIO-DRV-005 CFG-DRV-003 reads each field with its own width, and only those whose feature is there", async () => {
    const { guest, device } = fakeMachine();
    device.offered |= (1n << 1n) | (1n << 4n) | (1n << 6n) | (1n << 10n);
    device.configView.setUint32(0x08, 4096, true);
    device.configView.setUint16(0x10, 0x1234, true);
    device.config[0x12] = 16;
    device.config[0x13] = 63;
    device.configView.setUint32(0x14, 4096, true);
    device.config[0x18] = 3;
    device.config[0x19] = 1;
    device.configView.setUint16(0x1a, 8, true);
    device.configView.setUint32(0x1c, 64, true);
    const disk = await guest.probe();
    expect(disk.config).toEqual({
      capacitySectors: 0x800,
      sizeMax: 4096,
      segMax: 126,
      geometry: { cylinders: 0x1234, heads: 16, sectors: 63 },
      blkSize: 4096,
      topology: { physicalBlockExp: 3, alignmentOffset: 1, minIoSize: 8, optIoSize: 64 },
    });
    expect(disk.blockSizeBytes).toBe(4096);
    expect(device.conversation.filter((line) => /^R\d* 1/.test(line))).toEqual([
      "R 100=800",
      "R 104=0",
      "R 108=1000",
      "R 10c=7e",
      "R16 110=1234",
      "R8 112=10",
      "R8 113=3f",
      "R 114=1000",
      "R8 118=3",
      "R8 119=1",
      "R16 11a=8",
      "R 11c=40",
    ]);
    device.log.length = 0;
    const bare = await guest.probe({ withoutFeatures: [1, 2, 4, 6, 10] });
    expect(bare.config).toEqual({ capacitySectors: 0x800 });
    expect(device.conversation.filter((line) => /^R\d* 1/.test(line))).toEqual(["R 100=800", "R 104=0"]);
  });

  it.each([
    ["size_max 0", (fake: FakeDevice) => fake.configView.setUint32(0x08, 0, true)],
    ["a size_max that cannot carry a sector", (fake: FakeDevice) => fake.configView.setUint32(0x08, 1, true)],
    ["a capacity of 2^64 - 1 sectors", (fake: FakeDevice) => fake.configView.setBigUint64(0, 2n ** 64n - 1n, true)],
  ])("refuses %s", async (_what, prepare) => {
    const { error } = await probeError((fake) => {
      fake.offered |= 1n << 1n;
      fake.configView.setUint32(0x08, 4096, true);
      prepare(fake);
    });
    expect(error.code).toBe("config-invalid");
  });

  it.each([
    [256, 256],
    [0xffff_ffff, 256],
    [100, 64],
    [4, 4],
  ])("MMIO-DRV-014 makes of QueueSizeMax %i a queue of %i", async (sizeMax, size) => {
    const { guest, device } = fakeMachine();
    device.queueSizeMax = sizeMax;
    const disk = await guest.probe();
    expect(disk.queueSize).toBe(size);
    expect(device.queue.size).toBe(size);
  });

  it("MMIO-DRV-019 MMIO-DRV-020 acknowledges what it read and knows, before it looks at the ring", async () => {
    const { guest, device } = fakeMachine();
    const disk = await guest.probe();
    device.log.length = 0;
    device.onNotify = () => {
      device.serve(device.takeChain()!);
      device.interrupt(0x81);
      // The undefined bit is nothing that a driver could acknowledge: it goes by itself.
      device.onAccess = (kind, offset) => {
        if (kind === "W" && offset === 0x064) device.interruptStatus &= ~0x80;
      };
    };
    await disk.read(0, 512);
    expect(device.conversation).toEqual(["W 050=0", "R 060=81", "W 064=1"]);
  });
});
