// An image in a block graph is locked by the permissions that are in use, as qemu-system 7.2 was seen to do it: bytes, texts, both directions.
import {
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { QmpError } from "../../../../src/base/errors.ts";
import { IoVector } from "../../../../src/base/io-vector.ts";
import { BlockBackend } from "../../../../src/block/backend.ts";
import { fileOpener } from "../../../../src/block/drivers/file/file-opener.ts";
import { memoryOpener } from "../../../../src/block/drivers/memory-openers.ts";
import { rawOpener } from "../../../../src/block/drivers/raw-opener.ts";
import { BlockGraph } from "../../../../src/block/graph.ts";
import { devicePermissions, PERM_ALL, PERM_CONSISTENT_READ, PERM_WRITE } from "../../../../src/block/permissions.ts";
import { describeWithTools } from "../../../support/tools.ts";
import { run, useCompanions } from "./support/processes.ts";
import { useTemporaryFolder } from "./support/temporary-folder.ts";

const MIB = 1 << 20;
const DISK = ["OFDLCK READ 100-101", "OFDLCK READ 201-201"];

const inFolder = useTemporaryFolder();
const companions = useCompanions();
let graph: BlockGraph;
const backends: BlockBackend[] = [];
beforeEach(() => {
  writeFileSync(inFolder("a.img"), new Uint8Array(MIB));
  graph = new BlockGraph({ drivers: [fileOpener(), rawOpener, memoryOpener] });
});
afterEach(async () => {
  for (const backend of backends.splice(0)) backend.close();
  await graph.close();
});

async function add(name: string, more: object = {}): Promise<void> {
  await graph.add({ driver: "file", "node-name": name, filename: inFolder("a.img"), ...more });
}

/** A guest's disk on the node. */
function disk(name: string, shareRw = false): BlockBackend {
  const node = graph.node(name)!;
  return use(name, devicePermissions(node.readOnly, shareRw));
}

function use(name: string, permissions: { needs: number; shares: number }): BlockBackend {
  const backend = new BlockBackend({ name: "", node: graph.node(name)!, permissions });
  backends.push(backend);
  return backend;
}

function remove(backend: BlockBackend): void {
  backends.splice(backends.indexOf(backend), 1);
  backend.close();
}

function refusal(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(QmpError);
    expect((error as QmpError).hint).toBe(`Is another process using the image [${inFolder("a.img")}]?`);
    return (error as QmpError).message;
  }
  return expect.fail("succeeds");
}

function locks(): string[] {
  const { ino } = statSync(inFolder("a.img"));
  return readFileSync("/proc/locks", "latin1")
    .split("\n")
    .map((line) => line.split(/\s+/))
    .filter((fields) => fields[5]?.endsWith(`:${ino}`))
    .map((fields) => `${fields[1]} ${fields[3]} ${fields[6]}-${fields[7]}`)
    .sort();
}

async function zeroBytes(name: string): Promise<number> {
  const { driver } = graph.node(name)!;
  const status = await driver.blockStatus(0, driver.lengthBytes);
  return status.zero ? status.lengthBytes : 0;
}

