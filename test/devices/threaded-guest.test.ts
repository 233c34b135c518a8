// A guest in another thread that changes descriptors while the device reads them: docs/reference/virtio-errors.md §4, 28.
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { makeMachine, RAM_BASE } from "./support/machine.ts";
import { headerBytes, RawDisk } from "./support/raw-disk.ts";
import { expectRecovery } from "./support/recovery.ts";

const RAM_BYTES = 1 << 20;
const HEADER = RAM_BASE + 0x2_0000;
const STATUS = RAM_BASE + 0x2_1000;
const DATA = RAM_BASE + 0x4_0000;
/** A buffer of 512 bytes here ends where RAM does. */
const LAST = RAM_BASE + RAM_BYTES - 512;

/** Of each outcome; until there are, or until the two threads have had their chance on a busy machine. */
const ENOUGH = 50;
const MAX_MS = 30_000;

describe("a descriptor that changes while it is read", () => {
  it("is used as it was checked: no exception, and no byte beyond what one of its versions allowed", async () => {
    const machine = makeMachine({ ramBytes: RAM_BYTES });
    const { memory, registers, target } = machine;
    memory.bytes.fill(0xee);
    machine.guest.allocator.reset();
    let disk = RawDisk.start(machine, { features: [28, 32] });
    const table = disk.queue.layout.descriptorTable;
    const word = (address: number): number => (address - RAM_BASE) / 4;
    const words = [
      // The data descriptor: address, its high half, length, flags with next.
      { index: word(table + 16), values: [DATA, LAST, LAST + 16] },
      { index: word(table + 20), values: [0, 0, 0, 1] },
      { index: word(table + 24), values: [512, 1024, 512, 0xffff_fe00] },
      {
        index: word(table + 28),
        values: [0x0002_0003, 0x0002_0003, 0x0001_0003, 0x0009_0003, 0x0002_0004, 0x0002_0002],
      },
      // The header: type and sector.
      { index: word(HEADER), values: [0, 0, 1, 0x77] },
      { index: word(HEADER + 8), values: [0, 1, 127, 128, 0xffff_ffff] },
    ];
    const prepare = (): void => {
      target.writeRam(HEADER, headerBytes(0, 0));
      disk.queue.writeDescriptor(0, { address: HEADER, lengthBytes: 16, flags: 1, next: 1 });
      disk.queue.writeDescriptor(1, { address: DATA, lengthBytes: 512, flags: 3, next: 2 });
      disk.queue.writeDescriptor(2, { address: STATUS, lengthBytes: 1, flags: 2 });
    };
    prepare();

    const control = new SharedArrayBuffer(8);
    const state = new Int32Array(control);
    const worker = new Worker(new URL("./support/descriptor-flipper.mjs", import.meta.url), {
      workerData: { ram: memory.bytes.buffer, control, words },
    });
    const stopped = new Promise<number>((resolve, reject) => {
      worker.on("exit", resolve);
      worker.on("error", reject);
    });
    const counts = { ok: 0, ioError: 0, unsupported: 0, broken: 0 };
    try {
      for (let spins = 0; Atomics.load(state, 1) === 0; spins++) {
        if (spins > 1000) throw new Error("the thread does not start");
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      const startedMs = performance.now();
      while (Math.min(...Object.values(counts)) < ENOUGH && performance.now() - startedMs < MAX_MS) {
        target.writeRam8(STATUS, 0xee);
        disk.queue.publish(0);
        registers.queueNotify = 0;
        if ((registers.status & 0x40) !== 0) {
          counts.broken++;
          machine.guest.allocator.reset();
          disk = RawDisk.start(machine, { features: [28, 32] });
          expect(disk.queue.layout.descriptorTable).toBe(table);
          prepare();
          continue;
        }
        const status = target.readRam8(STATUS);
        if (status === 0) counts.ok++;
        else if (status === 1) counts.ioError++;
        else if (status === 2) counts.unsupported++;
      }
    } finally {
      Atomics.store(state, 0, 1);
    }
    expect(await stopped).toBe(0);
    for (const [name, count] of Object.entries(counts)) expect(count, name).toBeGreaterThanOrEqual(ENOUGH);

    // Nothing outside the rings, the header, the status byte, and the two places where data may have gone.
    const ring = { address: RAM_BASE, lengthBytes: 0x1000 };
    const places = [
      ring,
      { address: HEADER, lengthBytes: 16 },
      { address: STATUS, lengthBytes: 1 },
      { address: DATA, lengthBytes: 1024 },
      { address: LAST, lengthBytes: 512 },
    ];
    const ram = Uint8Array.from(memory.bytes);
    for (const { address, lengthBytes } of places) ram.fill(0xee, address - RAM_BASE, address - RAM_BASE + lengthBytes);
    expect(ram.every((byte) => byte === 0xee)).toBe(true);
    machine.guest.allocator.reset();
    expectRecovery(machine);
  });
});
