// What query-blockstats tells of a device: each request counts once, when it has ended, as what it is.
import { beforeEach, describe, expect, it } from "vitest";
import { VirtioBlk } from "../../../devices/virtio-blk/virtio-blk.ts";
import { VirtioMmio } from "../../../devices/virtio-mmio.ts";
import { Guest } from "../../../guest/guest.ts";
import { InProcessTarget } from "../../../guest/targets/in-process.ts";
import { HeldDriver } from "../../../machine/conformance/held-driver.ts";
import { BlockBackend } from "../../../src/block/backend.ts";
import { BlockNode } from "../../../src/block/node.ts";
import { GuestMemory } from "../../../src/memory/guest-memory.ts";
import { InterruptLine } from "../../../src/memory/interrupt-line.ts";

let driver: HeldDriver;
let backend: BlockBackend;
let guest: Guest;

beforeEach(() => {
  driver = new HeldDriver({ lengthBytes: 1 << 20, readOnly: false, erases: false, lifetime: undefined });
  backend = new BlockBackend({ name: "d", node: new BlockNode({ name: "n", driver, discard: "unmap" }) });
  const memory = new GuestMemory({ baseAddress: 0x4000_0000, sizeBytes: 1 << 20 });
  const line = new InterruptLine();
  const region = new VirtioMmio({ device: new VirtioBlk({ backend }), memory, line });
  guest = new Guest(new InProcessTarget({ memory, region, line }));
});

describe("accounting", () => {
  it("counts requests and bytes of each kind", async () => {
    const disk = await guest.probe();
    await disk.write(0, new Uint8Array(4096));
    await disk.read(0, 1024);
    await disk.read(0, 512);
    await disk.flush();
    await disk.discard(0, 8192);
    await disk.writeZeroes(0, 2048);
    await disk.id();
    const { read, write, unmap, flush } = backend.accounting;
    expect(read).toMatchObject({ operations: 2, bytes: 1536, failed: 0, invalid: 0 });
    expect(write).toMatchObject({ operations: 2, bytes: 4096 + 2048 });
    expect(unmap).toMatchObject({ operations: 1, bytes: 8192 });
    expect(flush).toMatchObject({ operations: 1, bytes: 0 });
  });

  it("tells what failed on the disk from what was refused before", async () => {
    const disk = await guest.probe();
    driver.failNextRead();
    await expect(disk.read(0, 512)).rejects.toThrow("status 1");
    const beyond = await disk.request({ type: 0, sector: 2048, into: new Uint8Array(512) });
    expect(beyond.status).toBe(1);
    expect(backend.accounting.read).toMatchObject({ operations: 0, bytes: 0, failed: 1, invalid: 1 });
  });

  it("measures what did not end at once", async () => {
    const disk = await guest.probe();
    await disk.read(0, 512);
    expect(backend.accounting.read.totalTimeNs).toBe(0);
    const release = driver.hold();
    const held = disk.read(0, 512);
    await new Promise((resolve) => setTimeout(resolve, 2));
    release();
    await held;
    expect(backend.accounting.read.totalTimeNs).toBeGreaterThanOrEqual(1e6);
  });

  it("counts nothing that a reset has taken back", async () => {
    const disk = await guest.probe();
    const release = driver.hold();
    const held = disk.read(0, 512);
    const lost = expect(held).rejects.toThrow();
    await guest.close();
    release();
    await lost;
    await backend.untilIdle();
    expect(backend.accounting.read).toMatchObject({ operations: 0, failed: 0 });
  });

  it("knows how long there has been no request, once there has been one", async () => {
    const disk = await guest.probe();
    await disk.id();
    expect(backend.accounting.idleTimeNs).toBeUndefined();
    await disk.read(0, 512);
    const since = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 3));
    const idleNs = backend.accounting.idleTimeNs!;
    expect(idleNs).toBeGreaterThan(2e6);
    expect(idleNs).toBeLessThan((performance.now() - since) * 1e6 + 50e6);
    await disk.flush();
    expect(backend.accounting.unstamped).toBe(false);
    const beyond = await disk.request({ type: 0, sector: 2048, into: new Uint8Array(512) });
    expect(beyond.status).toBe(1);
    expect(backend.accounting.unstamped).toBe(false);
  });
});
