// What a broken or hostile ring gets: docs/reference/virtio-errors.md §1 and §4. Every case ends with a reset and a good read.
import { afterEach, describe, expect, it } from "vitest";
import { subscribeTrace } from "../../src/base/trace.ts";
import { HeldDriver } from "./support/held-driver.ts";
import { makeMachine, RAM_BASE, type TestMachine } from "./support/machine.ts";
import { INDIRECT, RawDisk, type Segment } from "./support/raw-disk.ts";
import { expectRecovery } from "./support/recovery.ts";

const NEXT = 1;
const WRITE = 2;
const RAM_END = RAM_BASE + (1 << 20);

/** Prepares the ring; the notification comes after it. */
type Mistake = (disk: RawDisk) => void;

function availableIndex(idx: number): Mistake {
  return ({ queue }) => {
    queue.availIdx = idx;
  };
}

/** Descriptors from slot 0 on, published with head 0. */
function descriptors(...list: readonly (readonly [Segment | undefined, number, number])[]): Mistake {
  return ({ queue }) => {
    for (const [slot, [segment, flags, next]] of list.entries())
      queue.writeDescriptor(slot, { ...(segment ?? { address: RAM_BASE + 0x8000, lengthBytes: 512 }), flags, next });
    queue.publish(0);
  };
}

/** An INDIRECT descriptor of this length at a table with a good read in it. */
function indirect(lengthBytes: number, options: { address?: bigint; flags?: number; next?: number } = {}): Mistake {
  return (disk) => {
    const { address } = disk.table(disk.readRequest(0, 512), RAM_BASE + 0x8000);
    const { flags = INDIRECT, next = 0 } = options;
    disk.queue.writeDescriptor(0, { address: options.address ?? address, lengthBytes, flags, next });
    disk.queue.publish(0);
  };
}

/** An indirect table of these entries. */
function table(
  ...entries: readonly { address?: number; lengthBytes?: number; flags: number; next?: number }[]
): Mistake {
  return ({ queue }) => {
    const at = RAM_BASE + 0x8000;
    for (const [i, entry] of entries.entries())
      queue.writeIndirect(at, i, { address: RAM_BASE + 0x9000, lengthBytes: 16, ...entry });
    queue.writeDescriptor(0, { address: at, lengthBytes: 16 * entries.length, flags: INDIRECT });
    queue.publish(0);
  };
}

