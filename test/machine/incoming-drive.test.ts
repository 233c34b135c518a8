// Machines with a virtio block device on a qcow2 drive that migrate: docs/reference/persistence-migration.md §4, §5.1.
import { join } from "node:path";
import { expect, it } from "vitest";
import { parseCommandLine } from "../../machine/command-line.ts";
import { MonitoredMachine } from "../../machine/monitored-machine.ts";
import { BlockError, QmpError } from "../../src/base/errors.ts";
import { shownBitmaps } from "../block/drivers/qcow2/bitmap-tools.ts";
import { CLEAN, ImageFolder } from "../block/drivers/qcow2/qcow2-images.ts";
import { describeWithTools } from "../support/tools.ts";

interface Running {
  readonly machine: MonitoredMachine;
  run(name: string, args?: object): Promise<unknown>;
  until(event: string): Promise<void>;
  end(): Promise<void>;
}

async function start(image: string, ...args: readonly string[]): Promise<Running> {
  const drive = ["-drive", `file=${image},format=qcow2,if=none,id=d`, "-device", "virtio-blk-device,drive=d"];
  const line = parseCommandLine(["-M", "virt", "-m", "1M", ...drive, ...args]);
  const machine = await MonitoredMachine.create(line, { version: "1.0.0" });
  const events = new Set<string>();
  let wake: (() => void)[] = [];
  machine.server.events.listen(({ event, data }) => {
    events.add(event === "MIGRATION" ? (data as { status: string }).status : event);
    for (const resolve of wake.splice(0)) resolve();
  });
  const run = (name: string, given?: object): Promise<unknown> =>
    machine.server.execute(name, given).catch((error: unknown) => {
      if (error instanceof QmpError || error instanceof BlockError) return error.message;
      throw error;
    });
  const states = ["events", "dirty-bitmaps"].map((capability) => ({ capability, state: true }));
  await run("migrate-set-capabilities", { capabilities: states });
  wake = [];
  return {
    machine,
    run,
    until: async (event) => {
      while (!events.has(event)) await new Promise<void>((resolve) => wake.push(resolve));
    },
    end: async () => {
      machine.end();
      await machine.ended;
    },
  };
}

const writeOf = (running: Running, range: string): Promise<unknown> =>
  running.run("human-monitor-command", { "command-line": `qemu-io d "write -P 7 ${range}"` });

const namesOf = (running: Running): unknown =>
  Array.from(running.machine.machine.graph.drive("d")!.root!.bitmaps, ({ name, countBytes }) => [name, countBytes]);

describeWithTools(["qemu-img"], "a machine with a device on a qcow2 drive", () => {
  it("migrates to another on the same image, whose device writes only when that has arrived", async () => {
    const folder = new ImageFolder();
    await folder.create("a", { size: 1 << 20 });
    const image = folder.file("a");
    const source = await start(image);
    await source.run("block-dirty-bitmap-add", { node: "d", name: "b", persistent: true });
    await writeOf(source, "0 64k");
    const uri = `unix:${join(folder.path, "m.sock")}`;
    const destination = await start(image, "-incoming", uri);
    const isActive = (running: Running): boolean => running.machine.machine.graph.drive("d")!.root!.active;
    expect([isActive(source), isActive(destination), namesOf(destination)]).toEqual([true, false, []]);
    expect(await source.run("migrate", { uri })).toEqual({});
    await source.until("completed");
    await destination.until("completed");
    expect([isActive(source), isActive(destination)]).toEqual([false, true]);
    expect(namesOf(destination)).toEqual([["b", 64 << 10]]);
    await writeOf(destination, "512k 64k");
    expect(namesOf(destination)).toEqual([["b", 128 << 10]]);
    await source.end();
    await destination.end();
    expect(shownBitmaps(folder, "a")).toEqual([{ name: "b", granularity: 65536, flags: ["auto"] }]);
    expect(folder.check("a")).toBe(CLEAN);
    await folder.dispose();
  });

  it("takes no backup of an image that it has given away", async () => {
    const folder = new ImageFolder();
    await folder.create("a", { size: 1 << 20 });
    const source = await start(folder.file("a"));
    await source.run("blockdev-add", { driver: "null-co", "node-name": "t", size: 1 << 20 });
    await source.run("migrate", { uri: "exec:cat > /dev/null" });
    await source.until("completed");
    const backup = { "job-id": "j", device: "d", target: "t", sync: "full" };
    expect(await source.run("blockdev-backup", backup)).toMatch(/nactive|read-only/);
    expect(await source.run("query-jobs")).toEqual([]);
    expect(await source.run("block_resize", { device: "d", size: 2 << 20 })).toBe("Image is read-only");
    expect(await source.run("cont")).toEqual({});
    expect(await source.run("blockdev-backup", backup)).toEqual({});
    await source.end();
    await folder.dispose();
  });
});