describeWithTools(["perl"], "Locks of an image in a graph", () => {
  it("are none as long as nobody uses it, so that it can be opened twice", async () => {
    await add("f0");
    await add("f1");
    expect(locks()).toEqual([]);
  });

  it("are the bytes of what its users need and do not share, and go with them", async () => {
    await add("f0");
    const steps: [number, number, string[]][] = [
      [PERM_CONSISTENT_READ, PERM_ALL, ["OFDLCK READ 100-100"]],
      [PERM_CONSISTENT_READ | PERM_WRITE, PERM_ALL, ["OFDLCK READ 100-101"]],
      [PERM_CONSISTENT_READ | PERM_WRITE, PERM_ALL & ~PERM_WRITE, DISK],
      [PERM_ALL, 0, ["OFDLCK READ 100-103", "OFDLCK READ 200-203"]],
      [PERM_WRITE, PERM_CONSISTENT_READ, ["OFDLCK READ 101-101", "OFDLCK READ 201-203"]],
      [0, PERM_ALL, []],
    ];
    const backend = use("f0", { needs: 0, shares: PERM_ALL });
    for (const [needs, shares, bytes] of steps) {
      backend.setPermissions({ needs, shares });
      expect(locks()).toEqual(bytes);
    }
    backend.setPermissions(devicePermissions(false, false));
    remove(backend);
    expect(locks()).toEqual([]);
  });

  it("come through raw, and stay while a node above takes another's place", async () => {
    await add("f0");
    await graph.add({ driver: "raw", "node-name": "r", file: "f0" });
    disk("r");
    expect(locks()).toEqual(DISK);
    await graph.reopen([{ driver: "raw", "node-name": "r", file: "f0", offset: 512 }]);
    expect(locks()).toEqual([...DISK, "OFDLCK READ 203-203"]);
    await graph.add({ driver: "memory", "node-name": "m", size: MIB });
    await graph.reopen([{ driver: "raw", "node-name": "r", file: "m" }]);
    expect(locks()).toEqual([]);
  });

  it.each([
    ["two disks", false, false, {}, 'Failed to get "write" lock'],
    ["two disks of which the first shares", true, false, {}, 'Failed to get shared "write" lock'],
    ["two disks of which the second shares", false, true, {}, 'Failed to get "write" lock'],
    ["two disks that share", true, true, {}, undefined],
    ["a disk and a read-only one", false, false, { "read-only": true }, 'Failed to get shared "write" lock'],
    ["a disk and a read-only one that shares", false, true, { "read-only": true }, undefined],
  ])("keep two nodes on one file apart: %s", async (_what, first, second, more, text) => {
    await add("f0");
    await add("f1", more);
    disk("f0", first);
    const before = locks();
    if (text === undefined) {
      disk("f1", second);
      return;
    }
    expect(refusal(() => disk("f1", second))).toBe(text);
    expect(locks()).toEqual(before);
    remove(backends[0]!);
    disk("f1", second);
  });

  it("are none with locking=off and with force-share", async () => {
    await add("f0", { locking: "off" });
    await add("f1", { "force-share": true, "read-only": true });
    disk("f0");
    disk("f1");
    expect(locks()).toEqual([]);
  });

  it("leave no image to be made anew in which somebody reads", async () => {
    await add("f0");
    use("f0", { needs: PERM_CONSISTENT_READ, shares: PERM_ALL });
    const made = graph.create({ driver: "file", filename: inFolder("a.img"), size: 512 });
    await expect(made).rejects.toThrow(/^Failed to get shared "consistent read" lock$/);
    expect(statSync(inFolder("a.img")).size).toBe(MIB);
  });
});

describeWithTools(["perl"], "Perl for the locks of an image in a graph", () => {
  /** A perl that notes each start, and ends without a word where its arguments hold `fails`. */
  function countingPerl(fails: string): void {
    const script = `#!/bin/sh\necho start >>"${inFolder("starts")}"\ncase "$*" in *${fails}*) exit 1;; esac\nexec perl "$@"\n`;
    writeFileSync(inFolder("perl"), script, { mode: 0o755 });
    writeFileSync(inFolder("starts"), "");
  }

  function starts(): number {
    return readFileSync(inFolder("starts"), "latin1").split("\n").length - 1;
  }

  beforeEach(() => {
    countingPerl("nothing");
    graph = new BlockGraph({ drivers: [fileOpener({ perl: inFolder("perl") })] });
  });

  it("is started once for each user's locks, once before for all of a file system, and never to let all of them go", async () => {
    await add("f0");
    expect(starts()).toBe(1);
    for (let round = 1; round <= 3; round++) {
      await add(`f${round}`);
      const backend = disk(`f${round}`);
      expect(locks()).toEqual(DISK);
      expect(starts()).toBe(1 + round);
      remove(backend);
      expect(locks()).toEqual([]);
    }
    expect(starts()).toBe(4);
  });

  it("keeps what is still needed when it lets the rest go", async () => {
    await add("f0");
    const backend = disk("f0");
    backend.setPermissions({ needs: PERM_CONSISTENT_READ, shares: PERM_ALL });
    expect(locks()).toEqual(["OFDLCK READ 100-100"]);
    backend.setPermissions({ needs: 0, shares: PERM_ALL });
    expect(locks()).toEqual([]);
    backend.setPermissions(devicePermissions(false, false));
    expect(locks()).toEqual(DISK);
  });

  it("is asked again after locks could not be had, and then there is a lock file", async () => {
    await add("f0");
    countingPerl("drops");
    expect(() => disk("f0")).toThrow(/^Could not lock '.*': .* ended with 1$/);
    countingPerl("open");
    await add("f1", { "read-only": true });
    expect(starts()).toBe(1);
    expect(readdirSync(inFolder(".")).filter((name) => name.includes("vblk-lock"))).toHaveLength(1);
  });
});

