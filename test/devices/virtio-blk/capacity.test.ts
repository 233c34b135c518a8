// A disk that changes its size under the driver's hands: VIRTIO 1.4 §5.2.6.2, §2.5, §3.2.1.
import { describe, expect, it } from "vitest";
import { HeldDriver } from "../support/held-driver.ts";
import { makeMachine } from "../support/machine.ts";
import { RawDisk } from "../support/raw-disk.ts";

describe("the capacity", () => {
  it("BLK-DEV-035 BLK-DEV-036 INIT-DEV-003 follows a disk that grows: new sectors can be used, and the driver is told", async () => {
    const machine = makeMachine();
    const disk = RawDisk.start(machine);
    expect(disk.read(200).status).toBe(1);
    disk.registers.interruptAck = 3;
    await machine.node.resize(512 * 256);
    expect(disk.registers.readConfig(0, 4)).toBe(256);
    expect(disk.registers.interruptStatus).toBe(2);
    expect(disk.write(200, new Uint8Array(512).fill(7)).status).toBe(0);
    expect(disk.read(200).data).toEqual(new Uint8Array(512).fill(7));
    expect(disk.read(256).status).toBe(1);
  });

  it("follows a disk that shrinks: what is gone is IOERR", async () => {
    const machine = makeMachine();
    const disk = RawDisk.start(machine);
    await machine.node.resize(512 * 16);
    expect(disk.registers.readConfig(0, 4)).toBe(16);
    expect(disk.read(15).status).toBe(0);
    expect(disk.read(16)).toMatchObject({ status: 1, length: 0 });
    expect(disk.read(15, 1024).status).toBe(1);
  });

  it("holds requests while it changes, and checks them against the new size", async () => {
    const driver = new HeldDriver();
    const machine = makeMachine({ driver });
    const disk = RawDisk.start(machine, { queueSize: 16 });
    const slow = disk.readRequest(0, 512);
    disk.submit(disk.chain(slow));
    const resized = machine.node.resize(512 * 16);
    const kept = disk.readRequest(1, 512);
    const gone = disk.readRequest(100, 512);
    disk.submit(disk.chain(kept));
    disk.submit(disk.chain(gone));
    expect(driver.log).toEqual(["read 0+512"]);
    driver.holding = false;
    driver.endAll();
    await resized;
    await new Promise(setImmediate);
    expect(
      disk
        .takeUsed()
        .map(({ id }) => id)
        .sort(),
    ).toEqual([0, 3, 6]);
    expect([slow, kept, gone].map((request) => disk.outcome(request, 0).status)).toEqual([0, 0, 1]);
  });

  it("tells a driver that has not said DRIVER_OK nothing, but shows it the new size", async () => {
    const machine = makeMachine();
    RawDisk.start(machine, { driverOk: false });
    await machine.node.resize(512 * 17);
    expect([machine.registers.interruptStatus, machine.line.raised]).toEqual([0, false]);
    expect(machine.registers.readConfig(0, 4)).toBe(17);
  });
});
