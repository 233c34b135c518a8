// For authors of emulators: the device on a bus of your own, with RAM of your own. Runs by itself, and in a browser as well.
//
//   node --import tsx examples/attach-to-a-bus.ts

import { BlockBackend, BlockNode, GuestMemory, InterruptLine, MemoryDriver, VirtioBlk, VirtioMmio } from "virtio-blk";

// Your emulator: some RAM, an interrupt controller with a pending mask, and loads and stores that go by address.
const RAM_BASE = 0x8000_0000;
const RAM_BYTES = 1 << 20;
const DISK_BASE = 0x1000_1000;
const DISK_INTERRUPT = 1;
const ram = new SharedArrayBuffer(RAM_BYTES);
const ramView = new DataView(ram);
let pendingInterrupts = 0;

// The disk: a driver that holds the bytes, a node of the block layer, a backend, the device, and its register bank.
const image = new MemoryDriver({ lengthBytes: 1 << 20 });
new TextEncoder().encodeInto("hello from the disk", image.bytes);
const backend = new BlockBackend({ name: "disk0", node: new BlockNode({ name: "disk0", driver: image }) });
const line = new InterruptLine();
const disk = new VirtioMmio({
  device: new VirtioBlk({ backend, serial: "EXAMPLE" }),
  memory: new GuestMemory({ baseAddress: RAM_BASE, sizeBytes: RAM_BYTES, buffer: ram }),
  line,
});
line.onChange((raised) => {
  pendingInterrupts = raised ? pendingInterrupts | (1 << DISK_INTERRUPT) : pendingInterrupts & ~(1 << DISK_INTERRUPT);
});

/** A 32-bit load of your CPU. */
function load(address: number): number {
  if (address >= DISK_BASE && address < DISK_BASE + disk.size) return disk.read(address - DISK_BASE, 4);
  return ramView.getUint32(address - RAM_BASE, true);
}

/** A 32-bit store of your CPU. */
function store(address: number, value: number): void {
  if (address >= DISK_BASE && address < DISK_BASE + disk.size) disk.write(address - DISK_BASE, 4, value);
  else ramView.setUint32(address - RAM_BASE, value, true);
}

// What the CPU would run: reset, negotiate VERSION_1, set up a queue of 4, and read sector 0.
const [descriptors, available, used, header, data, status] = [0, 0x100, 0x200, 0x300, 0x400, 0x600].map(
  (at) => RAM_BASE + at,
);
if (load(DISK_BASE) !== 0x7472_6976) throw new Error("no virtio device");
for (const bits of [0, 1, 3]) store(DISK_BASE + 0x070, bits);
store(DISK_BASE + 0x024, 1);
store(DISK_BASE + 0x020, 1);
store(DISK_BASE + 0x070, 0x0b);
store(DISK_BASE + 0x038, 4);
store(DISK_BASE + 0x080, descriptors!);
store(DISK_BASE + 0x090, available!);
store(DISK_BASE + 0x0a0, used!);
store(DISK_BASE + 0x044, 1);
store(DISK_BASE + 0x070, 0x0f);

const chain: [address: number, length: number, flags: number, next: number][] = [
  [header!, 16, 1, 1],
  [data!, 512, 3, 2],
  [status!, 1, 2, 0],
];
for (const [i, [address, length, flags, next]] of chain.entries()) {
  store(descriptors! + 16 * i, address);
  store(descriptors! + 16 * i + 8, length);
  store(descriptors! + 16 * i + 12, flags | (next << 16));
}
store(available!, 1 << 16); // flags 0, idx 1; ring[0] is 0
store(DISK_BASE + 0x050, 0);

// The request was carried out within the store to QueueNotify: the interrupt is pending.
if (pendingInterrupts !== 1 << DISK_INTERRUPT) throw new Error("no interrupt");
store(DISK_BASE + 0x064, load(DISK_BASE + 0x060));
if (pendingInterrupts !== 0) throw new Error("the interrupt was not acknowledged");
const text = new TextDecoder().decode(new Uint8Array(ram, data! - RAM_BASE, 19).slice());
console.log(`status ${load(status!) & 0xff}, used ${load(used!) >>> 16}, sector 0 begins with '${text}'`);
