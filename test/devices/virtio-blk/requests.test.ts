// Block requests: VIRTIO 1.4 §5.2.6.
import { describe, expect, it } from "vitest";
import type { Errno } from "../../../src/base/errors.ts";
import { MemoryDriver } from "../../../src/block/drivers/memory.ts";
import { HeldDriver } from "../support/held-driver.ts";
import { diskPattern, type MachineOptions, makeMachine } from "../support/machine.ts";
import { RawDisk } from "../support/raw-disk.ts";

function start(options: MachineOptions = {}, features?: readonly number[]): RawDisk {
  return RawDisk.start(makeMachine(options), features === undefined ? {} : { features });
}

const DISK = diskPattern(512 * 128);

function sectorOf(bytes: Uint8Array, sector: number, count = 1): Uint8Array {
  return bytes.slice(512 * sector, 512 * (sector + count));
}

/** What a request has in common that ran twice, once over each poison: bytes that were the device's both times. */
function writtenByDevice(run: (poison: number) => Uint8Array): boolean[] {
  const first = run(0xee);
  const second = run(0x11);
  return Array.from(first, (byte, i) => !(byte === 0xee && second[i] === 0x11));
}

describe("IN and OUT", () => {
  it("BLK-DEV-078 BLK-DEV-080 read and write the sectors that the header names", () => {
    const disk = start();
    expect(disk.read(7)).toEqual({ status: 0, length: 513, data: sectorOf(DISK, 7) });
    const bytes = diskPattern(1024, 99);
    expect(disk.write(7, bytes)).toMatchObject({ status: 0, length: 1 });
    const { bytes: stored } = disk.machine.driver as MemoryDriver;
    expect(stored.subarray(3584, 4608)).toEqual(bytes);
    expect(disk.read(6, 2048).data).toEqual(new Uint8Array([...sectorOf(DISK, 6), ...bytes, ...sectorOf(DISK, 9)]));
  });

  it("BLK-DEV-019 BLK-DEV-082 reach the last sector and nothing beyond: IOERR, and nothing is moved", () => {
    const disk = start();
    expect(disk.read(127)).toMatchObject({ status: 0, data: sectorOf(DISK, 127) });
    const cases: [number | bigint, number][] = [
      [128, 512],
      [127, 1024],
      [0, 512 * 129],
      [1n << 53n, 512],
      [1n << 55n, 512],
      [(1n << 55n) + 1n, 512],
      [(1n << 64n) - 1n, 512],
      [(1n << 64n) - 1n, 1024],
      [(1n << 63n) - 1n, 512],
    ];
    for (const [sector, length] of cases) {
      const read = disk.read(sector, length);
      expect(read, `read ${sector}`).toEqual({ status: 1, length: 0, data: new Uint8Array(length).fill(0xee) });
      expect(disk.write(sector, new Uint8Array(length)), `write ${sector}`).toMatchObject({ status: 1, length: 1 });
    }
    expect((disk.machine.driver as MemoryDriver).bytes).toEqual(DISK);
    expect(disk.registers.status).toBe(0x0f);
  });

  it("BLK-DEV-082 move whole sectors only: IOERR for other lengths", () => {
    const disk = start();
    for (const length of [1, 511, 513, 1023, 4095]) {
      const read = disk.read(0, length);
      expect(read, `read ${length}`).toEqual({ status: 1, length: 0, data: new Uint8Array(length).fill(0xee) });
      expect(disk.write(0, new Uint8Array(length)), `write ${length}`).toMatchObject({ status: 1, length: 1 });
    }
    expect((disk.machine.driver as MemoryDriver).bytes).toEqual(DISK);
  });

  it("of no data succeed up to the capacity", () => {
    const disk = start();
    for (const type of [0, 1]) {
      for (const sector of [0, 127, 128]) {
        const request = [disk.header(type, sector), disk.writable(1)];
        expect(disk.perform(request), `${type} at ${sector}`).toMatchObject({ status: 0, length: 1 });
      }
      expect(disk.perform([disk.header(type, 129), disk.writable(1)])).toMatchObject({ status: 1, length: 1 });
    }
  });

  it("skip descriptors of length 0, wherever they stand", () => {
    const disk = start();
    const nothing = { address: 0xffff_ffff_ffff_ffffn, lengthBytes: 0 };
    const nowhere = { ...nothing, writable: true };
    const [header, data, status] = disk.readRequest(5, 512);
    const request = [nothing, header!, nothing, nowhere, data!, nowhere, status!, nowhere];
    expect(disk.perform(request)).toEqual({ status: 0, length: 513, data: sectorOf(DISK, 5) });
  });

  it("BLK-DEV-020 BLK-DEV-021 take seg_max segments, and segments of size_max", () => {
    const disk = RawDisk.start(makeMachine({ sectors: 4096, ramBytes: 4 << 20 }), { queueSize: 256 });
    const disc = diskPattern(512 * 4096);
    expect([disk.registers.readConfig(8, 4), disk.registers.readConfig(12, 4)]).toEqual([1 << 20, 254]);
    const pieces = Array.from({ length: 254 }, () => disk.writable(512));
    const many = disk.perform([disk.header(0, 1), ...pieces, disk.writable(1)]);
    expect([many.status, many.length]).toEqual([0, 254 * 512 + 1]);
    expect(Buffer.compare(many.data, disc.subarray(512, 255 * 512))).toBe(0);
    const large = disk.read(8, 1 << 20);
    expect([large.status, large.length]).toEqual([0, (1 << 20) + 1]);
    expect(Buffer.compare(large.data, disc.subarray(4096, 4096 + (1 << 20)))).toBe(0);
  });

  it("BLK-DEV-023 count in sectors of 512 bytes whatever blk_size says", () => {
    const topology = {
      blockSizeBytes: 4096,
      physicalBlockExp: 0,
      alignmentOffsetBlocks: 0,
      minIoBlocks: 0,
      optIoBlocks: 0,
    };
    const disk = start({ device: { topology } }, [6, 32]);
    expect(disk.registers.readConfig(20, 4)).toBe(4096);
    expect(disk.read(1)).toEqual({ status: 0, length: 513, data: sectorOf(DISK, 1) });
  });
});