/** The ring cannot be trusted any more: DEVICE_NEEDS_RESET. */
const BROKEN: readonly (readonly [title: string, mistake: Mistake, traced: string])[] = [
  ["a loop of 1 descriptor", descriptors([undefined, NEXT, 0]), "DescriptorLoop"],
  ["a loop of 2 descriptors", descriptors([undefined, NEXT, 1], [undefined, NEXT, 0]), "DescriptorLoop"],
  [
    "a loop that a good header leads into",
    (disk) => {
      const { queue } = disk;
      queue.writeDescriptor(0, { ...disk.header(0), flags: NEXT, next: 1 });
      queue.writeDescriptor(1, { ...disk.writable(512), flags: NEXT | WRITE, next: 2 });
      queue.writeDescriptor(2, { ...disk.writable(1), flags: NEXT | WRITE, next: 1 });
      queue.publish(0);
    },
    "DescriptorLoop",
  ],
  ["a head equal to the queue size", ({ queue }) => queue.publish(8), "HeadOutOfRange"],
  ["a head of 0xffff", ({ queue }) => queue.publish(0xffff), "HeadOutOfRange"],
  ["an available index that jumps ahead", availableIndex(9), "AvailableIndexJump"],
  ["an available index that goes back", availableIndex(0xffff), "AvailableIndexJump"],
  ["an available index half way round", availableIndex(0x8000), "AvailableIndexJump"],
  ["next equal to the queue size", descriptors([undefined, NEXT, 8]), "NextOutOfRange"],
  ["next of 0xffff", descriptors([undefined, NEXT, 1], [undefined, NEXT | WRITE, 0xffff]), "NextOutOfRange"],
  ["next beyond an indirect table", table({ flags: NEXT, next: 2 }, { flags: WRITE }), "NextOutOfRange"],
  ["a loop in an indirect table", table({ flags: NEXT, next: 1 }, { flags: NEXT | WRITE, next: 0 }), "DescriptorLoop"],
  ["INDIRECT within an indirect table", table({ flags: NEXT, next: 1 }, { flags: INDIRECT }), "IndirectNested"],
  ["INDIRECT and NEXT on one descriptor", indirect(48, { flags: INDIRECT | NEXT, next: 1 }), "IndirectWithNext"],
  ["an indirect length of 0", indirect(0), "IndirectLength"],
  ["an indirect length of 8", indirect(8), "IndirectLength"],
  ["an indirect length of 17", indirect(17), "IndirectLength"],
  ["an indirect length of 0xffffffff", indirect(0xffff_ffff), "IndirectLength"],
  ["an indirect length of 0xfffffff0", indirect(0xffff_fff0), "IndirectOutsideRam"],
  ["an indirect table at 2^64 - 16", indirect(48, { address: 0xffff_ffff_ffff_fff0n }), "IndirectOutsideRam"],
  ["an indirect table at 2^53", indirect(48, { address: 1n << 53n }), "IndirectOutsideRam"],
  ["an indirect table below RAM", indirect(48, { address: BigInt(RAM_BASE - 16) }), "IndirectOutsideRam"],
  ["an indirect table that leaves RAM", indirect(48, { address: BigInt(RAM_END - 32) }), "IndirectOutsideRam"],
  [
    "a chain without writable buffer",
    (disk) => disk.queue.publish(disk.chain([disk.header(0), disk.readable(new Uint8Array(512))])),
    "NoStatusByte",
  ],
  [
    "a chain whose only writable buffer is empty",
    (disk) => disk.queue.publish(disk.chain([disk.header(0), { ...disk.writable(1), lengthBytes: 0 }])),
    "NoStatusByte",
  ],
  [
    "a readable buffer at the end, after a writable one",
    (disk) => disk.queue.publish(disk.chain([disk.header(0), disk.writable(513), disk.readable(new Uint8Array(16))])),
    "NoStatusByte",
  ],
  ...(
    [
      ["just outside RAM", BigInt(RAM_END)],
      ["below RAM", BigInt(RAM_BASE - 1)],
      ["at 0", 0n],
      ["at 2^53", 1n << 53n],
      ["at 2^64 - 1", 0xffff_ffff_ffff_ffffn],
      ["at 2^32 above RAM", (1n << 32n) + BigInt(RAM_BASE)],
    ] as const
  ).map(([where, address]): (typeof BROKEN)[number] => [
    `a status byte ${where}`,
    (disk) =>
      disk.queue.publish(disk.chain([disk.header(0), disk.writable(512), { address, lengthBytes: 1, writable: true }])),
    "StatusOutsideRam",
  ]),
  [
    "a status byte in a buffer that leaves RAM",
    (disk) => {
      const tail = { address: RAM_END - 512, lengthBytes: 513, writable: true };
      disk.queue.publish(disk.chain([disk.header(0), tail]));
    },
    "StatusOutsideRam",
  ],
];

describe("a broken ring", () => {
  const traced: unknown[] = [];
  let endTrace = (): void => {};
  afterEach(() => {
    endTrace();
    traced.length = 0;
  });

  function listen(): void {
    endTrace = subscribeTrace("virtio_guest_error", (_name, fields) => traced.push(fields["mistake"]));
  }

  for (const [title, mistake, name] of BROKEN) {
    it(`STAT-DEV-003 STAT-DEV-004 by ${title} needs a reset: traced as ${name}`, () => {
      const machine = makeMachine();
      const disk = RawDisk.start(machine, { features: [28, 32] });
      listen();
      mistake(disk);
      const ram = new Uint8Array(machine.memory.bytes);
      disk.notify();
      expect(traced).toEqual([name]);
      expect(machine.registers.status).toBe(0x4f);
      expect([machine.registers.interruptStatus, machine.line.raised]).toEqual([2, true]);
      expect(Buffer.compare(machine.memory.bytes, ram), "RAM is as it was").toBe(0);
      for (let i = 0; i < 3; i++) disk.notify();
      expect(Buffer.compare(machine.memory.bytes, ram), "RAM is as it was after more notifications").toBe(0);
      expectRecovery(machine);
    });

    it(`by ${title} leaves the buffers before it used`, () => {
      const machine = makeMachine();
      const disk = RawDisk.start(machine, { features: [28, 32] });
      const good = disk.readRequest(1, 512);
      disk.queue.publish(disk.chain(good, 5));
      mistake(disk);
      disk.notify();
      const [used] = disk.takeUsed();
      if (name === "AvailableIndexJump") expect(used).toBeUndefined();
      else expect([used, disk.outcome(good, 513).status]).toEqual([{ id: 5, length: 513 }, 0]);
      expect(machine.registers.status).toBe(0x4f);
      expectRecovery(machine);
    });
  }

  it("by INDIRECT that was not negotiated needs a reset: the table is not followed", () => {
    const machine = makeMachine();
    const disk = RawDisk.start(machine, { features: [32] });
    disk.submit(disk.indirectChain(disk.readRequest(0, 512)));
    expect(machine.registers.status).toBe(0x4f);
    expect(disk.takeUsed()).toEqual([]);
    expectRecovery(machine);
  });

  it("is found in a chain of any length up to the size of the queue", () => {
    const machine = makeMachine({ device: { queueSizeMax: 32768 }, ramBytes: 4 << 20 });
    const disk = RawDisk.start(machine, { queueSize: 32768 });
    for (let slot = 0; slot < 32768; slot++)
      disk.queue.writeDescriptor(slot, { address: RAM_BASE, lengthBytes: 1, flags: NEXT, next: (slot + 1) % 32768 });
    disk.submit(0);
    expect(machine.registers.status).toBe(0x4f);
    machine.guest.allocator.reset();
    expectRecovery(machine);
  });

  it("by more buffers in flight than it has descriptors needs a reset", async () => {
    const driver = new HeldDriver();
    const machine = makeMachine({ driver });
    const disk = RawDisk.start(machine, { queueSize: 4 });
    const head = disk.chain(disk.readRequest(0, 512));
    for (let i = 0; i < 5; i++) disk.submit(head);
    expect(driver.held.length).toBe(4);
    expect(machine.registers.status).toBe(0x4f);
    driver.holding = false;
    driver.endAll();
    await new Promise(setImmediate);
    expect(disk.takeUsed()).toEqual([]);
    expectRecovery(machine);
  });
});

