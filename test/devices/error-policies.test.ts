// What a device does when the disk fails: rerror and werror, and requests that wait for the machine to go on. docs/reference/monitor.md §4.
import { describe, expect, it } from "vitest";
import type { Errno } from "../../src/base/errors.ts";
import type { ErrorAction, ErrorPolicy } from "../../src/block/error-policy.ts";
import type { IoErrorReport } from "../../src/block/io-errors.ts";
import { HeldDriver } from "./support/held-driver.ts";
import { makeMachine, type TestMachine } from "./support/machine.ts";
import { RawDisk } from "./support/raw-disk.ts";

interface Scene {
  readonly machine: TestMachine;
  readonly driver: HeldDriver;
  readonly disk: RawDisk;
  readonly reports: IoErrorReport[];
}

/** A disk whose requests fail at once with `errno`. */
function failingDisk(errno: Errno, policies: { rerror?: ErrorPolicy; werror?: ErrorPolicy } = {}): Scene {
  const driver = new HeldDriver();
  driver.holding = false;
  driver.errno = errno;
  const machine = makeMachine({ driver });
  Object.assign(machine.backend.errors, { rerror: "auto", werror: "auto", ...policies });
  const reports: IoErrorReport[] = [];
  machine.backend.errors.onError((report) => reports.push(report));
  return { machine, driver, disk: RawDisk.start(machine, { queueSize: 8, features: [9, 32] }), reports };
}

const write = (disk: RawDisk) => disk.writeRequest(3, new Uint8Array(512).fill(7));

describe("a failed request", () => {
  const rows: [ErrorPolicy, Errno, read: ErrorAction, write: ErrorAction][] = [
    ["auto", "EIO", "report", "report"],
    ["auto", "ENOSPC", "report", "stop"],
    ["report", "ENOSPC", "report", "report"],
    ["ignore", "EIO", "ignore", "ignore"],
    ["stop", "EIO", "stop", "stop"],
    ["enospc", "EIO", "report", "report"],
    ["enospc", "ENOSPC", "stop", "stop"],
  ];
  it.each(rows)("under policy %s, with %s: read %s, write and flush %s", (policy, errno, read, change) => {
    const { machine, disk, reports } = failingDisk(errno, { rerror: policy, werror: policy });
    const cases = [
      ["read", read, disk.readRequest(3, 512)],
      ["write", change, write(disk)],
      ["write", change, [disk.header(4), disk.writable(1)]],
    ] as const;
    for (const [operation, action, request] of cases) {
      reports.length = 0;
      disk.submit(disk.chain(request));
      expect(reports.map((report) => [report.operation, report.action, report.error.errno])).toEqual([
        [operation, action, errno],
      ]);
      expect(disk.takeUsed()).toHaveLength(action === "stop" ? 0 : 1);
      const statusAt = request.at(-1)!;
      const status = machine.memory.readU8(Number(statusAt.address));
      expect(status).toBe(action === "stop" ? 0xee : action === "ignore" ? 0 : 1);
    }
  });

  it("that stopped the machine is sent again, in order, when it goes on", () => {
    const { machine, driver, disk, reports } = failingDisk("ENOSPC");
    disk.submit(disk.chain(write(disk)));
    disk.submit(disk.chain(disk.writeRequest(5, new Uint8Array(512).fill(9))));
    expect([disk.takeUsed(), machine.line.raised, machine.backend.errors.status]).toEqual([[], false, "nospace"]);
    driver.errno = undefined;
    driver.log.length = 0;
    machine.backend.errors.retry();
    expect(driver.log).toEqual(["write 1536+512", "write 2560+512"]);
    expect(disk.takeUsed()).toHaveLength(2);
    expect(machine.line.raised).toBe(true);
    expect(driver.memory.bytes[1536]).toBe(7);
    expect(reports).toHaveLength(2);
  });

  it("that fails again stops the machine again", () => {
    const { machine, disk, reports } = failingDisk("EIO", { werror: "stop" });
    disk.submit(disk.chain(write(disk)));
    machine.backend.errors.retry();
    machine.backend.errors.retry();
    expect(reports.map(({ action }) => action)).toEqual(["stop", "stop", "stop"]);
    expect(disk.takeUsed()).toEqual([]);
    expect(machine.backend.errors.status).toBe("failed");
  });

  it("that waits is forgotten when the device is reset", () => {
    const { machine, driver, disk } = failingDisk("EIO", { werror: "stop" });
    disk.submit(disk.chain(write(disk)));
    disk.registers.status = 0;
    driver.errno = undefined;
    driver.log.length = 0;
    machine.backend.errors.retry();
    expect(driver.log).toEqual([]);
    expect(machine.line.raised).toBe(false);
  });

  it("that waits does not keep others from being taken", () => {
    const { driver, disk } = failingDisk("EIO", { werror: "stop" });
    disk.submit(disk.chain(write(disk)));
    driver.errno = undefined;
    disk.submit(disk.chain(disk.readRequest(0, 512)));
    expect(disk.takeUsed()).toHaveLength(1);
  });
});

describe("IoErrors", () => {
  it.each([
    [{}, true],
    [{ werror: "report" }, false],
    [{ werror: "ignore" }, false],
    [{ werror: "report", rerror: "stop" }, true],
    [{ werror: "stop" }, true],
    [{ werror: "enospc" }, true],
  ] as const)("has a status to show under %j: %s", (policies, enabled) => {
    const { machine } = failingDisk("EIO", policies);
    expect(machine.backend.errors.statusEnabled).toBe(enabled);
  });
});