describe("a read-only drive", () => {
  for (const features of [[5, 32], [32]]) {
    it(`BLK-DEV-037 BLK-DEV-038 answers OUT with IOERR and writes nothing, RO ${features[0] === 5 ? "" : "not "}accepted`, () => {
      const disk = start({ readOnly: true }, features);
      for (const length of [0, 512, 4096])
        expect(disk.write(0, new Uint8Array(length)), String(length)).toMatchObject({ status: 1, length: 1 });
      expect(disk.read(0)).toMatchObject({ status: 0, data: sectorOf(DISK, 0) });
      expect(disk.flush().status).toBe(0);
    });
  }
});

describe("FLUSH", () => {
  it("BLK-DEV-087 has the driver flush, and succeeds when it has", async () => {
    const driver = new HeldDriver();
    const disk = start({ driver }, [9, 32]);
    disk.submit(disk.chain([disk.header(4), disk.writable(1)]));
    expect(driver.log).toEqual(["flush"]);
    expect(disk.takeUsed()).toEqual([]);
    driver.endAll();
    await new Promise(setImmediate);
    expect(disk.takeUsed()).toEqual([{ id: 0, length: 1 }]);
  });

  it("is carried out whatever its sector and data, and without the feature", () => {
    const driver = new HeldDriver();
    driver.holding = false;
    const disk = start({ driver });
    const nowhere = { address: 1n << 60n, lengthBytes: 0xffff_ffff };
    for (const [sector, ...rest] of [
      [0n],
      [12n],
      [(1n << 64n) - 1n],
      [0n, disk.readable(new Uint8Array(100))],
      [0n, nowhere],
    ] as const) {
      expect(disk.perform([disk.header(4, sector), ...rest, disk.writable(1)])).toMatchObject({ status: 0, length: 1 });
    }
    const buffer = disk.writable(512);
    expect(disk.perform([disk.header(4), buffer, disk.writable(1)])).toMatchObject({ status: 0, length: 0 });
    expect([...disk.bytesOf(buffer)]).toEqual(new Array(512).fill(0xee));
    expect(driver.log).toEqual(new Array(6).fill("flush"));
  });
});

describe("GET_ID", () => {
  const ids: [string, string][] = [
    ["none", ""],
    ["short", "disk-1"],
    ["of 20 characters", "abcdefghij0123456789"],
  ];
  for (const [name, serial] of ids) {
    it(`BLK-DEV-083 gives 20 bytes, padded with NUL, for a serial number that is ${name}`, () => {
      const disk = start({ device: { serial } });
      const id = [...Buffer.from(serial.padEnd(20, "\0"))];
      for (const length of [0, 1, 5, 19, 20]) {
        const data = disk.writable(length);
        const outcome = disk.perform([disk.header(8), data, disk.writable(1)]);
        expect([outcome.status, outcome.length], String(length)).toEqual([0, length + 1]);
        expect([...outcome.data]).toEqual(id.slice(0, length));
      }
      for (const length of [21, 40, 512]) {
        const outcome = disk.perform([disk.header(8, 77), disk.writable(length), disk.writable(1)]);
        expect([outcome.status, outcome.length], String(length)).toEqual([0, 20]);
        expect([...outcome.data]).toEqual([...id, ...new Array(length - 20).fill(0xee)]);
      }
    });
  }
});

