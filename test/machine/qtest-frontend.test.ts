// `-qtest` on a machine of its command line: boards, slots, legacy and modern registers, interrupts, beside a monitor. monitor.md §6 to §8.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type Board, virtBoards } from "../../machine/boards.ts";
import { parseCommandLine } from "../../machine/command-line.ts";
import { MonitoredMachine } from "../../machine/monitored-machine.ts";
import { withFolder } from "../support/cli.ts";
import { QmpSocket } from "../support/qmp-socket.ts";
import { QtestSocket } from "./support/qtest-socket.ts";

const NULL_DRIVE = "file=null-co://,file.read-zeroes=on,file.size=1M,format=raw,if=none";
const DISK = ["-drive", `${NULL_DRIVE},id=d0`, "-device", "virtio-blk-device,drive=d0,id=vb0"];
const MEMORY_DISK = ["-blockdev", "driver=memory,node-name=n0,size=1048576", "-device", "virtio-blk-device,drive=n0"];
const SECOND = ["-drive", `${NULL_DRIVE},id=d1`];

interface Started {
  readonly machine: MonitoredMachine;
  readonly qtest: QtestSocket;
  readonly folder: string;
}

/** A machine with a qtest server, and a client. */
async function withMachine(
  board: Board,
  args: readonly string[],
  body: (started: Started) => Promise<void>,
): Promise<void> {
  await withFolder(async (folder) => {
    const path = join(folder, "qtest.sock");
    const qtestArgs = ["-qtest", `unix:${path},server=on,wait=off`, "-qtest-log", "none"];
    const line = parseCommandLine(["-M", "virt", "-m", "16", "-accel", "qtest", ...qtestArgs, ...args], board);
    const machine = await MonitoredMachine.create(line, { version: "0" });
    try {
      const qtest = await QtestSocket.connect(path);
      await body({ machine, qtest, folder });
      qtest.end();
    } finally {
      machine.end();
      await machine.ended;
    }
  });
}

const hex = (value: number): string => `OK 0x${value.toString(16).padStart(16, "0")}`;

/** The registers that tell what is in a slot: magic, version, device id, vendor. */
function identify(qtest: QtestSocket, address: number): Promise<string[]> {
  return qtest.askAll([0, 4, 8, 12].map((offset) => `readl ${address + offset}`));
}

const slot = (version: number, id: number): string[] => [0x7472_6976, version, id, 0x554d_4551].map(hex);
const NOTHING = [0, 0, 0, 0].map(hex);

