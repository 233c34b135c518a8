// The adapter for v86 on a stand-in for its CPU: where RAM is, what accesses reach, and when interrupts come. Linux under v86
// itself is test/linux.
import { describe, expect, it } from "vitest";
import { VirtioBlk } from "../../../devices/virtio-blk/virtio-blk.ts";
import { type V86Cpu, V86Devices } from "../../../machine/hosts/v86.ts";
import { BlockBackend } from "../../../src/block/backend.ts";
import { MemoryDriver } from "../../../src/block/drivers/memory.ts";
import { BlockNode } from "../../../src/block/node.ts";

const RAM_OFFSET = 4096;
const RAM_BYTES = 1 << 20;
const ADDRESS = 0xd000_0000;

/** v86's CPU as far as the adapter knows it. Addresses come as v86 gives them: as signed numbers. */
class FakeCpu implements V86Cpu {
  wasm_memory = { buffer: new ArrayBuffer(RAM_OFFSET + RAM_BYTES) };
  readonly mem8 = { byteOffset: RAM_OFFSET, length: RAM_BYTES };
  readonly dirtied: [number, number][] = [];
  readonly interrupts: string[] = [];
  within = 0;
  #accesses: Parameters<V86Cpu["io"]["mmap_register"]> | undefined;

  readonly io: V86Cpu["io"] = {
    mmap_register: (...accesses) => {
      this.#accesses = accesses;
    },
  };

  jit_dirty_cache(start: number, end: number): void {
    this.dirtied.push([start, end]);
  }
  device_raise_irq(irq: number): void {
    this.interrupts.push(`raise ${irq}${this.within > 0 ? " within an access" : ""}`);
  }
  device_lower_irq(irq: number): void {
    this.interrupts.push(`lower ${irq}`);
  }
  main_loop(): number {
    return 7;
  }

  get mapped(): readonly [number, number] {
    return [this.#accesses![0], this.#accesses![1]];
  }
  read8(offset: number): number {
    return this.#accesses![2]((ADDRESS + offset) | 0);
  }
  read32(offset: number): number {
    return this.#accesses![4]((ADDRESS + offset) | 0);
  }
  write32(offset: number, value: number): void {
    this.within++;
    this.#accesses![5]((ADDRESS + offset) | 0, value | 0);
    this.within--;
  }
}

function makeDisk(node: BlockNode = makeNode()): VirtioBlk {
  return new VirtioBlk({ backend: new BlockBackend({ name: "d", node }) });
}

function makeNode(): BlockNode {
  return new BlockNode({ name: "d", driver: new MemoryDriver({ lengthBytes: 1 << 20 }) });
}

/** What has to happen between two turns of the event loop has happened. */
async function turns(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
}

function attach(): { cpu: FakeCpu; devices: V86Devices } {
  const cpu = new FakeCpu();
  const devices = new V86Devices(cpu);
  devices.attach(makeDisk(), { address: ADDRESS, irq: 10 });
  return { cpu, devices };
}

/** Reads sector 0 by hand, with a split ring of one entry at 0x1000 and the request at 0x2000. */
function readSector(cpu: FakeCpu, devices: V86Devices): void {
  const { memory } = devices;
  for (const status of [0, 1, 3]) cpu.write32(0x070, status);
  cpu.write32(0x024, 1);
  cpu.write32(0x020, 1); // VERSION_1
  cpu.write32(0x070, 0x0b);
  cpu.write32(0x038, 4);
  for (const [register, address] of [
    [0x080, 0x1000],
    [0x090, 0x1100],
    [0x0a0, 0x1200],
  ] as const)
    cpu.write32(register, address);
  cpu.write32(0x044, 1);
  cpu.write32(0x070, 0x0f);
  const descriptors = [
    [0x2000, 16, 1, 1],
    [0x3000, 512, 3, 2],
    [0x4000, 1, 2, 0],
  ] as const;
  for (const [i, [address, length, flags, next]] of descriptors.entries()) {
    memory.writeU32(0x1000 + 16 * i, address);
    memory.writeU32(0x1000 + 16 * i + 8, length);
    memory.writeU16(0x1000 + 16 * i + 12, flags);
    memory.writeU16(0x1000 + 16 * i + 14, next);
  }
  memory.writeU16(0x1102, 1);
  cpu.write32(0x050, 0);
}

describe("V86Devices", () => {
  it("maps registers of 8 and 32 bits, whatever sign their addresses have", () => {
    const { cpu } = attach();
    expect(cpu.mapped).toEqual([ADDRESS, 128 << 10]);
    expect(cpu.read32(0)).toBe(0x74726976);
    expect(cpu.read8(0x101)).toBe(2048 >> 8); // capacity
    expect(cpu.read32(0x0b0)).toBe(-1); // as v86 wants 32 bits
    expect(cpu.read32(0x10000)).toBe(0); // behind the registers
  });

  it("raises the interrupt when the access is over, and lowers it once acknowledged", async () => {
    const { cpu, devices } = attach();
    readSector(cpu, devices);
    expect(devices.memory.readU16(0x1202)).toBe(1);
    expect(cpu.interrupts).toEqual([]);
    await turns();
    expect(cpu.interrupts).toEqual(["raise 10"]);
    cpu.write32(0x064, 1);
    expect(cpu.interrupts).toEqual(["raise 10", "lower 10"]);
  });

  it("raises nothing when the guest was faster", async () => {
    const { cpu, devices } = attach();
    readSector(cpu, devices);
    cpu.write32(0x064, 1);
    await turns();
    expect(cpu.interrupts.filter((change) => change.startsWith("raise"))).toEqual([]);
  });

  it("keeps a shared interrupt raised as long as one device wants it", async () => {
    const cpu = new FakeCpu();
    const devices = new V86Devices(cpu);
    const nodes = [makeNode(), makeNode()];
    const regions = nodes.map((node, i) =>
      devices.attach(makeDisk(node), { address: ADDRESS + i * (128 << 10), irq: 10 }),
    );
    for (const [i, region] of regions.entries()) {
      for (const status of [1, 3]) region.write(0x070, 4, status);
      region.write(0x024, 4, 1);
      region.write(0x020, 4, 1); // VERSION_1
      for (const status of [0x0b, 0x0f]) region.write(0x070, 4, status);
      await nodes[i]!.resize(2 << 20); // a change of configuration is the shortest way to an interrupt
    }
    await turns();
    expect(new Set(cpu.interrupts)).toEqual(new Set(["raise 10"]));
    cpu.interrupts.length = 0;
    regions[0]!.write(0x064, 4, 2);
    expect(cpu.interrupts).toEqual([]);
    regions[1]!.write(0x064, 4, 2);
    expect(cpu.interrupts).toEqual(["lower 10"]);
  });

  it("tells of every range of RAM that a device has written", () => {
    const { cpu, devices } = attach();
    readSector(cpu, devices);
    expect(cpu.dirtied).toContainEqual([0x3000, 0x3200]);
    expect(cpu.dirtied).toContainEqual([0x4000, 0x4001]);
    expect(cpu.dirtied).toContainEqual([0x1202, 0x1204]);
  });

  it("follows RAM that has moved, when the guest has run", () => {
    const { cpu, devices } = attach();
    const grown = new ArrayBuffer(RAM_OFFSET + 2 * RAM_BYTES);
    new Uint8Array(grown)[RAM_OFFSET + 5] = 42;
    cpu.wasm_memory = { buffer: grown };
    expect(cpu.main_loop()).toBe(7);
    expect(devices.memory.readU8(5)).toBe(42);
  });
});