describe("other types", () => {
  it("BLK-DEV-054 BLK-DEV-081 BLK-DEV-088 get UNSUPP by their exact number, and do nothing else", () => {
    const driver = new HeldDriver();
    driver.holding = false;
    const disk = start({ driver, device: { serial: "abc" } });
    const types = [2, 3, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 22, 24, 26, 0x77, 0x100, 0x8000_0000];
    for (const type of [...types, 0x8000_0001, 0x8000_0004, 0x8000_0008, 0xffff_ffff]) {
      expect(disk.perform([disk.header(type), disk.writable(1)]), String(type)).toMatchObject({ status: 2, length: 1 });
      const data = disk.writable(512);
      const withData = [disk.header(type), disk.readable(new Uint8Array(16)), data, disk.writable(1)];
      expect(disk.perform(withData)).toMatchObject({ status: 2, length: 0 });
      expect([...disk.bytesOf(data)]).toEqual(new Array(512).fill(0xee));
    }
    expect(driver.log).toEqual([]);
    expect(driver.memory.bytes).toEqual(DISK);
  });
});

describe("an I/O error", () => {
  it("is IOERR, whether it comes at once or later, and nothing counts as written", async () => {
    for (const holding of [true, false]) {
      for (const errno of ["EIO", "ENOSPC", "ECANCELED"] satisfies Errno[]) {
        const driver = new HeldDriver();
        driver.holding = holding;
        driver.errno = errno;
        const disk = RawDisk.start(makeMachine({ driver }), { queueSize: 16 });
        const requests = [
          disk.readRequest(0, 512),
          disk.writeRequest(1, new Uint8Array(512)),
          [disk.header(4), disk.writable(1)],
        ];
        const heads = requests.map((request) => disk.chain(request));
        for (const head of heads) disk.submit(head);
        for (const call of [...driver.held]) call.end(errno);
        await new Promise(setImmediate);
        expect(disk.takeUsed().sort((a, b) => a.id - b.id)).toEqual([
          { id: heads[0], length: 0 },
          { id: heads[1], length: 1 },
          { id: heads[2], length: 1 },
        ]);
        for (const request of requests) expect(disk.outcome(request, 0).status).toBe(1);
        expect(disk.registers.status).toBe(0x0f);
      }
    }
  });
});

describe("the used length", () => {
  it("SPLIT-DEV-023 never counts a byte that was not written", () => {
    const disk = start({ device: { serial: "abc" } });
    const status = 1;
    const kinds: [string, (poison: number) => readonly [number, Uint8Array]][] = [
      ["read", (poison) => run(0, 5, 512, poison)],
      ["read of 3 sectors", (poison) => run(0, 5, 1536, poison)],
      ["failed read", (poison) => run(0, 128, 512, poison)],
      ["read of odd length", (poison) => run(0, 0, 100, poison)],
      ["GET_ID", (poison) => run(8, 0, 20, poison)],
      ["GET_ID, long", (poison) => run(8, 0, 64, poison)],
      ["flush with a buffer", (poison) => run(4, 0, 64, poison)],
      ["unsupported", (poison) => run(0x77, 0, 64, poison)],
      ["no data", (poison) => run(0, 0, 0, poison)],
    ];
    function run(type: number, sector: number, length: number, poison: number): readonly [number, Uint8Array] {
      const buffer = disk.writable(length + status, poison);
      return [disk.perform([disk.header(type, sector), buffer]).length, disk.bytesOf(buffer)];
    }
    for (const [name, kind] of kinds) {
      let length = 0;
      const written = writtenByDevice((poison) => {
        const [used, bytes] = kind(poison);
        length = used;
        return bytes;
      });
      expect(written.slice(0, length), name).not.toContain(false);
      expect(written.at(-1), `${name}: the status byte`).toBe(true);
    }
  });
});

describe("VirtioBlk", () => {
  it("refuses a serial number of more than 20 bytes and a queue size that is no power of two", () => {
    expect(() => makeMachine({ device: { serial: "abcdefghij01234567890" } })).toThrow("serial");
    expect(() => makeMachine({ device: { serial: "ä".repeat(11) } })).toThrow("serial");
    for (const queueSizeMax of [0, 3, 255, 65536, -1])
      expect(() => makeMachine({ device: { queueSizeMax } }), String(queueSizeMax)).toThrow("queue size");
  });

  it("keeps seg_max segments of size_max within 256 MiB, whatever the size of its queue", () => {
    const limits = [1, 2, 4, 256, 1024, 4096, 32768].map((queueSizeMax) => {
      const { registers } = makeMachine({ driver: new MemoryDriver({ lengthBytes: 512 }), device: { queueSizeMax } });
      return [queueSizeMax, registers.readConfig(12, 4), registers.readConfig(8, 4)];
    });
    expect(limits).toEqual([
      [1, 1, 1 << 20],
      [2, 1, 1 << 20],
      [4, 2, 1 << 20],
      [256, 254, 1 << 20],
      [1024, 1022, 1 << 18],
      [4096, 1022, 1 << 18],
      [32768, 1022, 1 << 18],
    ]);
  });
});