describe("the board virt of arm and aarch64", () => {
  it.each(["arm", "aarch64"] as const)("of %s has 32 slots, filled from the last, RAM, and nothing else", (arch) =>
    withMachine(virtBoards[arch], [...DISK, ...SECOND, "-device", "virtio-blk-device,drive=d1"], async ({ qtest }) => {
      expect(await identify(qtest, 0x0a00_3e00)).toEqual(slot(1, 2));
      expect(await identify(qtest, 0x0a00_3c00)).toEqual(slot(1, 2));
      for (let i = 0; i < 30; i++) expect(await identify(qtest, 0x0a00_0000 + 0x200 * i)).toEqual(slot(1, 0));
      expect(await identify(qtest, 0x0a00_4000)).toEqual(NOTHING);
      expect(await identify(qtest, 0x0800_0000)).toEqual(NOTHING);
      expect(
        await qtest.askAll(["writel 0x40fffffc 7", "readl 0x40fffffc", "readl 0x41000000", "readl 0x3ffffffc"]),
      ).toEqual(["OK", ...[7, 0, 0].map(hex)]);
      expect(await qtest.askAll(["readb 0x0a003e00", "readw 0x0a003e00", "readl 0x0a003e02"])).toEqual(
        [0, 0, 0].map(hex),
      );
      expect(await qtest.ask("readq 0x0a003e00")).toBe("OK 0x0000000174726976");
    }),
  );

  it("puts a device on the bus that it names, and the next on the first that is free", () =>
    withMachine(
      virtBoards.arm,
      [
        ...DISK.slice(0, 3),
        "virtio-blk-device,drive=d0,bus=virtio-mmio-bus.31",
        ...SECOND,
        "-device",
        "virtio-blk-device,drive=d1,bus=virtio-mmio-bus.0",
        "-drive",
        `${NULL_DRIVE},id=d2`,
        "-device",
        "virtio-blk-device,drive=d2",
      ],
      async ({ qtest }) => {
        for (const address of [0x0a00_3e00, 0x0a00_0000, 0x0a00_3c00]) {
          expect((await identify(qtest, address))[2]).toBe(hex(2));
        }
        expect((await identify(qtest, 0x0a00_3a00))[2]).toBe(hex(0));
      },
    ));

  it("interrupts at input 47 of the interrupt controller for the last slot, as when its disk is resized", () =>
    withMachine(
      virtBoards.arm,
      [...MEMORY_DISK, "-global", "virtio-mmio.force-legacy=false"],
      async ({ qtest, machine }) => {
        expect(await identify(qtest, 0x0a00_3e00)).toEqual(slot(2, 2));
        expect(await identify(qtest, 0x0a00_0000)).toEqual(slot(2, 0));
        expect(await qtest.ask("irq_intercept_in /machine/unattached/device[1]")).toBe("OK");
        const bringUp = [0, 1, 3].map((status) => `writel 0x0a003e70 ${status}`);
        bringUp.push("writel 0x0a003e24 1", "writel 0x0a003e20 1", "writel 0x0a003e70 0xb", "writel 0x0a003e70 0xf");
        expect(await qtest.askAll(bringUp)).toEqual(bringUp.map(() => "OK"));
        expect(await qtest.ask("readl 0x0a003e70")).toBe(hex(0xf));
        await machine.server.execute("block_resize", { "node-name": "n0", size: 2 << 20 });
        expect(await qtest.askAll(["readl 0x0a003e60", "readl 0x0a003f00", "readl 0x0a003efc"])).toEqual(
          [2, 4096, 1].map(hex),
        );
        expect(qtest.edges).toEqual(["raise 47"]);
        expect(await qtest.ask("writel 0x0a003e64 2")).toBe("OK");
        machine.machine.slots.lines[0]!.set(true);
        await qtest.ask("endianness");
        expect(qtest.edges).toEqual(["raise 47", "lower 47", "raise 16"]);
      },
    ));

  it("lets the output of one slot be intercepted instead", () =>
    withMachine(virtBoards.arm, DISK, async ({ qtest, machine }) => {
      expect(await qtest.ask("irq_intercept_out /machine/unattached/device[39] sysbus-irq")).toBe("OK");
      expect(await qtest.ask("irq_intercept_in /machine/unattached/device[1]")).toBe(
        "FAIL IRQ intercept already enabled",
      );
      machine.machine.slots.lines[31]!.set(true);
      machine.machine.slots.lines[30]!.set(true);
      await qtest.ask("endianness");
      expect(qtest.edges).toEqual(["raise 0"]);
    }));
});

describe("the board virt of riscv64", () => {
  it("has 8 slots, filled from the last, RAM above, and interrupt 8 for the last slot", () =>
    withMachine(virtBoards.riscv64, DISK, async ({ qtest, machine }) => {
      expect(await identify(qtest, 0x1000_8000)).toEqual(slot(1, 2));
      for (let i = 0; i < 7; i++) expect(await identify(qtest, 0x1000_1000 + 0x1000 * i)).toEqual(slot(1, 0));
      for (const nothing of [0x1000_8200, 0x1000_1200, 0x1000_9000])
        expect(await identify(qtest, nothing)).toEqual(NOTHING);
      expect(await qtest.askAll(["writel 0x80000000 7", "readl 0x80000000", "readl 0x40000000"])).toEqual([
        "OK",
        hex(7),
        hex(0),
      ]);
      expect(await qtest.ask("irq_intercept_in /machine/unattached/device[2]")).toBe("OK");
      machine.machine.slots.lines[7]!.set(true);
      await qtest.ask("endianness");
      expect(qtest.edges).toEqual(["raise 8"]);
    }));
});

