// Breakpoints, asynchronous requests and permissions of qemu-io in the monitor: docs/reference/monitor.md §5.1.
import { beforeEach, describe, expect, it } from "vitest";
import { KIB, MIB, Rig } from "./rig.ts";

let rig: Rig;
beforeEach(async () => {
  rig = new Rig();
  await rig.addDebugDrive("d1", MIB);
});

describe("qemu-io's breakpoints", () => {
  it.each([
    ["break x y", "out: Could not set breakpoint: No such file or directory\n"],
    ["resume A", "out: Could not resume request: No such file or directory\n"],
    ["remove_break ZZ", "out: Could not remove breakpoint ZZ: No such file or directory\n"],
  ])("%j finds nothing", async (command, text) => {
    expect(await rig.io("d1", command)).toBe(text);
  });

  it("stop one asynchronous request of a drive until it is resumed", async () => {
    expect(await rig.io("d1", "break write_aio B")).toBe("");
    expect(await rig.io("d1", "aio_write -P 1 0 512")).toBe("");
    expect(await rig.io("d1", "wait_break B")).toBe("");
    expect(await rig.io("d1", "write -q -P 2 512 512")).toBe("");
    expect(await rig.io("d1", "read -q -P 0 0 512")).toBe("");
    await rig.io("d1", "resume B");
    const first = rig.out;
    const flushed = await rig.io("d1", "aio_flush");
    expect(first + flushed.replace("out: ", "")).toContain("wrote 512/512 bytes at offset 0\n");
    expect(await rig.io("d1", "read -q -P 1 0 512")).toBe("");
  });

  it("are consumed by the request that they stop, which remove_break lets go on nevertheless", async () => {
    await rig.io("d1", "break write_aio B");
    await rig.io("d1", "aio_write -q -P 1 0 512");
    expect(await rig.io("d1", "remove_break B")).toBe(
      "out: Could not remove breakpoint B: No such file or directory\n",
    );
    expect(await rig.io("d1", "aio_flush")).toBe("");
    expect(await rig.io("d1", "read -q -P 1 0 512")).toBe("");
  });

  it("hold no command on a node back: it ends when all that it began has ended", async () => {
    expect(await rig.io("d1n", "break write_aio A")).toBe("");
    expect(await rig.io("d1n", "aio_write -C 0 512")).toMatch(/^out: 512,1,0:00:00\./);
    expect(rig.graph.backends.map(({ name }) => name)).toEqual(["d1"]);
  });

  it("are waited for until the machine goes", async () => {
    await rig.io("d1", "break write_aio A");
    const waiting = rig.io("d1", "wait_break A");
    rig.interrupt.abort();
    expect(await waiting).toBe("");
  });
});

describe("qemu-io's permissions", () => {
  it("refuses to write to a node that a device has for itself, by the monitor", async () => {
    const node = await rig.graph.add({ driver: "null-co", "node-name": "vn", size: MIB });
    const backend = rig.graph.addBackend({ name: "", node });
    backend.attachDevice({ id: "vd", path: "/machine/peripheral/vd", shareRw: false });
    rig.devices.set("vd", backend);
    expect(await rig.io("vn", "write -q 0 512")).toBe(
      "Permission conflict on node 'vn': permissions 'write' are both required by an unnamed block device " +
        "(uses node 'vn' as 'root' child) and unshared by block device 'vd' (uses node 'vn' as 'root' child).\r\n",
    );
    expect(await rig.io("vn", "read -q 0 512")).toBe("");
    expect(await rig.io("-d vd", "write -q 0 512")).toBe("");
    expect(rig.graph.backends.at(-1) === backend && rig.graph.backends.length === 2).toBe(true);
  });

  it("refuses to write to a read-only node once the number of words is right", async () => {
    await rig.addMemory("ro", 64 * KIB, { "read-only": true });
    for (const command of ["write x y", "discard 0 512", "aio_write 10M 512", "truncate 4k"])
      expect(await rig.io("ro", command)).toBe("Block node is read-only\r\n");
    expect(await rig.io("ro", "write x")).toBe("err: bad argument count 1 to write, expected at least 2 arguments\n");
    expect(await rig.io("ro", "flush")).toBe("");
  });
});
