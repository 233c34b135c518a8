// Migrations of images that fail, are cancelled or are cut off: nobody loses a bitmap. docs/reference/persistence-migration.md §4, §5.3.
import { statSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { onWarning } from "../../src/base/warnings.ts";
import { CLEAN } from "../block/drivers/qcow2/qcow2-images.ts";
import { describeWithTools } from "../support/tools.ts";
import type { ImageMachine } from "./image-machine.ts";
import { ImageRig, NO_FLAGS, persistentOnes } from "./image-rig.ts";

let rig: ImageRig;
beforeEach(async () => {
  rig = new ImageRig();
  await rig.createImage("template");
});
afterEach(() => rig.dispose());

const BITMAPS = ["dirty-bitmaps"];
const RETURN_PATH = ["dirty-bitmaps", "return-path"];
const BITMAPS_OR_NOT = [BITMAPS, []];
const STORED = { old: ["auto"], new: ["auto"], off: NO_FLAGS };
const SOAK = process.env["VBLK_SOAK"] !== undefined;
/** Prime, so that no part of the stream is always hit alike. */
const STEP_BYTES = SOAK ? 1 : 53;
const TIMEOUT_MS = SOAK ? 3_600_000 : 120_000;
/** Of the description of the machine at the end, which is worth nothing. */
const DESCRIPTION_BYTES = 492;

async function pair(capabilities: readonly string[]) {
  rig.copy("template", "a");
  const source = await rig.source("a", capabilities);
  const destination = await rig.machine("a", { incoming: true, capabilities });
  source.channels.destination = destination.channels;
  return { source, destination, before: await source.bitmaps() };
}

async function streamLength(capabilities: readonly string[]): Promise<number> {
  const { source, destination } = await pair(capabilities);
  await source.migrate();
  await destination.until("completed");
  for (const machine of [source, destination]) await rig.quit(machine);
  return source.channels.pipe!.sent.reduce((sum, { length }) => sum + length, 0);
}

/** The source runs, with all that it had, and stores it at its end. */
async function expectWhole(source: ImageMachine, before: object, context = ""): Promise<void> {
  expect([source.state, source.node("q").active], context).toEqual(["running", true]);
  expect(await source.bitmaps(), context).toEqual(before);
  expect(await source.io("q", "write -P 4 960k 64k"), context).toBe("wrote 65536/65536 bytes at offset 983040");
  const last = persistentOnes(await source.bitmaps(), "q/");
  await rig.quit(source);
  const stored = await rig.stored("a");
  expect(Object.keys(stored).sort(), context).toEqual(Object.keys(last).sort());
  for (const [name, { sha256, recording }] of Object.entries(last)) {
    expect(stored[name], context).toMatchObject({ sha256, recording, inconsistent: false });
  }
}

describe("a migration of an image over a connection that breaks", () => {
  for (const capabilities of BITMAPS_OR_NOT) {
    const what = capabilities.length > 0 ? "with" : "without";
    it(`${what} the capability fails at any byte, and the source has its image and its bitmaps`, {
      timeout: TIMEOUT_MS,
    }, async () => {
      const length = await streamLength(capabilities);
      let failures = 0;
      for (let cutAtBytes = 0; cutAtBytes < length; cutAtBytes += STEP_BYTES) {
        const context = `cut at ${cutAtBytes}`;
        const { source, destination, before } = await pair(capabilities);
        source.channels.faults = { cutAtBytes };
        expect(await source.migrate(), context).toBe("failed");
        await destination.until("completed", "failed");
        if (destination.events.includes("failed")) {
          failures++;
          expect(await destination.bitmaps(), context).toEqual({});
          expect([destination.state, destination.node("q").active], context).toEqual(["inmigrate", false]);
          await expectWhole(source, before, context);
          await rig.quit(destination);
          continue;
        }
        // The destination has all that matters, and one of both is quicker: the other stands still.
        expect(cutAtBytes, context).toBeGreaterThan(length - DESCRIPTION_BYTES);
        const [winner, loser] = source.node("q").active ? [source, destination] : [destination, source];
        expect([winner.state, winner.node("q").active], context).toEqual(["running", true]);
        expect([loser.state, loser.node("q").active], context).toEqual(["paused", false]);
        expect(loser.lines.at(-1), context).toMatch(/^Failed to get "write" lock/);
        for (const { busy } of Object.values(await destination.bitmaps())) expect(busy, context).toBe(false);
        for (const machine of [loser, winner]) await rig.quit(machine);
        expect(persistentOnes(await rig.stored("a")), context).toEqual(persistentOnes(before));
      }
      expect(failures).toBeGreaterThan(3);
    });
  }
});

describe("a migration of an image whose stream is bent", () => {
  it("leaves it to one of both, with whole bitmaps", { timeout: TIMEOUT_MS }, async () => {
    const length = await streamLength(RETURN_PATH);
    const ends = new Set<string>();
    for (let at = 8; at < length - DESCRIPTION_BYTES; at += STEP_BYTES) {
      const context = `bent at ${at}`;
      const { source, destination, before } = await pair(RETURN_PATH);
      source.channels.faults = { flip: { at, mask: 0xa5 } };
      const end = await source.migrate();
      await destination.until("completed", "failed");
      ends.add(`${end}, ${destination.events.at(-1)}`);
      for (const { busy } of Object.values(await destination.bitmaps())) expect(busy, context).toBe(false);
      if (destination.events.includes("failed")) {
        expect(end, context).toBe("failed");
        expect(await destination.bitmaps(), context).toEqual({});
        await rig.quit(destination);
        await expectWhole(source, before, context);
      } else {
        expect([end, source.state], context).toEqual(["completed", "postmigrate"]);
        for (const machine of [source, destination]) await rig.quit(machine);
        await rig.stored("a");
      }
    }
    expect(ends).toEqual(new Set(["failed, failed", "completed, completed"]));
  });
});

describeWithTools(["qemu-img"], "a migration of an image that is not completed", () => {
  for (const capabilities of BITMAPS_OR_NOT) {
    const what = capabilities.length > 0 ? "with" : "without";
    it(`${what} the capability is cancelled when the image has been given away: it is taken back`, async () => {
      rig.copy("template", "a");
      const source = await rig.source("a", [...capabilities, "return-path"]);
      const before = await source.bitmaps();
      source.channels.destination = "nowhere";
      await source.run("migrate", { uri: "unix:in" });
      while (source.node("q").active) await new Promise((resolve) => setImmediate(resolve));
      expect(rig.flags("a")).toEqual(capabilities.length > 0 ? { old: ["in-use", "auto"] } : STORED);
      expect(await source.run("cont")).toBe("Migration is not finalized yet");
      expect(await source.run("migrate_cancel")).toEqual({});
      await source.until("cancelled");
      expect(source.events).toEqual(["setup", "active", "STOP", "cancelling", "RESUME", "cancelled"]);
      await expectWhole(source, before);
      expect(rig.flags("a")).toEqual(STORED);
      expect(rig.folder.check("a")).toBe(CLEAN);
    });

    it(`${what} the capability ends with its machine: the image keeps the bitmaps`, async () => {
      rig.copy("template", "a");
      const source = await rig.source("a", [...capabilities, "return-path"]);
      source.channels.destination = "nowhere";
      await source.run("migrate", { uri: "unix:in" });
      while (source.node("q").active) await new Promise((resolve) => setImmediate(resolve));
      await source.run("quit");
      await rig.quit(source);
      expect(source.events).toEqual(["setup", "active", "STOP", "cancelling", "cancelled"]);
      expect(rig.flags("a")).toEqual(STORED);
      expect(rig.folder.check("a")).toBe(CLEAN);
    });
  }

  it("is cancelled before that, and the bitmaps are stored as ever, also without a cont", async () => {
    rig.copy("template", "a");
    const source = await rig.source("a", BITMAPS);
    await source.run("migrate-set-parameters", { "downtime-limit": 0 });
    source.channels.destination = "nowhere";
    await source.run("migrate", { uri: "unix:in" });
    await source.until("active");
    expect(await source.run("blockdev-del", { "node-name": "q" })).toBe("Block device q is in use");
    expect(await source.run("block-dirty-bitmap-remove", { node: "q", name: "old" })).toBe(
      "Bitmap 'old' is currently in use by another operation and cannot be used",
    );
    await source.run("migrate_cancel");
    await source.until("cancelled");
    await rig.quit(source);
    expect(rig.flags("a")).toEqual(STORED);
  });

  it("fails where a bitmap cannot be stored: all that it had comes back, also from images given away before", async () => {
    rig.copy("template", "a");
    rig.copy("template", "b");
    const file = (name: string): object => ({ driver: "file", filename: rig.folder.file(name) });
    // The first cluster that the bitmap would take cannot be written.
    const sector = statSync(rig.folder.file("a")).size / 512;
    const rule = { event: "none", iotype: "write", errno: 28, sector, once: true };
    const nodes = {
      q: { driver: "qcow2", file: { driver: "blkdebug", image: file("a"), "inject-error": [rule] } },
      r: { driver: "qcow2", file: file("b") },
    };
    const source = await rig.machine(nodes, { capabilities: [] });
    source.channels.destination = "nowhere";
    const before = await source.bitmaps();
    const warnings: string[] = [];
    const end = onWarning((line) => void warnings.push(line));
    expect(await source.migrate()).toBe("failed");
    end();
    await source.until("RESUME");
    expect(source.events).toEqual(["setup", "active", "STOP", "failed", "RESUME"]);
    expect(warnings).toEqual([expect.stringMatching(/^Lost persistent bitmaps during inactivation of node 'q': /)]);
    expect(source.lines).toEqual([
      "qemu_savevm_state_complete_precopy_non_iterable: bdrv_inactivate_all() failed (-22)",
      "Block inactivate failed during switchover",
    ]);
    expect(await source.run("query-migrate")).toEqual({
      status: "failed",
      "error-desc": "Block inactivate failed during switchover",
    });
    expect(source.node("r").active).toBe(true);
    await expectWhole(source, before);
    expect([rig.flags("a"), rig.flags("b")]).toEqual([{ old: ["auto"] }, { old: ["auto"] }]);
    expect([rig.folder.check("a"), rig.folder.check("b")]).toEqual([CLEAN, CLEAN]);
  });
});
