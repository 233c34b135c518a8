// The split virtqueue as a driver sees it: VIRTIO 1.4 §2.7.
import { describe, expect, it } from "vitest";
import { HeldDriver } from "../support/held-driver.ts";
import { diskPattern, makeMachine } from "../support/machine.ts";
import { INDIRECT, RawDisk, type RawDiskOptions, type Segment } from "../support/raw-disk.ts";

function start(options: RawDiskOptions = {}): RawDisk {
  return RawDisk.start(makeMachine(), options);
}

function tableBytes({ queue, machine }: RawDisk): number[] {
  const bytes = new Uint8Array(16 * queue.size);
  machine.target.readRam(queue.layout.descriptorTable, bytes);
  return [...bytes];
}

describe("the split ring", () => {
  it("SPLIT-DEV-001 VQ-DEV-003 has the slot of an index modulo its size", () => {
    const disk = start({ queueSize: 8 });
    const elements: unknown[] = [];
    for (let i = 0; i < 20; i++) {
      const { length } = disk.read(i);
      elements.push(length);
      expect(disk.queue.usedIdx).toBe(i + 1);
      if (i === 8) expect(disk.queue.readUsed(0)).toEqual({ id: (8 * 3) % 8, length: 513 });
    }
    expect(elements).toEqual(new Array(20).fill(513));
  });

  for (const features of [[32], [28, 29, 32]]) {
    it(`SPLIT-DEV-002 loses nothing when its indices wrap at 65536, with features ${features}`, () => {
      const disk = start({ queueSize: 8, features });
      const { queue } = disk;
      const head = disk.chain([disk.header(4), disk.writable(1)]);
      for (let i = 1; i <= 65_540; i++) {
        disk.submit(head);
        if (queue.usedIdx !== (i & 0xffff)) throw new Error(`used.idx is ${queue.usedIdx} after ${i} requests`);
      }
      expect(queue.usedIdx).toBe(4);
      expect(disk.registers.status).toBe(0x0f);
    });
  }

  it("SPLIT-DEV-003 names a used buffer by the head of its chain", () => {
    const disk = start();
    const request = disk.readRequest(1, 512);
    expect(disk.perform(request, disk.chain(request, 5)).status).toBe(0); // 5, 6, 7: perform checks the id
    expect(disk.queue.readUsed(0).id).toBe(5);
    const wrapped = disk.readRequest(2, 512);
    expect(disk.perform(wrapped, disk.chain(wrapped, 7)).status).toBe(0); // 7, 0, 1
  });

  it("SPLIT-DEV-007 takes a chain of as many descriptors as it has", () => {
    const disk = start({ queueSize: 16 });
    const data = Array.from({ length: 14 }, () => disk.writable(512));
    const request = [disk.header(0, 10), ...data, disk.writable(1)];
    const { status, length, data: read } = disk.perform(request, disk.chain(request, 0));
    expect([status, length]).toEqual([0, 14 * 512 + 1]);
    expect([...read.subarray(512, 1024)]).toEqual([...disk.read(11).data]);
  });

  it("SPLIT-DEV-008 SPLIT-DEV-011 writes neither a readable buffer nor a descriptor, direct or indirect", () => {
    const disk = start({ features: [28, 32] });
    const bytes = new Uint8Array(1024).fill(0x3c);
    const request = disk.writeRequest(4, bytes);
    const headerBefore = disk.bytesOf(request[0]!);
    for (const head of [disk.chain(request, 0), disk.indirectChain(request)]) {
      const { address, lengthBytes, flags } = disk.queue.readDescriptor(head);
      const before = tableBytes(disk);
      const indirect = flags === INDIRECT ? { address, lengthBytes } : undefined;
      const indirectBefore = indirect && disk.bytesOf(indirect);
      expect(disk.perform(request, head)).toMatchObject({ status: 0, length: 1 });
      expect(tableBytes(disk)).toEqual(before);
      if (indirect !== undefined) expect(disk.bytesOf(indirect)).toEqual(indirectBefore);
      expect(disk.bytesOf(request[0]!)).toEqual(headerBefore);
      expect(disk.bytesOf(request[1]!)).toEqual(bytes);
    }
  });

  it("SPLIT-DEV-022 has data, status and element in place when the used index moves", () => {
    const disk = start();
    const { queue, machine } = disk;
    const request = disk.readRequest(4, 512);
    const expected = disk.read(4).data;
    let seen: unknown;
    machine.memory.onDeviceWrite((address) => {
      if (address === queue.layout.usedRing + 2) seen = { element: queue.readUsed(1), ...disk.outcome(request, 513) };
    });
    disk.submit(disk.chain(request, 0));
    expect(seen).toEqual({ element: { id: 0, length: 513 }, status: 0, length: 513, data: expected });
  });

  it("leaves used.flags, avail and the event fields alone without EVENT_IDX", () => {
    const disk = start();
    const { queue } = disk;
    queue.usedEvent = 0x7777;
    queue.availEvent = 0x5555;
    for (let i = 0; i < 20; i++) {
      disk.read(i);
      expect(queue.usedFlags & ~1, "SPLIT-DEV-027").toBe(0);
    }
    expect([queue.usedEvent, queue.availEvent, queue.availIdx]).toEqual([0x7777, 0x5555, 20]);
  });

  it("VQ-DEV-002 uses buffers as they get done, each id once", async () => {
    const driver = new HeldDriver();
    const disk = RawDisk.start(makeMachine({ driver }), { queueSize: 32 });
    const requests = Array.from({ length: 8 }, (_, i) => disk.readRequest(i, 512));
    const heads = requests.map((request) => disk.chain(request));
    for (const head of heads) disk.queue.publish(head);
    disk.notify();
    expect(disk.takeUsed()).toEqual([]);
    driver.endAll("newest first");
    await new Promise(setImmediate);
    expect(disk.takeUsed()).toEqual(heads.map((id) => ({ id, length: 513 })).reverse());
    for (const [i, request] of requests.entries()) {
      const { status, data } = disk.outcome(request, 513);
      expect(status).toBe(0);
      expect(Buffer.compare(data, driver.memory.bytes.subarray(512 * i, 512 * (i + 1)))).toBe(0);
    }
  });

  it("keeps its own used index: what the driver writes there changes nothing", () => {
    const disk = start();
    disk.read(0);
    disk.queue.usedIdx = 0x1234;
    disk.queue.usedFlags = 0xffff;
    disk.submit(disk.chain(disk.readRequest(1, 512), 0));
    expect(disk.queue.usedIdx).toBe(2);
    expect(disk.queue.readUsed(1)).toEqual({ id: 0, length: 513 });
  });

  it("reads nothing but bit 0 of avail.flags", () => {
    const disk = start();
    disk.queue.availFlags = 0xfffe;
    expect(disk.read(0).status).toBe(0);
    expect(disk.registers.interruptStatus).toBe(1);
  });

  it("ignores descriptor flags that are not defined", () => {
    const disk = start();
    const head = disk.chain(disk.readRequest(1, 512), 0);
    for (let slot = 0; slot < 3; slot++) {
      const descriptor = disk.queue.readDescriptor(slot);
      disk.queue.writeDescriptor(slot, { ...descriptor, flags: descriptor.flags | 0xfff8 });
    }
    disk.submit(head);
    expect(disk.takeUsed()).toEqual([{ id: 0, length: 513 }]);
  });

  it("memory of a ring may overlap its buffers, and its parts each other: the device stays sound", () => {
    for (const overlap of ["used over table", "used over avail", "avail over table", "buffer over used"] as const) {
      const machine = makeMachine();
      const disk = RawDisk.start(machine, { driverOk: false });
      const { queue, registers } = disk;
      const { descriptorTable, availableRing, usedRing } = queue.layout;
      registers.queueReady = 0;
      if (overlap === "used over table") registers.queueDevice = descriptorTable;
      if (overlap === "used over avail") registers.queueDevice = availableRing - (availableRing % 4);
      if (overlap === "avail over table") registers.queueDriver = descriptorTable;
      registers.queueReady = 1;
      expect(registers.queueReady).toBe(1);
      registers.status = 0x0f;
      const data =
        overlap === "buffer over used" ? { address: usedRing, lengthBytes: 512, writable: true } : disk.writable(512);
      for (let i = 0; i < 10; i++) disk.submit(disk.chain([disk.header(0, i), data, disk.writable(1)], 0));
      expect(registers.status & ~0x40).toBe(0x0f);
      registers.status = 0;
      expect(RawDisk.start(machine).read(3).status, overlap).toBe(0);
    }
  });
});