describe("a chain of more than 1024 buffers", () => {
  function longChain(disk: RawDisk, count: number, last: Partial<Segment> = {}): { head: number; status: Segment } {
    const status = { ...disk.writable(1), ...last };
    const data = disk.writable(512);
    const segments = [
      disk.header(0, 0),
      ...Array.from({ length: count - 2 }, () => ({ ...data, lengthBytes: 1 })),
      status,
    ];
    return { head: disk.indirectChain(segments), status };
  }

  function start(machine: TestMachine): RawDisk {
    return RawDisk.start(machine, { features: [28, 32] });
  }

  it("SPLIT-DEV-007 is refused with IOERR, and the queue goes on", () => {
    const machine = makeMachine({ ramBytes: 4 << 20 });
    const disk = start(machine);
    for (const count of [1025, 1026, 5000, 32768]) {
      const { head, status } = longChain(disk, count);
      disk.submit(head);
      expect(disk.takeUsed(), String(count)).toEqual([{ id: head, length: 0 }]);
      expect([...disk.bytesOf(status)]).toEqual([1]);
    }
    // Of a writable buffer that was not looked at, nothing is known to be written.
    const readable = disk.readable(new Uint8Array(1));
    const last = disk.writable(1);
    const passedOver = [...new Array<Segment>(1024).fill(readable), disk.writable(8), last];
    const head = disk.indirectChain(passedOver);
    disk.submit(head);
    expect(disk.takeUsed()).toEqual([{ id: head, length: 0 }]);
    expect([...disk.bytesOf(last)]).toEqual([1]);

    const allowed = longChain(disk, 1024);
    disk.submit(allowed.head);
    expect([...disk.bytesOf(allowed.status)]).toEqual([1]); // 1022 bytes are no whole sectors
    expect(disk.takeUsed()).toEqual([{ id: allowed.head, length: 0 }]);
    expect(disk.read(1).status).toBe(0);
    expect(machine.registers.status).toBe(0x0f);
  });

  it("SPLIT-DEV-007 in a queue of that many descriptors as well", () => {
    const machine = makeMachine({ device: { queueSizeMax: 4096 }, ramBytes: 4 << 20 });
    const disk = RawDisk.start(machine, { queueSize: 4096 });
    const data = disk.writable(512);
    const status = disk.writable(1);
    const head = disk.chain([disk.header(0), ...new Array<Segment>(4094).fill({ ...data, lengthBytes: 1 }), status], 0);
    disk.submit(head);
    expect(disk.takeUsed()).toEqual([{ id: head, length: 0 }]);
    expect([...disk.bytesOf(status)]).toEqual([1]);
    const good = disk.readRequest(1, 512);
    expect(disk.perform(good, disk.chain(good, 0)).status).toBe(0);
  });

  it("needs a reset where no byte at its end can say so, or where it has no end", () => {
    const machine = makeMachine({ ramBytes: 4 << 20 });
    const cases: [string, (disk: RawDisk) => number][] = [
      ["readable at the end", (disk) => longChain(disk, 1500, { writable: false }).head],
      ["nothing at the end", (disk) => longChain(disk, 1500, { lengthBytes: 0 }).head],
      ["a status byte outside RAM", (disk) => longChain(disk, 1500, { address: 1n << 60n }).head],
      ["32769 buffers", (disk) => longChain(disk, 32769).head],
    ];
    for (const [title, make] of cases) {
      const disk = start(machine);
      disk.submit(make(disk));
      expect(machine.registers.status, title).toBe(0x4f);
      expect(disk.takeUsed()).toEqual([]);
      expectRecovery(machine);
    }
  });
});
