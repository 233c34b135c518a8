// Several request queues: requests take turns, and each completion is noticed whichever queue it is on.
import { describe, expect, it } from "vitest";
import { BlockRequest, type RequestOwner } from "../../guest/block-request.ts";
import { GuestAllocator, GuestClosedError, InProcessTarget, SplitVirtqueue } from "../../guest/index.ts";
import { RequestQueue } from "../../guest/request-queue.ts";
import { RequestRing } from "../../guest/request-ring.ts";
import { FakeDevice } from "./support/fake-device.ts";

const BASE = 0x4000_0000;

function makeQueues(count: number, ramBytes = 1 << 16) {
  const device = new FakeDevice({ ramBytes });
  const target = new InProcessTarget({ memory: device.memory, region: device, line: device.line });
  const allocator = new GuestAllocator(BASE, ramBytes);
  const notified: number[] = [];
  const rings = Array.from({ length: count }, (_, index) => {
    const notifier = { notify: (queue: number) => void notified.push(queue) };
    const queue = new SplitVirtqueue({
      target,
      allocator,
      notifier,
      index,
      size: 4,
      eventIndex: false,
      indirect: false,
    });
    return new RequestRing({ target, allocator, queue, segmentBytes: 4096 });
  });
  const ended: (number | string)[] = [];
  const queue = new RequestQueue(allocator, rings);
  const push = (sector: number): void => {
    const owner: RequestOwner = {
      requestDone: () => void ended.push(sector),
      requestFailed: (error) => void ended.push((error as Error).name),
    };
    queue.push(new BlockRequest(1, sector, new Uint8Array(512), undefined, owner));
  };
  /** Serves what is available on ring `index`, as a device that sees this queue alone. */
  const serve = (index: number): void => {
    const { queue: ring } = rings[index]!;
    device.queue = { size: 4, ready: 1, desc: ring.descriptorArea, driver: ring.driverArea, device: ring.deviceArea };
    device.lastAvail = device.memory.readU16(ring.deviceArea + 2);
    device.usedIdx = device.lastAvail;
    device.serveAll();
  };
  return { device, allocator, rings, queue, notified, ended, push, serve };
}

describe("RequestQueue over several rings", () => {
  it("MMIO-DRV-032 gives rings their turns, and ends requests of each", () => {
    const { queue, notified, ended, push, serve } = makeQueues(3);
    for (let sector = 0; sector < 5; sector++) push(sector);
    for (let i = 0; i < 3; i++) expect(queue.submitFirst()).toBe(512);
    expect(queue.submitFirst()).toBe(-1); // a ring of 4 has room for one request of three buffers
    queue.kick();
    expect([notified, queue.inFlight]).toEqual([[0, 1, 2], 3]);
    serve(1);
    expect([queue.drain(), ended]).toEqual([1, [1]]);
    expect(queue.submitFirst()).toBe(512);
    queue.kick();
    expect(notified).toEqual([0, 1, 2, 1]);
    serve(2);
    serve(0);
    expect([queue.drain(), ended]).toEqual([2, [1, 0, 2]]);
  });

  it("goes on with the other rings while one is reset, and gives its RAM back", () => {
    const { allocator, queue, ended, push, rings, serve } = makeQueues(2);
    const before = allocator.allocatedCount;
    push(0);
    push(1);
    queue.submitFirst();
    queue.submitFirst();
    queue.kick();
    expect(queue.detach(0, new GuestClosedError("reset"))).toBe(true);
    expect(queue.detach(0, new GuestClosedError("again"))).toBe(false);
    expect(ended).toEqual(["GuestClosedError"]);
    serve(1);
    expect([queue.drain(), ended]).toEqual([1, ["GuestClosedError", 1]]);
    push(2);
    expect(queue.submitFirst()).toBe(512);
    queue.releaseDetached(0);
    expect(allocator.allocatedCount).toBe(before - 1 + 1); // one ring less, one request more
    queue.failAll(new GuestClosedError("the end"));
    queue.release();
    expect([allocator.allocatedCount, rings.length]).toEqual([0, 2]);
  });
});