describe("indirect descriptors", () => {
  const features = [28, 32];

  it("SPLIT-DEV-012 point to a table whether or not WRITE is set on them", () => {
    const disk = start({ features });
    const request = disk.readRequest(6, 512);
    const head = disk.indirectChain(request);
    const { address, lengthBytes } = disk.queue.readDescriptor(head);
    disk.queue.writeDescriptor(head, { address, lengthBytes, flags: INDIRECT | 2 });
    expect(disk.perform(request, head)).toMatchObject({ status: 0, length: 513 });
  });

  it("SPLIT-DEV-013 may come after any number of direct ones", () => {
    const disk = start({ features, queueSize: 16 });
    const expected = disk.read(9, 1536).data;
    for (let prefix = 0; prefix <= 4; prefix++) {
      const request = [disk.header(0, 9), disk.writable(512), disk.writable(512), disk.writable(512), disk.writable(1)];
      const { status, length, data } = disk.perform(request, disk.indirectChain(request, prefix));
      expect([prefix, status, length]).toEqual([prefix, 0, 1537]);
      expect(data).toEqual(expected);
    }
  });

  it("SPLIT-DEV-014 SPLIT-DEV-015 start at entry 0 and follow next, past entries that are not linked", () => {
    const disk = start({ features });
    const [header, data, status] = disk.readRequest(3, 512) as [Segment, Segment, Segment];
    const bystander = disk.writable(512);
    const { address, lengthBytes } = disk.table([header, bystander, data, status]);
    const table = Number(address);
    disk.queue.writeIndirect(table, 0, { ...header, flags: 1, next: 2 });
    disk.queue.writeIndirect(table, 2, { ...data, flags: 3, next: 3 });
    disk.queue.writeDescriptor(0, { address, lengthBytes, flags: INDIRECT });
    expect(disk.perform([header, data, status], 0)).toMatchObject({ status: 0, length: 513 });
    expect([...disk.bytesOf(bystander)]).toEqual(new Array(512).fill(0xee));
  });

  it("SPLIT-DEV-015 may have their table at any address, aligned to nothing", () => {
    const disk = start({ features });
    const expected = disk.read(7).data;
    for (let off = 0; off < 17; off++) {
      const request = disk.readRequest(7, 512);
      const at = disk.machine.guest.allocator.allocate(128) + off;
      const { address, lengthBytes } = disk.table(request, at);
      disk.queue.writeDescriptor(1, { address, lengthBytes, flags: INDIRECT });
      expect(disk.perform(request, 1), `off by ${off}`).toEqual({ status: 0, length: 513, data: expected });
    }
  });

  it("may name more buffers than the queue has descriptors", () => {
    const machine = makeMachine({ sectors: 1200, ramBytes: 4 << 20 });
    const disk = RawDisk.start(machine, { features, queueSize: 4 });
    for (const count of [5, 254, 1022]) {
      const data = Array.from({ length: count }, () => disk.writable(512));
      const request = [disk.header(0, 1), ...data, disk.writable(1)];
      const { status, length, data: read } = disk.perform(request, disk.indirectChain(request));
      expect([count, status, length]).toEqual([count, 0, 512 * count + 1]);
      expect(Buffer.compare(read, diskPattern(512 * 1200).subarray(512, 512 + 512 * count))).toBe(0);
    }
  });
});

describe("the same head twice", () => {
  it("is two requests, each with a used element", async () => {
    const driver = new HeldDriver();
    const disk = RawDisk.start(makeMachine({ driver }));
    const head = disk.chain(disk.readRequest(1, 512));
    disk.queue.publish(head);
    disk.queue.publish(head);
    disk.notify();
    driver.endAll();
    await new Promise(setImmediate);
    expect(disk.takeUsed()).toEqual([
      { id: head, length: 513 },
      { id: head, length: 513 },
    ]);
    expect(disk.registers.status).toBe(0x0f);
  });
});
