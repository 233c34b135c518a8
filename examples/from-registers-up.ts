// A driver written from the registers up: what VIRTIO 1.4 §3.1.1 and §5.2 ask for, step by step, with numbers from the standard.
//
//   vblk run examples/from-registers-up.ts

import type { ScriptContext } from "virtio-blk/machine";

const QUEUE_SIZE = 16;

export async function main({ guest, log, check, progress }: ScriptContext): Promise<void> {
  const { target, allocator } = guest;
  const read = (offset: number): number => target.readRegister(offset);
  const write = (offset: number, value: number): void => target.writeRegister(offset, value);

  // Is there a block device? MagicValue "virt", Version 2, DeviceID 2.
  if (read(0x000) !== 0x74726976 || read(0x004) !== 2 || read(0x008) !== 2)
    throw new Error("no virtio block device here");

  // Reset, ACKNOWLEDGE, DRIVER.
  write(0x070, 0);
  write(0x070, 1);
  write(0x070, 1 | 2);

  // Features: of the 64 only VERSION_1 (word 1, bit 0) and FLUSH (word 0, bit 9).
  write(0x014, 1);
  if ((read(0x010) & 1) === 0) throw new Error("the device is older than VIRTIO 1.0");
  write(0x014, 0);
  const flush = read(0x010) & (1 << 9);
  write(0x024, 1);
  write(0x020, 1);
  write(0x024, 0);
  write(0x020, flush);
  write(0x070, 1 | 2 | 8);
  if ((read(0x070) & 8) === 0) throw new Error("the device does not take these features");

  // Queue 0: descriptor table, available ring and used ring in RAM.
  write(0x030, 0);
  if (read(0x044) !== 0 || read(0x034) < QUEUE_SIZE) throw new Error("queue 0 cannot be used");
  const descriptors = allocator.allocate(16 * QUEUE_SIZE, 16);
  const available = allocator.allocate(6 + 2 * QUEUE_SIZE, 2);
  const used = allocator.allocate(6 + 8 * QUEUE_SIZE, 4);
  for (const [address, length] of [
    [descriptors, 16 * QUEUE_SIZE],
    [available, 6 + 2 * QUEUE_SIZE],
    [used, 6 + 8 * QUEUE_SIZE],
  ] as const) {
    target.fillRam(address, 0, length);
  }
  write(0x038, QUEUE_SIZE);
  for (const [register, address] of [
    [0x080, descriptors],
    [0x090, available],
    [0x0a0, used],
  ] as const) {
    write(register, address % 2 ** 32);
    write(register + 4, Math.floor(address / 2 ** 32));
  }
  write(0x044, 1);

  // DRIVER_OK: the device is live.
  write(0x070, 1 | 2 | 4 | 8);
  const sectors = read(0x100) + read(0x104) * 2 ** 32;
  log(`a disk of ${sectors} sectors`);

  // One request: header (16 bytes, for the device to read), data, status (1 byte, for the device to write).
  const header = allocator.allocate(16, 8);
  const data = allocator.allocate(512, 8);
  const status = allocator.allocate(1);
  let lastUsed = 0;
  const request = async (type: number, sector: number, dataWritable: boolean, lengthBytes: number): Promise<number> => {
    target.writeRam32(header, type);
    target.writeRam32(header + 4, 0);
    target.writeRam64(header + 8, BigInt(sector));
    target.writeRam8(status, 0xff);
    const chain: [number, number, number][] = [[header, 16, 0]];
    if (lengthBytes > 0) chain.push([data, lengthBytes, dataWritable ? 2 : 0]);
    chain.push([status, 1, 2]);
    for (const [i, [address, length, writable]] of chain.entries()) {
      const at = descriptors + 16 * i;
      const last = i === chain.length - 1;
      target.writeRam64(at, BigInt(address));
      target.writeRam32(at + 8, length);
      target.writeRam16(at + 12, writable | (last ? 0 : 1)); // VIRTQ_DESC_F_WRITE, VIRTQ_DESC_F_NEXT
      target.writeRam16(at + 14, last ? 0 : i + 1);
    }
    const index = target.readRam16(available + 2);
    target.writeRam16(available + 4 + 2 * (index % QUEUE_SIZE), 0); // the chain begins at descriptor 0
    target.writeRam16(available + 2, (index + 1) & 0xffff);
    write(0x050, 0); // QueueNotify
    while (target.readRam16(used + 2) === lastUsed) await guest.waitForInterrupt();
    lastUsed = target.readRam16(used + 2);
    write(0x064, read(0x060)); // InterruptACK
    return target.readRam8(status);
  };

  // Write a pattern, flush it, read it back.
  const rounds = 8;
  let right = 0;
  for (let i = 0; i < rounds; i++) {
    const sector = Math.floor((i * (sectors - 1)) / (rounds - 1));
    target.fillRam(data, 0x40 + i, 512);
    const wrote = await request(1, sector, false, 512);
    const flushed = flush === 0 ? 0 : await request(4, 0, false, 0);
    target.fillRam(data, 0, 512);
    const readBack = await request(0, sector, true, 512);
    if (wrote === 0 && flushed === 0 && readBack === 0 && target.readRam8(data + 511) === 0x40 + i) right++;
    progress(3 * (i + 1), 3 * rounds);
  }
  check("what was written is read back", right === rounds, `${right} of ${rounds} sectors`);
  const beyond = await request(0, sectors, true, 512);
  check("a read beyond the end fails with VIRTIO_BLK_S_IOERR", beyond === 1, `status ${beyond}`);
  write(0x070, 0);
}