describeWithTools(["perl"], "Zeroes that are known of an image without a lock", () => {
  beforeEach(() => {
    writeFileSync(inFolder("a.img"), "");
    truncateSync(inFolder("a.img"), MIB);
  });

  function changedByOthers(): void {
    const fd = openSync(inFolder("a.img"), "r+");
    writeSync(fd, new Uint8Array(512).fill(7), 0, 512, 4096);
    closeSync(fd);
  }

  it("are its holes, as long as nobody has changed it", async () => {
    await add("f0");
    expect(await zeroBytes("f0")).toBe(MIB);
    changedByOthers();
    expect(await zeroBytes("f0")).toBe(0);
  });

  it("still hold when a disk locks it, unless it has changed meanwhile", async () => {
    await add("f0");
    await add("f1");
    for (const name of ["f0", "f1"]) expect(await zeroBytes(name)).toBe(MIB);
    remove(disk("f0"));
    disk("f0");
    expect(await zeroBytes("f0")).toBe(MIB);
    remove(backends[0]!);
    changedByOthers();
    disk("f1");
    expect(await zeroBytes("f1")).toBe(0);
  });

  it("are not gone by where another node of the same file has written", async () => {
    await add("f0");
    await add("f1");
    const [one, other] = [disk("f0", true), disk("f1", true)];
    await one.write(0, IoVector.of(new Uint8Array(4096).fill(7)));
    await other.writeZeroes(0, MIB, { mayUnmap: false });
    expect(readFileSync(inFolder("a.img")).every((byte) => byte === 0)).toBe(true);
    // What was zero has not been written to.
    expect(statSync(inFolder("a.img")).blocks).toBeLessThan(MIB / 512 / 4);
  });
});

describeWithTools(["perl", "qemu-io", "qemu-img"], "Locks of an image in a graph and QEMU's tools", () => {
  const hint = (): string => `Is another process using the image [${inFolder("a.img")}]?`;

  it("let qemu-img write to an image that nobody uses, and keep it off a disk's", async () => {
    await add("f0");
    const path = inFolder("a.img");
    expect(run("qemu-io", "-f", "raw", "-c", "write -P 9 0 512", path).status).toBe(0);
    const bytes = new Uint8Array(512);
    const backend = disk("f0");
    await backend.read(0, IoVector.of(bytes));
    expect(bytes[0]).toBe(9);
    const write = run("qemu-io", "-f", "raw", "-c", "write 0 512", path);
    expect([write.status, write.text]).toEqual([
      1,
      `qemu-io: can't open device ${path}: Failed to get "write" lock\n${hint()}\n`,
    ]);
    expect(run("qemu-img", "create", "-q", "-f", "raw", path, "1M").text).toContain('Failed to get "write" lock');
    remove(backend);
    expect(run("qemu-io", "-f", "raw", "-c", "write 0 512", path).status).toBe(0);
  });

  it("are not had by a disk while a qemu-io writes", async () => {
    await add("f0");
    const qemu = companions.start("qemu-io", "-f", "raw", inFolder("a.img"));
    qemu.say("write -P 0x5a 0 4096\n");
    await qemu.hears(/wrote 4096\/4096/);
    expect(refusal(() => disk("f0"))).toBe('Failed to get shared "write" lock');
    disk("f0", true);
    remove(backends[0]!);
    qemu.say("quit\n");
    await qemu.finish();
    disk("f0");
  });
});
