// RAM that an emulator owns: in its own buffer, at its own offset, and told of every byte that the device writes.
import { describe, expect, it } from "vitest";
import { VirtioBlk, VirtioMmio } from "../../devices/index.ts";
import { Guest, InProcessTarget } from "../../guest/index.ts";
import { BlockError } from "../../src/base/errors.ts";
import type { IoVector } from "../../src/base/io-vector.ts";
import { BlockBackend } from "../../src/block/backend.ts";
import { MemoryDriver } from "../../src/block/drivers/memory.ts";
import { BlockNode } from "../../src/block/node.ts";
import { GuestMemory } from "../../src/memory/guest-memory.ts";
import { InterruptLine } from "../../src/memory/interrupt-line.ts";
import { HeldDriver } from "./support/held-driver.ts";
import { diskPattern, makeMachine, type TestMachine } from "./support/machine.ts";
import { RawDisk, type Segment } from "./support/raw-disk.ts";

/** Runs `act` and checks that each byte of RAM that it changed was told to listeners; returns how many were told. */
async function listen(machine: TestMachine, act: () => void | Promise<void>): Promise<number> {
  const told = new Uint8Array(machine.memory.sizeBytes);
  let listening = true;
  machine.memory.onDeviceWrite((address, lengthBytes) => {
    if (!listening) return;
    const offset = address - machine.memory.baseAddress;
    expect(offset >= 0 && lengthBytes > 0 && offset + lengthBytes <= told.length, `${address}+${lengthBytes}`).toBe(
      true,
    );
    told.fill(1, offset, offset + lengthBytes);
  });
  const before = Uint8Array.from(machine.memory.bytes);
  await act();
  listening = false;
  for (const [i, byte] of machine.memory.bytes.entries())
    if (byte !== before[i] && told[i] === 0) throw new Error(`nobody was told of 0x${i.toString(16)}`);
  return told.reduce((sum, mark) => sum + mark, 0);
}

describe("an emulator that wants to know what the device writes", () => {
  const requests: [string, (disk: RawDisk) => Segment[], number][] = [
    ["a read", (disk) => disk.readRequest(1, 512), 512 + 1],
    [
      "a read into three buffers",
      (disk) => [disk.header(0, 0), ...[1, 2, 3].map(() => disk.writable(512)), disk.writable(1)],
      1537,
    ],
    ["a write", (disk) => disk.writeRequest(1, new Uint8Array(512)), 1],
    ["GET_ID", (disk) => [disk.header(8), disk.writable(64), disk.writable(1)], 21],
    ["a flush with a buffer", (disk) => [disk.header(4), disk.writable(64), disk.writable(1)], 1],
    ["a wrong request", (disk) => disk.readRequest(1 << 20, 512), 1],
  ];
  for (const [title, make, bytes] of requests) {
    it(`hears of ${bytes} bytes and of the ring for ${title}, at once or later`, async () => {
      for (const holding of [false, true]) {
        const driver = new HeldDriver();
        driver.holding = holding;
        const machine = makeMachine({ driver, device: { serial: "x".repeat(20) } });
        const disk = RawDisk.start(machine, { features: [9, 29, 32] });
        const head = disk.chain(make(disk));
        disk.queue.publish(head);
        const told = await listen(machine, async () => {
          disk.notify();
          driver.endAll();
          await new Promise((resolve) => setImmediate(resolve));
        });
        expect(disk.takeUsed().length).toBe(1);
        expect(told).toBe(bytes + 8 + 2 + 2); // used element, used index, avail_event
      }
    });
  }

  it("hears of data that a failed read has left behind", async () => {
    class HalfReadingDriver extends MemoryDriver {
      override read(offsetBytes: number, vector: IoVector): void {
        super.read(offsetBytes, vector);
        throw new BlockError("EIO");
      }
    }
    const machine = makeMachine({ driver: new HalfReadingDriver({ bytes: diskPattern(512 * 8) }) });
    const disk = RawDisk.start(machine);
    const head = disk.chain(disk.readRequest(0, 512));
    disk.queue.publish(head);
    await listen(machine, () => disk.notify());
    expect(disk.takeUsed()).toEqual([{ id: head, length: 0 }]);
  });
});

describe("RAM in an emulator's own buffer", () => {
  it("serves a device as shared memory does, at any offset that is a multiple of 4", async () => {
    const buffer = new ArrayBuffer(4 << 20);
    const memory = new GuestMemory({ baseAddress: 0, sizeBytes: 1 << 20, buffer, byteOffset: 0x10_0004 });
    const line = new InterruptLine();
    const driver = new MemoryDriver({ bytes: diskPattern(512 * 64) });
    const backend = new BlockBackend({ name: "drive0", node: new BlockNode({ name: "disk", driver }) });
    const region = new VirtioMmio({ device: new VirtioBlk({ backend }), memory, line });
    const guest = new Guest(new InProcessTarget({ memory, region, line }));
    const disk = await guest.probe();
    expect(await disk.read(512 * 3, 1024)).toEqual(driver.bytes.slice(512 * 3, 512 * 5));
    await disk.write(512, new Uint8Array(512).fill(9));
    expect(driver.bytes.subarray(512, 1024).every((byte) => byte === 9)).toBe(true);
    await guest.close();
    const bytes = new Uint8Array(buffer);
    expect(bytes.subarray(0, 0x10_0004).every((byte) => byte === 0)).toBe(true);
    expect(bytes.subarray(0x20_0004).every((byte) => byte === 0)).toBe(true);
  });
});
