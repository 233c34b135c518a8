// The program under QEMU's names, started as libqos-based suites start QEMU: qtest and monitor are clients of the suite. monitor.md §6 to §8.
import { spawn } from "node:child_process";
import { readFileSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { listenForQmp } from "../machine/support/qmp-listener.ts";
import { QtestSocket } from "../machine/support/qtest-socket.ts";
import { withFolder } from "../support/cli.ts";
import { PROJECT_ROOT } from "../support/project-files.ts";

interface Suite {
  readonly qtest: QtestSocket;
  readonly execute: (name: string, args?: object) => Promise<Record<string, unknown>>;
  /** Kills it as suites do, and resolves with the exit status. */
  readonly stop: () => Promise<number | null>;
}

/** Starts the program under `name`, and takes its two connections. */
async function withSuite(name: string, args: readonly string[], body: (suite: Suite) => Promise<void>): Promise<void> {
  await withFolder(async (folder) => {
    const program = join(folder, name);
    symlinkSync(join(PROJECT_ROOT, "cli/system.ts"), program);
    const [qtestPath, qmpPath] = [join(folder, "qtest"), join(folder, "qmp")];
    const qtestServer = await QtestSocket.accept(qtestPath);
    const qmpServer = await listenForQmp(qmpPath);
    const given = [
      ...["-qtest", `unix:${qtestPath}`, "-qtest-log", "/dev/null"],
      ...["-chardev", `socket,path=${qmpPath},id=char0`, "-mon", "chardev=char0,mode=control"],
      ...["-display", "none", "-audio", "none", ...args],
    ];
    const node = ["--conditions=vblk-source", "--import", import.meta.resolve("tsx")];
    const child = spawn(process.execPath, [...node, program, ...given], {
      cwd: folder,
      stdio: ["ignore", "ignore", "pipe"],
    });
    let errors = "";
    child.stderr.on("data", (chunk: Buffer) => {
      errors += chunk.toString();
    });
    const exit = new Promise<number | null>((resolve) => child.once("exit", (code) => resolve(code)));
    const failed = exit.then((code) => Promise.reject(new Error(`ended with ${code}: ${errors}`)));
    const [qtest, qmp] = await Promise.race([Promise.all([qtestServer.client, qmpServer.client]), failed]);
    failed.catch(() => {});
    try {
      await qmp.execute("qmp_capabilities");
      const stop = (): Promise<number | null> => {
        child.kill("SIGTERM");
        return exit;
      };
      await body({ qtest, execute: (command, commandArgs) => qmp.execute(command, commandArgs), stop });
    } finally {
      child.kill("SIGKILL");
      await exit;
      qtestServer.close();
      qmpServer.close();
    }
  });
}

describe("the program called qemu-system-arm", () => {
  it("is looked at by a suite that asks for machines and types first", () =>
    withSuite("qemu-system-arm", ["-machine", "none", "-accel", "qtest"], async ({ execute, stop }) => {
      const machines = (await execute("query-machines"))["return"] as { name: string; alias?: string }[];
      expect(machines.map(({ name, alias }) => alias ?? name).sort()).toEqual(["none", "virt"]);
      const types = (await execute("qom-list-types", { implements: "device", abstract: true }))["return"];
      expect(types).toContainEqual({ name: "virtio-blk-device", parent: "virtio-device" });
      expect(await stop()).toBe(0);
    }));

  it("carries a suite's request out on a disk in a file, resizes it, and ends with status 0", () =>
    withFolder(async (images) => {
      const image = join(images, "disk.img");
      writeFileSync(image, "");
      truncateSync(image, 64 << 20);
      const drives = [
        ...["-drive", `if=none,id=drive0,file=${image},format=raw,auto-read-only=off`],
        ...["-drive", "if=none,id=drive1,file=null-co://,file.read-zeroes=on,format=raw"],
      ];
      const args = ["-M", "virt", "-accel", "qtest", ...drives, "-device", "virtio-blk-device,drive=drive0"];
      await withSuite("qemu-system-arm", args, async ({ qtest, execute, stop }) => {
        const REGISTERS = 0x0a00_3e00;
        const write = (offset: number, value: number): Promise<string> =>
          qtest.ask(`writel ${REGISTERS + offset} ${value}`);
        const read = async (offset: number): Promise<number> =>
          Number((await qtest.ask(`readl ${REGISTERS + offset}`)).slice(3));
        expect(await qtest.ask("endianness")).toBe("OK little");
        expect([await read(0), await read(4), await read(8)]).toEqual([0x7472_6976, 1, 2]);
        expect(await qtest.ask("irq_intercept_in /machine/unattached/device[1]")).toBe("OK");
        for (const status of [0, 1, 3]) await write(0x070, status);
        await write(0x028, 4096); // GuestPageSize
        await write(0x030, 0);
        await write(0x038, 8);
        await write(0x03c, 4096);
        await write(0x040, 0x4001_0000 / 4096); // QueuePFN
        await write(0x070, 7);
        // A write of one sector: header, data, status.
        const chain = [
          [0x4010_0000, 16, 1, 1],
          [0x4010_1000, 512, 1, 2],
          [0x4010_2000, 1, 2, 0],
        ] as const;
        await qtest.ask("write 0x40100000 16 0x01000000000000000100000000000000");
        await qtest.ask("memset 0x40101000 512 0xa7");
        await qtest.ask("writeb 0x40102000 0xff");
        for (const [i, [address, length, flags, next]] of chain.entries()) {
          const at = 0x4001_0000 + 16 * i;
          await qtest.askAll([
            `writeq ${at} ${address}`,
            `writel ${at + 8} ${length}`,
            `writew ${at + 12} ${flags}`,
            `writew ${at + 14} ${next}`,
          ]);
        }
        await qtest.askAll(["writew 0x40010084 0", "writew 0x40010082 1"]);
        await write(0x050, 0);
        expect(await qtest.takeEdges(10_000)).toEqual(["raise 47"]);
        expect(await qtest.ask("readb 0x40102000")).toBe("OK 0x0000000000000000");
        expect(await read(0x060)).toBe(1);
        await write(0x064, 1);
        expect(await qtest.takeEdges(10_000)).toEqual(["lower 47"]);
        expect(await execute("block_resize", { device: "drive0", size: 128 << 20 })).toMatchObject({ return: {} });
        expect(await qtest.takeEdges(10_000)).toEqual(["raise 47"]);
        expect(await read(0x060)).toBe(2);
        expect(await qtest.ask("readq 0x0a003f00")).toBe("OK 0x0000000000040000");
        expect(await stop()).toBe(0);
        const bytes = readFileSync(image);
        expect(bytes.length).toBe(128 << 20);
        expect(bytes.subarray(512, 1024).every((byte) => byte === 0xa7)).toBe(true);
        expect(bytes[1024]).toBe(0);
      });
    }));
});

describe("the program called qemu-system-riscv64", () => {
  it("has that program's board", () =>
    withSuite("qemu-system-riscv64", ["-M", "virt", "-accel", "qtest"], async ({ qtest, execute, stop }) => {
      expect(await qtest.ask("readl 0x10008000")).toBe("OK 0x0000000074726976");
      expect(await qtest.ask("readl 0x0a003e00")).toBe("OK 0x0000000000000000");
      expect(await execute("query-target")).toMatchObject({ return: { arch: "riscv64" } });
      expect(await stop()).toBe(0);
    }));
});
