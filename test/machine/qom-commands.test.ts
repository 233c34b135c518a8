// What a register-level client asks of a machine by QMP. Shapes and texts are those of a real QEMU. docs/reference/monitor.md §1.3, §2.
import { describe, expect, it } from "vitest";
import { type Board, virtBoards } from "../../machine/boards.ts";
import { parseCommandLine } from "../../machine/command-line.ts";
import { MonitoredMachine } from "../../machine/monitored-machine.ts";
import type { QmpServer } from "../../src/qmp/qmp-server.ts";

const DRIVES = ["d0", "d1"].flatMap((id) => [
  "-drive",
  `if=none,id=${id},file=null-co://,file.read-zeroes=on,format=raw`,
]);
const DEVICES = ["-device", "virtio-blk-device,drive=d0,id=vb0", "-device", "virtio-blk-device,drive=d1"];

async function withMonitor(
  board: Board,
  args: readonly string[],
  body: (server: QmpServer) => Promise<void>,
): Promise<void> {
  const machine = await MonitoredMachine.create(parseCommandLine(["-m", "16", ...args], board), { version: "0" });
  try {
    await body(machine.server);
  } finally {
    machine.end();
    await machine.ended;
  }
}

const virt = (arch: Board["arch"], body: (server: QmpServer) => Promise<void>): Promise<void> =>
  withMonitor(virtBoards[arch], ["-M", "virt", ...DRIVES, ...DEVICES], body);

describe("query-machines and query-target", () => {
  it.each([
    ["arm", { name: "virt-10.1", alias: "virt", "default-ram-id": "mach-virt.ram" }],
    ["aarch64", { name: "virt-10.1", alias: "virt" }],
    ["riscv64", { name: "virt", "default-ram-id": "riscv_virt_board.ram" }],
  ] as const)("of %s name its board, from the machine without one too", (arch, expected) =>
    withMonitor(virtBoards[arch], ["-M", "none"], async (server) => {
      const machines = await server.execute<{ name: string }[]>("query-machines");
      expect(machines.find(({ name }) => name.startsWith("virt"))).toMatchObject({
        ...expected,
        "cpu-max": 512,
        deprecated: false,
      });
      expect(machines.find(({ name }) => name === "none")).toMatchObject({ "cpu-max": 1, "default-ram-id": "ram" });
      expect(await server.execute("query-target")).toEqual({ arch });
      expect(await server.execute("qom-get", { path: "/machine", property: "type" })).toBe("none-machine");
      expect(await server.execute("qom-list", { path: "/machine/unattached" })).toEqual([
        { name: "type", type: "string" },
      ]);
    }),
  );
});

describe("qom-list", () => {
  it.each([
    ["arm", "device[1]", "child<arm_gic>", "device[39]"],
    ["riscv64", "device[2]", "child<riscv.sifive.plic>", "device[11]"],
  ] as const)("shows the interrupt controller and the transports of %s where QEMU has them", (arch, name, type, last) =>
    virt(arch, async (server) => {
      const found = await server.execute<{ name: string; type: string }[]>("qom-list", { path: "/machine/unattached" });
      expect(found).toContainEqual({ name, type });
      expect(found).toContainEqual({ name: last, type: "child<virtio-mmio>" });
      expect(found.filter(({ type: of }) => of === "child<virtio-mmio>")).toHaveLength(arch === "arm" ? 32 : 8);
    }),
  );

  it("shows devices with an id and without", () =>
    virt("arm", async (server) => {
      expect(await server.execute("qom-list", { path: "/machine/peripheral" })).toEqual([
        { name: "type", type: "string" },
        { name: "vb0", type: "child<virtio-blk-device>" },
      ]);
      expect(await server.execute("qom-list", { path: "/machine/peripheral-anon" })).toEqual([
        { name: "type", type: "string" },
        { name: "device[0]", type: "child<virtio-blk-device>" },
      ]);
      const get = (path: string, property: string): Promise<unknown> => server.execute("qom-get", { path, property });
      expect(await get("/machine/peripheral/vb0", "parent_bus")).toBe(
        "/machine/unattached/device[39]/virtio-mmio-bus.31",
      );
      expect(await get("/machine/peripheral-anon/device[0]", "parent_bus")).toBe(
        "/machine/unattached/device[38]/virtio-mmio-bus.30",
      );
      expect(await get("vb0", "type")).toBe("virtio-blk-device");
      expect(await get("vb0", "drive")).toBe("d0");
      expect(await get("/machine/unattached/device[39]", "force-legacy")).toBe(true);
    }));

  it.each([
    ["qom-list", { path: "/zz" }, { desc: "Device '/zz' not found", class: "DeviceNotFound" }],
    ["qom-list", { path: "" }, { desc: "Path '' is ambiguous", class: "GenericError" }],
    ["qom-list", { path: "/machine/__proto__" }, { class: "DeviceNotFound" }],
    ["qom-get", { path: "/machine", property: "zz" }, { desc: "Property 'virt-10.1-machine.zz' not found" }],
    ["device_add", { driver: "zz" }, { desc: "'zz' is not a valid device model name" }],
    [
      "device_add",
      { driver: "virtio-blk-device", drive: "d0" },
      { desc: "Bus 'virtio-mmio-bus.29' does not support hotplugging" },
    ],
    ["device_add", { driver: "virtio-blk-device", bus: "zz" }, { desc: "Bus 'zz' not found" }],
    ["device_del", { id: "vb0" }, { desc: "Bus 'virtio-mmio-bus.31' does not support hotplugging" }],
    ["device_del", { id: "zz" }, { desc: "Device 'zz' not found", class: "DeviceNotFound" }],
  ])("and its like refuse: %s %j", (command, args, { desc, class: errorClass }: { desc?: string; class?: string }) =>
    virt("arm", async (server) => {
      const error: unknown = await server.execute(command, args).catch((reason: unknown) => reason);
      if (desc !== undefined) expect(error).toMatchObject({ message: desc });
      if (errorClass !== undefined) expect(error).toMatchObject({ errorClass });
    }),
  );
});

describe("qom-list-types", () => {
  it("lists what comes from a type, and abstract ones when asked", () =>
    virt("arm", async (server) => {
      const list = (args: object): Promise<{ name: string }[]> => server.execute("qom-list-types", args);
      expect(await list({ implements: "virtio-device" })).toEqual([
        { name: "virtio-blk-device", parent: "virtio-device" },
      ]);
      expect(await list({ implements: "device", abstract: true })).toContainEqual({
        name: "virtio-device",
        parent: "device",
        abstract: true,
      });
      expect((await list({})).map(({ name }) => name)).toEqual(
        expect.arrayContaining(["virtio-mmio", "arm_gic", "irq"]),
      );
      expect((await list({})).map(({ name }) => name)).not.toContain("device");
      expect(await list({ abstract: true })).toContainEqual({ name: "object", abstract: true });
      expect(await list({ implements: "zz" })).toEqual([]);
    }));
});
