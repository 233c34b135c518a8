// Images whose bitmaps follow after the machine, and connections that break then: docs/reference/migration-stream.md §4.
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ImageFolder } from "../block/drivers/qcow2/qcow2-images.ts";
import { describeWithTools } from "../support/tools.ts";
import { ImageRig, NO_FLAGS, persistentOnes } from "./image-rig.ts";
import { bitmapsOf, capabilities, ended, OURS, start } from "./system-migration.ts";

let rig: ImageRig;
beforeEach(async () => {
  rig = new ImageRig();
  await rig.createImage("template");
});
afterEach(() => rig.dispose());

const BITMAPS = ["dirty-bitmaps"];
const SOAK = process.env["VBLK_SOAK"] !== undefined;
const STEP_BYTES = SOAK ? 1 : 31;

async function pair() {
  rig.copy("template", "a");
  const source = await rig.source("a", BITMAPS);
  const destination = await rig.machine("a", { incoming: true, capabilities: BITMAPS });
  source.channels.destination = destination.channels;
  await source.run("migrate-set-parameters", { "downtime-limit": 0 });
  return { source, destination, before: await source.bitmaps() };
}

/** Sets off, and asks for the bitmaps to follow. */
async function migrate(source: Awaited<ReturnType<typeof pair>>["source"]): Promise<string> {
  source.events.length = 0;
  await source.run("migrate", { uri: "unix:in" });
  await source.run("migrate-start-postcopy");
  await source.until("completed", "failed", "postcopy-paused");
  return source.monitor.machine.migration.info.status!;
}

describeWithTools(["qemu-img"], "a postcopy of an image", () => {
  it("gives the destination the image first, and the bitmaps then", async () => {
    const { source, destination, before } = await pair();
    expect(await migrate(source)).toBe("completed");
    await destination.until("completed");
    expect(source.events).toEqual(["setup", "active", "postcopy-active", "STOP", "completed"]);
    expect(destination.events.slice(-4)).toEqual(["active", "postcopy-active", "RESUME", "completed"]);
    expect(await destination.bitmaps()).toEqual(before);
    for (const machine of [source, destination]) await rig.quit(machine);
    expect(rig.flags("a")).toEqual({ old: ["auto"], new: ["auto"], off: NO_FLAGS });
  });
});

describe("a postcopy of an image over a connection that breaks", () => {
  it("leaves whole bitmaps to the destination, and what is not whole in use in the image", {
    timeout: SOAK ? 3_600_000 : 120_000,
  }, async () => {
    const whole = await pair();
    await migrate(whole.source);
    await whole.destination.until("completed");
    const length = whole.source.channels.pipe!.sent.reduce((sum, { length: bytes }) => sum + bytes, 0);
    for (const machine of [whole.source, whole.destination]) await rig.quit(machine);
    let paused = 0;
    for (let cutAtBytes = length - 1; cutAtBytes > 0; cutAtBytes -= STEP_BYTES) {
      const context = `cut at ${cutAtBytes}`;
      const { source, destination, before } = await pair();
      source.channels.faults = { cutAtBytes };
      const end = await migrate(source);
      await destination.until("completed", "failed");
      if (end === "failed") {
        // The destination never had the image.
        expect(destination.node("q").active, context).toBe(false);
        expect([source.state, await source.bitmaps()], context).toEqual(["running", before]);
        for (const machine of [source, destination]) await rig.quit(machine);
        expect(Object.keys(await rig.stored("a")).sort(), context).toEqual(["q/new", "q/off", "q/old"]);
        continue;
      }
      paused++;
      expect([end, source.state, source.node("q").active], context).toEqual([
        "postcopy-paused",
        "finish-migrate",
        false,
      ]);
      expect(await source.run("cont"), context).toBe("Migration is not finalized yet");
      await source.run("migrate_cancel");
      expect(source.state, context).toBe("postmigrate");
      expect(await source.bitmaps(), context).toEqual(before);
      const arrived = await destination.bitmaps();
      for (const [name, bitmap] of Object.entries(arrived)) expect(bitmap, context).toEqual(before[name]);
      for (const machine of [source, destination]) await rig.quit(machine);
      const stored = await rig.stored("a");
      for (const [name, { sha256 }] of Object.entries(persistentOnes(arrived)))
        expect(stored[name], context).toMatchObject({ sha256, inconsistent: false });
      for (const name of Object.keys(stored).filter((one) => !(one in arrived)))
        expect([name, stored[name]!.inconsistent], context).toEqual(["q/old", true]);
    }
    expect(paused).toBeGreaterThan(3);
  });
});