describe("-device", () => {
  const buses = (...names: readonly string[]): string[] =>
    names.flatMap((bus, i) => [
      "-drive",
      `${NULL_DRIVE},id=x${i}`,
      "-device",
      `virtio-blk-device,drive=x${i},bus=${bus}`,
    ]);

  it.each([
    [buses("zz"), "Bus 'zz' not found"],
    [buses("virtio-mmio-bus.32"), "Bus 'virtio-mmio-bus.32' not found"],
    [buses("virtio-mmio-bus.01"), "Bus 'virtio-mmio-bus.01' not found"],
    [buses("virtio-mmio-bus.31", "virtio-mmio-bus.31"), "Bus 'virtio-mmio-bus.31' is full"],
    [
      Array.from({ length: 33 }, (_, i) => [
        "-drive",
        `${NULL_DRIVE},id=y${i}`,
        "-device",
        `virtio-blk-device,drive=y${i}`,
      ]).flat(),
      "No 'virtio-bus' bus found for device 'virtio-blk-device'",
    ],
  ])("is refused where there is no place", async (args, message) => {
    const line = parseCommandLine(["-M", "virt", "-m", "16", ...args]);
    await expect(MonitoredMachine.create(line, { version: "0" })).rejects.toThrow(message);
  });
});

describe("-qtest", () => {
  it("goes to a client who listens, who may hold a monitor of the same machine", () =>
    withFolder(async (folder) => {
      const path = join(folder, "listening.sock");
      const { client, close } = await QtestSocket.accept(path);
      const args = ["-M", "virt", "-m", "16", "-qtest", `unix:${path}`, "-qtest-log", join(folder, "log"), ...DISK];
      const qmpPath = join(folder, "qmp.sock");
      const line = parseCommandLine([...args, "-qmp", `unix:${qmpPath},server=on,wait=off`]);
      const machine = await MonitoredMachine.create(line, { version: "0" });
      const qtest = await client;
      const qmp = await QmpSocket.connect(qmpPath);
      expect(await qtest.ask("endianness")).toBe("OK little");
      await qmp.execute("qmp_capabilities");
      await qtest.askAll(["writel 0x0a003e70 1", "writel 0x0a003e70 3"]);
      expect(await qtest.ask("readl 0x0a003e70")).toBe(hex(3));
      expect(await qmp.execute("system_reset")).toMatchObject({ return: {} });
      expect(await qtest.ask("readl 0x0a003e70")).toBe(hex(0));
      qmp.send('{"execute":"quit"}');
      await machine.ended;
      await expect(qtest.ask("endianness")).rejects.toThrow("closed");
      close();
      expect(readFileSync(join(folder, "log"), "utf8")).toMatch(
        /^\[I 0\.000000\] OPENED\n\[R \+\d\.\d{6}\] endianness\n\[S /,
      );
    }));

  it("serves one client after the other, and takes its socket away at the end", () =>
    withMachine(virtBoards.arm, [], async ({ qtest, folder, machine }) => {
      const path = join(folder, "qtest.sock");
      const second = await QtestSocket.connect(path);
      const answer = second.ask("endianness");
      qtest.end();
      expect(await answer).toBe("OK little");
      second.end();
      machine.end();
      await machine.ended;
      expect(existsSync(path)).toBe(false);
    }));

  it.each([
    ["zz", `'zz' is not a valid char driver\nFailed to initialize device for qtest: "zz"`],
    [
      "unix:/nonexistent/x",
      `Failed to connect to '/nonexistent/x': No such file or directory\nFailed to initialize device for qtest: "unix:/nonexistent/x"`,
    ],
  ])("%s is refused as QEMU refuses it", async (address, message) => {
    const line = parseCommandLine(["-M", "virt", "-m", "16", "-qtest", address]);
    await expect(MonitoredMachine.create(line, { version: "0" })).rejects.toThrow(message);
  });

  it("makes throttled requests wait for its clock with -accel qtest", () =>
    withMachine(virtBoards.arm, ["-object", "throttle-group,id=g,limits.iops-total=1"], async ({ qtest, machine }) => {
      const { server } = machine;
      await server.execute("blockdev-add", { driver: "null-co", "node-name": "n", size: 1 << 20, "read-zeroes": true });
      await server.execute("blockdev-add", { driver: "throttle", "node-name": "t", "throttle-group": "g", file: "n" });
      const node = machine.machine.graph.node("t")!;
      const { IoVector } = await import("../../src/base/io-vector.ts");
      let done = 0;
      const reads = Array.from({ length: 3 }, async () => {
        await node.read(0, IoVector.of(new Uint8Array(512)));
        done++;
      });
      await qtest.ask("endianness");
      const before = done;
      expect(before).toBeLessThan(3);
      expect(await qtest.ask("clock_step 10000000000")).toBe("OK 10000000000");
      await Promise.all(reads);
      expect(done).toBe(3);
    }));
});
