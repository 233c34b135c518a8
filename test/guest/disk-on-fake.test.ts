// What a disk makes of a script's calls: chains, statuses, batches, configuration.
import { describe, expect, it } from "vitest";
import { GuestIoError } from "../../guest/index.ts";
import { pattern, sameBytes } from "./support/bytes.ts";
import type { FakeChain } from "./support/fake-device.ts";
import { fakeMachine } from "./support/fixture.ts";
import { turns } from "./support/outcome.ts";

describe("Disk", () => {
  it("reads what was written, and tells its size and name", async () => {
    const { guest, device } = fakeMachine();
    const disk = await guest.probe();
    expect([disk.capacityBytes, disk.readOnly, disk.blockSizeBytes]).toEqual([1 << 20, false, 512]);
    const bytes = pattern(4096, 3);
    await disk.write(8192, bytes);
    expect(device.disk.subarray(8192, 8192 + 4096)).toEqual(bytes);
    sameBytes(await disk.read(8192, 4096), bytes);
    const into = new Uint8Array(512);
    await disk.readInto(8192 + 512, into);
    expect(into).toEqual(bytes.subarray(512, 1024));
    await disk.flush();
    expect(await disk.id()).toBe("fake-disk");
  });

  it.each([
    ["direct descriptors, no event index", [28, 29], false],
    ["indirect descriptors, no event index", [29], true],
    ["direct descriptors, event index", [28], false],
    ["indirect descriptors, event index", [], true],
  ])("works with %s", async (_what, withoutFeatures, indirect) => {
    const { guest, device } = fakeMachine();
    const disk = await guest.probe({ withoutFeatures, queueSize: 4 });
    const chains: FakeChain[] = [];
    const execute = device.execute.bind(device);
    device.execute = (chain) => {
      chains.push(chain);
      return execute(chain);
    };
    const model = new Uint8Array(64 * 512);
    for (let i = 0; i < 300; i++) {
      const at = ((i * 13) % 60) * 512;
      const bytes = pattern(512 * (1 + (i % 4)), i);
      model.set(bytes, at);
      await disk.write(at, bytes);
      sameBytes(await disk.read(at, bytes.length), bytes);
    }
    sameBytes(await disk.read(0, model.length), model);
    expect(chains.every((chain) => chain.indirect === indirect)).toBe(true);
  });

  it("BLK-DRV-017 BLK-DRV-018 BLK-DRV-021 frames each request as header, data and status", async () => {
    const { guest, device } = fakeMachine();
    const disk = await guest.probe();
    const shapes: string[] = [];
    const headers: string[] = [];
    const execute = device.execute.bind(device);
    device.execute = (chain) => {
      shapes.push(chain.buffers.map(({ length, writable }) => `${writable ? "W" : "R"}${length}`).join(" "));
      headers.push(Buffer.from(device.memory.viewOf(chain.buffers[0]!.address, 16)).toString("hex"));
      return execute(chain);
    };
    await disk.read(1024, 1024);
    await disk.write(512, new Uint8Array(512));
    await disk.flush();
    await disk.id();
    await disk.request({ type: 0x1122_3344, sector: 0xffff_ffff_ffff_fff0n });
    expect(shapes).toEqual(["R16 W1024 W1", "R16 R512 W1", "R16 W1", "R16 W20 W1", "R16 W1"]);
    expect(headers).toEqual([
      "00000000000000000200000000000000",
      "01000000000000000100000000000000",
      "04000000000000000000000000000000",
      "08000000000000000000000000000000",
      "4433221100000000f0ffffffffffffff",
    ]);
  });

  it("BLK-DRV-015 BLK-DRV-019 asks nothing of the device that it does not have", async () => {
    const { guest, device } = fakeMachine();
    const disk = await guest.probe();
    const cases: [number, number][] = [
      [0, 511],
      [1, 512],
      [(1 << 20) - 512, 1024],
      [1 << 20, 512],
      [2 ** 60, 512],
      [-512, 512],
      [0, -512],
      [0.5, 512],
      [Number.NaN, 512],
    ];
    for (const [offset, length] of cases) await expect(disk.read(offset, length)).rejects.toThrow(RangeError);
    await expect(disk.write(0, new Uint8Array(100))).rejects.toThrow("not in units of 512 bytes");
    await expect(disk.write(1 << 20, new Uint8Array(512))).rejects.toThrow("the disk has 1048576 bytes");
    expect(device.notifies).toBe(0);
    sameBytes(await disk.read(1 << 20, 0), new Uint8Array(0));
    expect(device.notifies).toBe(0);
  });

  it("rejects with a GuestIoError that carries the status, and goes on", async () => {
    const { guest } = fakeMachine({ diskBytes: 1024 });
    const disk = await guest.probe();
    const error = await disk.request({ type: 0, sector: 2, into: new Uint8Array(512) });
    expect(error).toEqual({ status: 1, usedLength: 1 });
    expect(await disk.request({ type: 0x77 })).toEqual({ status: 2, usedLength: 1 });
    expect(await disk.read(0, 512)).toHaveLength(512);
  });

  it.each([
    [1, "read at sector 4: status 1 (VIRTIO_BLK_S_IOERR)"],
    [2, "read at sector 4: status 2 (VIRTIO_BLK_S_UNSUPP)"],
    [77, "read at sector 4: status 77 (unknown)"],
    [255, "read at sector 4: status 255 (none written)"],
  ])("names status %i", async (status, message) => {
    const { guest, device } = fakeMachine();
    const disk = await guest.probe();
    device.onNotify = () => {
      const chain = device.takeChain()!;
      device.writeStatus(chain, status);
      device.use(chain.head, 1);
      device.interrupt(1);
    };
    const error = await disk.read(2048, 512).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(GuestIoError);
    expect(error).toMatchObject({ status, type: 0, sector: 4, message });
  });

  it("finds no status where the device wrote none", async () => {
    const { guest, device } = fakeMachine();
    const disk = await guest.probe();
    device.onNotify = () => {
      device.use(device.takeChain()!.head, 0);
      device.interrupt(1);
    };
    await expect(disk.write(0, new Uint8Array(512))).rejects.toMatchObject({ name: "GuestIoError", status: 255 });
    expect(await disk.request({ type: 4 })).toEqual({ status: 255, usedLength: 0 });
  });

  it("cuts a long transfer at size_max × seg_max, each buffer at size_max", async () => {
    const { guest, device } = fakeMachine({ diskBytes: 1 << 18 });
    device.offered |= 1n << 1n;
    device.configView.setUint32(0x08, 1024, true);
    device.configView.setUint32(0x0c, 3, true);
    const disk = await guest.probe();
    expect(disk.maxTransferBytes).toBe(3072);
    const shapes: string[] = [];
    const execute = device.execute.bind(device);
    device.execute = (chain) => {
      shapes.push(chain.buffers.map(({ length, writable }) => `${writable ? "W" : "R"}${length}`).join(" "));
      return execute(chain);
    };
    const bytes = pattern(7 * 512, 9);
    await disk.write(512, bytes);
    expect(shapes).toEqual(["R16 R1024 R1024 R1024 W1", "R16 R512 W1"]);
    shapes.length = 0;
    sameBytes(await disk.read(512, bytes.length), bytes);
    expect(shapes).toEqual(["R16 W1024 W1024 W1024 W1", "R16 W512 W1"]);
  });

  it("gives a device without SEG_MAX one segment, and keeps a chain within the queue", async () => {
    const { guest, device } = fakeMachine();
    device.offered |= 1n << 1n;
    device.configView.setUint32(0x08, 1024, true);
    expect((await guest.probe({ withoutFeatures: [2] })).maxTransferBytes).toBe(1024);
    expect((await guest.probe({ queueSize: 4 })).maxTransferBytes).toBe(2048);
    expect((await guest.probe({ queueSize: 4, maxSegmentBytes: 500 })).maxTransferBytes).toBe(512);
  });

  it("sends a batch with one notification and one interrupt", async () => {
    const { guest, device } = fakeMachine();
    const disk = await guest.probe();
    const reads = disk.batch(() => Array.from({ length: 50 }, (_, i) => disk.read(i * 512, 512)));
    await Promise.all(reads);
    expect([device.notifies, device.interrupts]).toEqual([1, 1]);
  });

  it("sends what a throwing batch has made, and lets batches nest", async () => {
    const { guest, device } = fakeMachine();
    const disk = await guest.probe();
    let read: Promise<Uint8Array> | undefined;
    expect(() =>
      disk.batch(() => {
        disk.batch(() => {
          read = disk.read(0, 512);
        });
        expect(device.notifies).toBe(0);
        throw new Error("script");
      }),
    ).toThrow("script");
    expect(await read).toHaveLength(512);
  });

  it("does nothing for a flush where FLUSH was not negotiated", async () => {
    const { guest, device } = fakeMachine();
    const disk = await guest.probe({ withoutFeatures: [9] });
    await disk.flush();
    expect(device.notifies).toBe(0);
    expect(disk.writeback).toBe(false);
  });

  it("reads and changes the cache mode where CONFIG_WCE is negotiated", async () => {
    const { guest, device } = fakeMachine();
    const fixed = await guest.probe();
    expect(fixed.writeback).toBe(true);
    expect(() => {
      fixed.writeback = false;
    }).toThrow("VIRTIO_BLK_F_CONFIG_WCE was not negotiated");
    device.offered |= 1n << 11n;
    const disk = await guest.probe();
    expect(disk.writeback).toBe(false);
    disk.writeback = true;
    expect(device.config[0x20]).toBe(1);
    expect(disk.writeback).toBe(true);
    expect(device.conversation.filter((line) => line.includes(" 120="))).toEqual(["R8 120=0", "W8 120=1", "R8 120=1"]);
  });

  it("BLK-DRV-014 sees a resize that the device announces", async () => {
    const { guest, device } = fakeMachine();
    const disk = await guest.probe();
    const seen: number[] = [];
    const end = disk.onConfigChange(() => seen.push(disk.capacityBytes));
    device.configView.setBigUint64(0, 100n, true);
    device.generation++;
    device.interrupt(2);
    await turns();
    expect([disk.capacityBytes, seen]).toEqual([51_200, [51_200]]);
    end();
    device.configView.setBigUint64(0, 200n, true);
    device.interrupt(2);
    await turns();
    expect([disk.capacityBytes, seen]).toEqual([102_400, [51_200]]);
  });
});
