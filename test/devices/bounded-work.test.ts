// What one register write can cost: a guest cannot hold up the host, however it fills its rings. Counted, never timed.
import { describe, expect, it } from "vitest";
import type { Clock } from "../../src/base/clock.ts";
import type { IoVector } from "../../src/base/io-vector.ts";
import { NullDriver } from "../../src/block/drivers/null.ts";
import { HeldDriver } from "./support/held-driver.ts";
import { makeMachine, RAM_BASE, type TestMachine } from "./support/machine.ts";
import { RawDisk, type Segment } from "./support/raw-disk.ts";

/** A clock whose yields wait until the test lets them go. */
class StoppedClock implements Clock {
  readonly waiting: (() => void)[] = [];
  now = 0;

  nowMs(): number {
    return this.now;
  }

  setTimer(): () => void {
    throw new Error("a device sets no timer");
  }

  yield(): Promise<void> {
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  /** One turn of the event loop for whoever waits. */
  async turn(): Promise<void> {
    for (const resume of this.waiting.splice(0)) resume();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** A large disk that counts what is moved. */
class CountingDriver extends NullDriver {
  bytes = 0;
  requests = 0;

  constructor() {
    super({ lengthBytes: 2 ** 40, readZeroes: false });
  }

  override read(_offsetBytes: number, vector: IoVector): void {
    this.bytes += vector.byteLength;
    this.requests++;
  }

  override flush(): void {
    this.requests++;
  }
}

function start(
  queueSize: number,
  ramBytes = 8 << 20,
): {
  machine: TestMachine;
  clock: StoppedClock;
  driver: CountingDriver;
  disk: RawDisk;
} {
  const clock = new StoppedClock();
  const driver = new CountingDriver();
  const machine = makeMachine({ driver, clock, ramBytes, device: { queueSizeMax: queueSize } });
  return { machine, clock, driver, disk: RawDisk.start(machine, { queueSize, features: [28, 32] }) };
}

/** The most that one turn may move before it lets others have theirs: docs/architecture.md. */
const TURN_BYTES = 4 << 20;

describe("one notification", () => {
  it("moves 4 MiB and leaves the rest for the next turns of the event loop", async () => {
    const { clock, driver, disk } = start(256);
    const head = disk.chain(disk.readRequest(0, 512 << 10));
    for (let i = 0; i < 256; i++) disk.queue.publish(head);
    disk.notify();
    let before = 0;
    let turns = 0;
    for (; driver.requests < 256; turns++) {
      expect(driver.bytes - before).toBeGreaterThan(0);
      expect(driver.bytes - before).toBeLessThanOrEqual(TURN_BYTES + (512 << 10));
      expect(disk.queue.usedIdx, "what is done is told").toBe(driver.requests);
      expect(clock.waiting.length, "one turn is asked for").toBe(1);
      before = driver.bytes;
      await clock.turn();
    }
    expect(turns).toBeGreaterThan(20);
    expect(disk.queue.usedIdx).toBe(256);
    await clock.turn();
    expect(clock.waiting).toEqual([]);
  });

  it("carries out about a thousand requests of no data", async () => {
    const { clock, driver, disk } = start(32768);
    const head = disk.chain([disk.header(4), disk.writable(1)]);
    for (let i = 0; i < 32768; i++) disk.queue.publish(head);
    disk.notify();
    expect(driver.requests).toBeGreaterThan(500);
    expect(driver.requests).toBeLessThan(1100);
    const first = driver.requests;
    for (let i = 0; i < 10; i++) disk.notify(); // each is the guest's own time
    expect(driver.requests).toBeLessThanOrEqual(11 * first);
    while (driver.requests < 32768) await clock.turn();
    expect(disk.queue.usedIdx).toBe(32768);
  });

  it("ends after a millisecond where the disk is slow, and goes on in the next turn", async () => {
    const { clock, driver, disk } = start(256);
    const head = disk.chain(disk.readRequest(0, 512));
    const read = driver.read.bind(driver);
    driver.read = (offsetBytes, vector) => {
      clock.now += 0.3;
      read(offsetBytes, vector);
    };
    for (let i = 0; i < 50; i++) disk.queue.publish(head);
    disk.notify();
    const seen = [disk.queue.usedIdx];
    while (disk.queue.usedIdx < 50) {
      await clock.turn();
      seen.push(disk.queue.usedIdx);
    }
    // The clock is asked at every 8th request, and says for the first time at the second look that time has passed.
    expect(seen).toEqual([16, 32, 48, 50]);
  });

  it("reads about 16 thousand descriptors, whatever they say", async () => {
    const { clock, disk, machine } = start(4096);
    // Every descriptor but the last is of length 0, and the whole queue is one chain: 4096 times 4096 descriptors.
    const nothing: Segment = { address: 0, lengthBytes: 0 };
    const head = disk.chain([...new Array<Segment>(4095).fill(nothing), disk.writable(1)], 0);
    for (let i = 0; i < 4096; i++) disk.queue.publish(head);
    disk.notify();
    const { usedIdx } = disk.queue;
    expect(usedIdx).toBeGreaterThan(0);
    expect(usedIdx).toBeLessThanOrEqual(5);
    await clock.turn();
    expect(disk.queue.usedIdx - usedIdx).toBeLessThanOrEqual(5);
    expect(machine.registers.status).toBe(0x0f);
  });

  it("fills 20 bytes for GET_ID and none for FLUSH, if the buffers come to terabytes", () => {
    const { disk, machine, driver } = start(256, 64 << 20);
    const huge: Segment = { address: RAM_BASE + (1 << 20), lengthBytes: 60 << 20, writable: true };
    const before = machine.memory.bytes[(1 << 20) + 20];
    for (const [type, length] of [
      [8, 20],
      [4, 0],
    ] as const) {
      const request = [disk.header(type), ...new Array<Segment>(1000).fill(huge), disk.writable(1)];
      for (let i = 0; i < 10; i++) expect(disk.indirectChain(request)).toBeLessThan(256);
      const { status, length: used } = perform(disk, request);
      expect([status, used], String(type)).toEqual([0, length]);
    }
    expect(machine.memory.bytes[(1 << 20) + 20]).toBe(before);
    expect(driver.bytes).toBe(0);
  });

  it("refuses data beyond seg_max · size_max instead of moving it", () => {
    const { disk, driver } = start(256, 64 << 20);
    const large: Segment = { address: RAM_BASE + (1 << 20), lengthBytes: 32 << 20, writable: true };
    const request = (count: number): Segment[] => [
      disk.header(0),
      ...new Array<Segment>(count).fill(large),
      disk.writable(1),
    ];
    expect(perform(disk, request(7)).status).toBe(0);
    expect(driver.bytes).toBe(7 * (32 << 20));
    for (const count of [8, 100, 1000])
      expect(perform(disk, request(count)), String(count)).toMatchObject({ status: 1 });
    expect(driver.requests).toBe(1);
  });

  it("ends even while the ring is fed from elsewhere at every step", async () => {
    const { clock, disk, driver, machine } = start(256);
    const head = disk.chain([disk.header(4), disk.writable(1)]);
    const usedIdx = disk.queue.layout.usedRing + 2;
    let feeding = true;
    machine.memory.onDeviceWrite((address) => {
      if (feeding && address === usedIdx) disk.queue.publish(head);
    });
    disk.submit(head);
    expect(driver.requests).toBeLessThan(1100);
    expect(clock.waiting.length).toBe(1);
    await clock.turn();
    expect(driver.requests).toBeLessThan(2200);
    feeding = false;
    await clock.turn();
    expect(disk.queue.usedIdx).toBe(driver.requests);
  });
});

describe("requests under way", () => {
  it("are at most 1024: the others wait in the ring until some are done", async () => {
    const driver = new HeldDriver();
    const machine = makeMachine({ driver, ramBytes: 4 << 20, device: { queueSizeMax: 4096 } });
    const disk = RawDisk.start(machine, { queueSize: 4096 });
    const head = disk.chain(disk.readRequest(0, 512));
    for (let i = 0; i < 3000; i++) disk.queue.publish(head);
    disk.notify();
    const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
    for (let i = 0; i < 5; i++) await turn();
    expect(driver.held.length).toBe(1024);
    driver.held[0]!.end();
    await turn();
    expect(driver.held.length).toBe(1024);
    expect(disk.queue.usedIdx).toBe(1);
    while (driver.held.length > 0) {
      expect(driver.held.length).toBeLessThanOrEqual(1024);
      driver.endAll();
      for (let i = 0; i < 5; i++) await turn();
    }
    expect(disk.queue.usedIdx).toBe(3000);
    expect(machine.registers.status).toBe(0x0f);
  });

  it("cost a reset no memory, whatever the size of their buffers", () => {
    const driver = new HeldDriver(1 << 11);
    const machine = makeMachine({ driver, ramBytes: 16 << 20 });
    const disk = RawDisk.start(machine, { queueSize: 256 });
    const head = disk.chain(disk.readRequest(0, 1 << 20));
    for (let i = 0; i < 256; i++) disk.queue.publish(head);
    disk.notify();
    const before = process.memoryUsage().arrayBuffers;
    machine.registers.status = 0;
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 20);
  });
});

function perform(disk: RawDisk, request: readonly Segment[]): { status: number; length: number } {
  const head = disk.indirectChain(request);
  disk.submit(head);
  const [used] = disk.takeUsed();
  if (used?.id !== head) throw new Error(`used ${used?.id} instead of ${head}`);
  return { status: disk.bytesOf(request.at(-1)!)[0]!, length: used.length };
}
