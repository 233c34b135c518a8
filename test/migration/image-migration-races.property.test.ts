// Commands of users while an image migrates: whatever they do, nothing breaks. docs/reference/persistence-migration.md §4.
import fc from "fast-check";
import { afterEach, beforeEach, expect, it } from "vitest";
import { onWarning } from "../../src/base/warnings.ts";
import { CLEAN } from "../block/drivers/qcow2/qcow2-images.ts";
import { describeWithTools } from "../support/tools.ts";
import { ImageRig } from "./image-rig.ts";

let rig: ImageRig;
beforeEach(async () => {
  rig = new ImageRig();
  await rig.createImage("template");
});
afterEach(() => rig.dispose());

const RUNS = process.env["VBLK_SOAK"] === undefined ? 12 : 400;
const TARGET = { driver: "null-co", size: 1 << 20 };

const COMMANDS: readonly (readonly [name: string, args: object])[] = [
  ["cont", {}],
  ["stop", {}],
  ["system_reset", {}],
  ["migrate_cancel", {}],
  ["query-named-block-nodes", {}],
  ["block-dirty-bitmap-add", { node: "q", name: "late", persistent: true }],
  ["block-dirty-bitmap-remove", { node: "q", name: "old" }],
  ["block-dirty-bitmap-clear", { node: "q", name: "new" }],
  ["block-dirty-bitmap-disable", { node: "q", name: "new" }],
  ["block-dirty-bitmap-merge", { node: "q", target: "new", bitmaps: ["old"] }],
  ["transaction", { actions: [{ type: "block-dirty-bitmap-remove", data: { node: "q", name: "new" } }] }],
  ["blockdev-set-active", { "node-name": "q", active: false }],
  ["blockdev-set-active", { "node-name": "q", active: true }],
  ["blockdev-set-active", { active: false }],
  ["blockdev-backup", { "job-id": "j", device: "q", target: "t", sync: "full" }],
  ["blockdev-backup", { "job-id": "k", device: "q", target: "t", sync: "none" }],
  ["block-job-cancel", { device: "k" }],
  ["blockdev-del", { "node-name": "q" }],
  ["block_resize", { "node-name": "q", size: 2 << 20 }],
  ["human-monitor-command", { "command-line": 'qemu-io q "write -P 5 640k 64k"' }],
  ["human-monitor-command", { "command-line": 'qemu-io q "aio_write -P 6 700k 64k"' }],
];

const step = fc.record({
  /** Turns of the loop before it. */
  turns: fc.nat({ max: 12 }),
  on: fc.constantFrom("source", "source", "destination"),
  command: fc.constantFrom(...COMMANDS),
});

const run = fc.record({
  capabilities: fc.subarray(["dirty-bitmaps", "return-path", "pause-before-switchover", "late-block-activate"]),
  postcopy: fc.boolean(),
  cutAtBytes: fc.option(fc.nat({ max: 1500 }), { nil: undefined }),
  steps: fc.array(step, { maxLength: 14 }),
});

describeWithTools(["qemu-img"], "a migration of an image beside other commands", () => {
  it("ends, breaks nothing, and leaves an image that is right", { timeout: 3_600_000 }, async () => {
    const end = onWarning(() => {});
    await fc.assert(
      fc.asyncProperty(run, async ({ capabilities, postcopy, cutAtBytes, steps }) => {
        rig.copy("template", "a");
        const source = await rig.source("a", capabilities);
        const destination = await rig.machine("a", { incoming: true, capabilities });
        await source.run("blockdev-add", { ...TARGET, "node-name": "t" });
        source.channels.destination = destination.channels;
        source.channels.faults = cutAtBytes === undefined ? {} : { cutAtBytes };
        if (postcopy) await source.run("migrate-set-parameters", { "downtime-limit": 0 });
        await source.run("migrate", { uri: "unix:in" });
        const pending: Promise<unknown>[] = [];
        if (postcopy) pending.push(source.run("migrate-start-postcopy"));
        for (const { turns, on, command } of steps) {
          for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
          pending.push((on === "source" ? source : destination).run(...command));
        }
        await Promise.all(pending);
        await source.run("migrate-continue", { state: "pre-switchover" });
        // What does not end by itself does when its machine ends.
        await source.run("migrate_cancel");
        await source.until("completed", "failed", "cancelled");
        await rig.quit(source);
        await rig.quit(destination);
        await rig.stored("a");
        expect(rig.folder.check("a")).toBe(CLEAN);
      }),
      { numRuns: RUNS },
    );
    end();
  });
});
