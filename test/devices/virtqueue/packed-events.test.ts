// Who notifies whom over a packed ring, and when not: VIRTIO 1.4 §2.8.10 and §2.8.14, with and without EVENT_IDX.
import { describe, expect, it } from "vitest";
import { LAP_1, LAP_2, NEXT, PackedRing, WRITE } from "../support/packed-ring.ts";

describe("event suppression of a packed ring", () => {
  /** Uses two descriptors a buffer, as many buffers as are asked for, in one batch; says whether it interrupts. */
  function suppressed(eventIndex: boolean): { ring: PackedRing; complete: (buffers: number) => boolean } {
    const ring = new PackedRing({ size: 8, eventIndex });
    let unit = 0;
    const complete = (buffers: number): boolean => {
      const flags = (at: number): number => (Math.floor(at / 8) % 2 === 0 ? LAP_1 : LAP_2);
      for (let i = 0; i < buffers; i++, unit += 2) {
        ring.write((unit + 1) % 8, { flags: flags(unit + 1) | WRITE });
        ring.write(unit % 8, { flags: flags(unit) | NEXT });
      }
      for (let i = 0; i < buffers; i++) ring.queue.push(ring.take(), 1);
      return ring.queue.publish();
    };
    return { ring, complete };
  }

  it("PACK-DEV-020 PACK-DEV-024 goes by its flags, and by nothing that is reserved", () => {
    const { ring, complete } = suppressed(false);
    const { memory, layout } = ring.place;
    const answers: boolean[] = [];
    for (const flags of [0, 1, 2, 3, 0xfffc, 0xfffd]) {
      memory.writeU16(layout.driverArea + 2, flags);
      answers.push(complete(1));
    }
    expect(answers).toEqual([true, false, true, true, true, false]);
  });

  it("PACK-DEV-021 PACK-DEV-025 interrupts at the slot that was asked for, also in mid-batch, and once a lap at most", () => {
    const { ring, complete } = suppressed(true);
    const { memory, layout } = ring.place;
    complete(4); // a lap
    memory.writeU16(layout.driverArea + 2, 2);
    memory.writeU16(layout.driverArea, 5 | 0x8000); // slot 5 of the third lap: a slot that is passed over
    expect([1, 1, 1, 1].map(complete)).toEqual([false, false, false, false]); // the second
    expect([1, 1, 1, 1].map(complete)).toEqual([false, false, true, false]);
    memory.writeU16(layout.driverArea, 2); // of the fourth
    expect(complete(4)).toBe(true);
    expect(complete(4)).toBe(false);
    memory.writeU16(layout.driverArea, 7); // the end of the sixth
    expect(complete(3)).toBe(false);
    expect(complete(3)).toBe(true);
    memory.writeU16(layout.driverArea, 0x7fff); // no slot has this number
    expect([4, 4, 4].map(complete)).toEqual([false, false, false]);
  });

  it("PACK-DEV-022 PACK-DEV-023 asks for notifications with reserved bits 0, and leaves the driver's structure alone", () => {
    for (const eventIndex of [false, true]) {
      const { ring, complete } = suppressed(eventIndex);
      const { memory, layout } = ring.place;
      memory.writeU32(layout.driverArea, 0x0001_1234);
      memory.writeU32(layout.deviceArea, 0xffff_ffff);
      const asked: number[] = [];
      for (let i = 0; i < 5; i++) {
        expect(ring.queue.rearm()).toBe(false);
        asked.push(memory.readU32(layout.deviceArea));
        complete(1);
      }
      const [lap1, lap2] = [0x2_8000, 0x2_0000];
      expect(asked).toEqual(eventIndex ? [lap1, lap1 + 2, lap1 + 4, lap1 + 6, lap2] : [0, 0, 0, 0, 0]);
      expect(memory.readU32(layout.driverArea)).toBe(0x0001_1234);
    }
  });

  it("finds a buffer that comes while it arms, and a driver that goes to sleep as it publishes", () => {
    const { ring, complete } = suppressed(true);
    const { memory, layout } = ring.place;
    let armed = false;
    memory.writeU16(layout.driverArea + 2, 1);
    memory.onDeviceWrite((address) => {
      if (address === layout.deviceArea) {
        armed = true;
        ring.write(2, { flags: LAP_1 });
      } else if (address === layout.descriptorArea + 14) {
        memory.writeU16(layout.driverArea + 2, 0);
      }
    });
    expect(complete(1)).toBe(true);
    expect(ring.queue.rearm()).toBe(true);
    expect(armed).toBe(true);
  });
});