describeWithTools(["qemu-img", "qemu-system-aarch64"], "a postcopy to a real QEMU that has no RAM", () => {
  it("ends with that program, and the source takes its image back", { timeout: 120_000 }, async () => {
    const folder = new ImageFolder();
    folder.run("qemu-img", "create", "-q", "-f", "qcow2", "a", "1M");
    folder.run("qemu-img", "bitmap", "--add", "a", "old");
    const node = `qcow2,node-name=n0,file.driver=file,file.filename=${folder.file("a")}`;
    const uri = `unix:${join(folder.path, "m.sock")}`;
    const source = await start(folder.path, "source", OURS, [node]);
    const destination = await start(
      folder.path,
      "destination",
      ["qemu-system-aarch64"],
      [node],
      ["-incoming", "defer"],
    );
    try {
      await capabilities(source, "postcopy-ram");
      await capabilities(destination, "postcopy-ram");
      await source.human('qemu-io n0 "write -P 7 256k 64k"');
      const before = await bitmapsOf(source);
      await source.execute("migrate-set-parameters", { "max-bandwidth": 200, "downtime-limit": 1 });
      await destination.execute("migrate-incoming", { uri });
      await source.execute("migrate", { uri });
      const told = (status: string): Promise<unknown> =>
        source.qmp.next(({ data }) => (data as { status?: string } | undefined)?.status === status);
      await told("active");
      await source.execute("migrate-start-postcopy");
      await told("postcopy-paused");
      expect(await destination.process.ended).toBe(1);
      expect(await source.execute("cont")).toMatchObject({ error: { desc: "Migration is not finalized yet" } });
      expect(await source.execute("migrate_cancel")).toEqual({ return: {} });
      expect(await source.execute("query-status")).toMatchObject({ return: { status: "postmigrate" } });
      expect(await source.execute("cont")).toEqual({ return: {} });
      expect(await bitmapsOf(source)).toEqual(before);
      expect(await source.quit()).toBe(0);
      expect(folder.run("qemu-img", "info", "a")).toContain("name: old");
      expect(folder.run("qemu-img", "info", "a")).not.toContain("in-use");
    } finally {
      source.kill();
      destination.kill();
      await folder.dispose();
    }
  });
});

describe("a postcopy between processes of this program", () => {
  it("takes the capability postcopy-ram, of RAM that there is not", { timeout: 120_000 }, async () => {
    const folder = new ImageFolder();
    await folder.create("a", { size: 1 << 20 });
    const node = `qcow2,node-name=n0,file.driver=file,file.filename=${folder.file("a")}`;
    const uri = `unix:${join(folder.path, "m.sock")}`;
    const source = await start(folder.path, "source", OURS, [node]);
    const destination = await start(folder.path, "destination", OURS, [node], ["-incoming", "defer"]);
    try {
      for (const client of [source, destination]) await capabilities(client, "postcopy-ram");
      for (const name of ["b", "c"])
        await source.execute("block-dirty-bitmap-add", { node: "n0", name, persistent: true });
      await source.human('qemu-io n0 "write -P 7 256k 64k"');
      const before = await bitmapsOf(source);
      await source.execute("migrate-set-parameters", { "max-bandwidth": 200, "downtime-limit": 1 });
      await destination.execute("migrate-incoming", { uri });
      await source.execute("migrate", { uri });
      await source.execute("migrate-start-postcopy");
      await ended(source);
      await ended(destination);
      expect(await bitmapsOf(destination)).toEqual(before);
      expect(await source.quit()).toBe(0);
      expect(await destination.quit()).toBe(0);
      expect(source.process.errorOutput + destination.process.errorOutput).toBe("");
    } finally {
      source.kill();
      destination.kill();
      await folder.dispose();
    }
  });
});
