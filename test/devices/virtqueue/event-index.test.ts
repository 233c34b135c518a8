// Who notifies whom, and when not: VIRTIO 1.4 §2.7.7 and §2.7.10, with and without EVENT_IDX.
import { describe, expect, it } from "vitest";
import { Random } from "../../support/simulation.ts";
import { makeMachine } from "../support/machine.ts";
import { RawDisk } from "../support/raw-disk.ts";

/** A disk, and how to have it use some buffers at once; the answer is whether it interrupted. */
function suppressed(features: readonly number[]): { disk: RawDisk; complete: (count: number) => boolean } {
  const disk = RawDisk.start(makeMachine(), { features, queueSize: 16 });
  const head = disk.chain([disk.header(4), disk.writable(1)]);
  const complete = (count: number): boolean => {
    disk.registers.interruptAck = 1;
    for (let i = 0; i < count; i++) disk.queue.publish(head);
    disk.notify();
    return disk.registers.interruptStatus === 1;
  };
  return { disk, complete };
}

describe("interrupt suppression without EVENT_IDX", () => {
  it("SPLIT-DEV-017 SPLIT-DEV-018 goes by avail.flags", () => {
    const { disk, complete } = suppressed([32]);
    expect(complete(1)).toBe(true);
    disk.queue.availFlags = 1;
    expect(complete(1)).toBe(false);
    expect(complete(3)).toBe(false);
    disk.queue.availFlags = 0;
    expect(complete(1)).toBe(true);
    expect(disk.queue.usedIdx).toBe(6);
  });

  it("SPLIT-DEV-016 does not look at used_event", () => {
    const { disk, complete } = suppressed([32]);
    for (const event of [0x7fff, 1, 0xffff]) {
      disk.queue.usedEvent = event;
      expect(complete(1)).toBe(true);
    }
  });

  it("looks at avail.flags once the used index is visible, so that no driver waits in vain", () => {
    const { disk, complete } = suppressed([32]);
    const { queue, machine } = disk;
    queue.availFlags = 1;
    machine.memory.onDeviceWrite((address) => {
      if (address === queue.layout.usedRing + 2) queue.availFlags = 0; // the driver goes to sleep
    });
    expect(complete(1)).toBe(true);
  });
});

describe("interrupt suppression with EVENT_IDX", () => {
  it("SPLIT-DEV-019 does not look at avail.flags", () => {
    const { disk, complete } = suppressed([29, 32]);
    disk.queue.availFlags = 1;
    disk.queue.usedEvent = 0;
    expect(complete(1)).toBe(true);
  });

  it("SPLIT-DEV-020 SPLIT-DEV-021 interrupts when the buffer at used_event is used, and not before", () => {
    const { disk, complete } = suppressed([29, 32]);
    expect(complete(1)).toBe(true); // used_event is 0
    disk.queue.usedEvent = 6;
    for (let idx = 1; idx <= 5; idx++) expect(complete(1), `entry ${idx}`).toBe(false);
    expect(complete(1)).toBe(true);
    expect(complete(1)).toBe(false);
    disk.queue.usedEvent = 9;
    expect(complete(3)).toBe(true); // 8, 9, 10: in the middle of a batch
    disk.queue.usedEvent = 10;
    expect(complete(3)).toBe(false); // 11, 12, 13: past it
  });

  it("agrees with counting, over random batches and events, through the wrap at 65536", () => {
    const { disk, complete } = suppressed([29, 32]);
    const { queue } = disk;
    const random = new Random(29);
    let used = 0;
    let interrupts = 0;
    while (used < 140_000) {
      const nearby = (used - 4 + random.below(24)) & 0xffff;
      const event = random.chance(0.9) ? nearby : random.below(0x10000);
      queue.usedEvent = event;
      const count = 1 + random.below(16);
      // The indices of the entries that are about to be placed.
      let due = false;
      for (let i = 0; i < count; i++) due ||= ((used + i) & 0xffff) === event;
      const interrupted = complete(count);
      if (interrupted !== due) throw new Error(`used ${used} and ${count} more, used_event ${event}: ${interrupted}`);
      if (interrupted) interrupts++;
      used += count;
    }
    expect(queue.usedIdx).toBe(used & 0xffff);
    expect(interrupts).toBeGreaterThan(1000);
  });

  it("looks at used_event once the used index is visible, so that no driver waits in vain", () => {
    const { disk, complete } = suppressed([29, 32]);
    const { queue, machine } = disk;
    complete(3);
    queue.usedEvent = 100;
    machine.memory.onDeviceWrite((address) => {
      if (address === queue.layout.usedRing + 2) queue.usedEvent = 3; // the driver waits for what comes next
    });
    expect(complete(1)).toBe(true);
  });
});

describe("notification suppression", () => {
  it("SPLIT-DEV-029 keeps used.flags 0 and asks in avail_event for the next buffer, through the wrap", () => {
    const { disk, complete } = suppressed([29, 32]);
    const { queue } = disk;
    let sent = 0;
    for (let round = 0; sent < 66_000; round++) {
      const count = 1 + (round % 16);
      complete(count);
      sent += count;
      if (queue.availEvent !== (sent & 0xffff) || queue.usedFlags !== 0) {
        throw new Error(`avail_event ${queue.availEvent}, flags ${queue.usedFlags} after ${sent}`);
      }
    }
    expect(sent).toBeGreaterThan(0x10000);
  });

  it("SPLIT-DEV-030 finds buffers that came without a notification at the next one", () => {
    const { disk, complete } = suppressed([29, 32]);
    complete(1);
    const head = 0;
    disk.queue.publish(head);
    disk.queue.publish(head);
    expect(disk.queue.usedIdx).toBe(1);
    complete(1);
    expect(disk.queue.usedIdx).toBe(4);
  });

  it("finds a buffer that comes while it arms avail_event, which the driver does not notify of", () => {
    const { disk, complete } = suppressed([29, 32]);
    const { queue, machine } = disk;
    const availEvent = queue.layout.usedRing + 4 + 8 * queue.size;
    let races = 5;
    machine.memory.onDeviceWrite((address) => {
      // The driver compares with the old avail_event: no notification. The device must look again after arming.
      if (address === availEvent && races-- > 0) queue.publish(0);
    });
    complete(1);
    expect(queue.usedIdx).toBe(6);
    expect(queue.availEvent).toBe(6);
  });

  it("finds without EVENT_IDX a buffer that comes while it returns the one before", () => {
    const { disk, complete } = suppressed([32]);
    const { queue, machine } = disk;
    let races = 5;
    machine.memory.onDeviceWrite((address) => {
      if (address === queue.layout.usedRing + 2 && races-- > 0) queue.publish(0);
    });
    complete(1);
    expect(queue.usedIdx).toBe(6);
  });
});
