// Migrations by the human monitor, beside a real QEMU: docs/reference/migration-stream.md §5, persistence-migration.md §5.4.
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { withFolder } from "../support/cli.ts";
import type { SystemClient } from "../support/system-process.ts";
import { describeWithTools } from "../support/tools.ts";
import { ImageMachine } from "./image-machine.ts";
import { OURS, start } from "./system-migration.ts";

const QEMU = ["qemu-system-aarch64"];
const NODE = { n0: { driver: "null-co", size: 1 << 20, "read-zeroes": true } };
const DETACHED = "terminal does not allow synchronous migration, continuing detached\r\n";

let machine: ImageMachine;
beforeEach(async () => {
  machine = await ImageMachine.create(NODE);
});
afterEach(() => machine.quit());

async function shown(what: string): Promise<string[]> {
  return ((await machine.human(`info ${what}`)) as string).split("\r\n");
}

describe("the human monitor", () => {
  it("migrates, and shows how far it is", async () => {
    const destination = await ImageMachine.create(NODE, { incoming: true });
    machine.channels.destination = destination.channels;
    expect(await shown("migrate")).toHaveLength(8);
    expect(await machine.human("migrate unix:in")).toBe(DETACHED);
    await machine.until("completed");
    expect((await shown("migrate")).slice(7)).toEqual([
      "Migration status: completed",
      expect.stringMatching(/^total time: \d+ ms$/),
      expect.stringMatching(/^downtime: \d+ ms$/),
      "setup: 0 ms",
      "transferred ram: 0 kbytes",
      expect.stringMatching(/^throughput: \d+\.\d\d mbps$/),
      "remaining ram: 0 kbytes",
      "total ram: 0 kbytes",
      "duplicate: 0 pages",
      "skipped: 0 pages",
      "normal: 0 pages",
      "normal bytes: 0 kbytes",
      expect.stringMatching(/^dirty sync count: \d$/),
      "page size: 1 kbytes",
      "multifd bytes: 0 kbytes",
      "pages-per-second: 0",
      "",
    ]);
    await destination.until("completed");
    const told = (await destination.human("info migrate")) as string;
    expect(told.split("\r\n").slice(7)).toEqual(["Migration status: completed", "total time: 0 ms", ""]);
    await destination.quit();
  });

  it("cancels, and tells why a migration failed", async () => {
    machine.channels.destination = "nowhere";
    await machine.human("migrate_set_capability pause-before-switchover on");
    expect(await machine.human("migrate -d unix:in")).toBe("");
    await machine.until("pre-switchover");
    expect(await machine.human("migrate_continue device")).toBe(
      "Error: Migration not in expected state: pre-switchover\r\n",
    );
    expect(await machine.human("cont")).toBe("Error: Migration is not finalized yet\r\n");
    expect(await machine.human("migrate_cancel")).toBe("");
    await machine.until("cancelled");
    expect((await shown("migrate")).slice(7)).toEqual(["Migration status: cancelled", "total time: 0 ms", ""]);
    machine.channels.destination = undefined;
    await machine.human("migrate -d unix:in");
    await machine.until("failed");
    expect((await shown("migrate"))[7]).toBe(
      "Migration status: failed (Failed to connect to 'in': Connection refused)",
    );
  });

  it("shows where it waits", async () => {
    const destination = await ImageMachine.create({}, { incoming: true });
    const told = (await destination.human("info migrate")) as string;
    expect(told.split("\r\n").slice(7)).toEqual(["socket address: [", "\tunix:in", "]", ""]);
    await destination.quit();
  });
});

/** What one types, and QEMU 7.2 answers the same to. */
const LINES = [
  ...["migrate", "migrate_capabilities", "migrate_parameters"].flatMap((what) => [`info ${what}`, `help info ${what}`]),
  ...["", "_cancel", "_set_capability", "_set_parameter", "_incoming", "_start_postcopy", "_continue", "_pause"].map(
    (verb) => `help migrate${verb}`,
  ),
  ...["migrate", "migrate -d", "migrate foo:x", "migrate -d foo:x", "migrate -x foo:x", "migrate -r foo:x"],
  ...["migrate_cancel", "migrate_pause", "migrate_recover", "migrate_recover x", "migrate_start_postcopy"],
  ...["migrate_continue", "migrate_continue foo", "migrate_incoming", "migrate_incoming tcp:0:0"],
  ...["", " foo on", " dirty-bitmaps", " dirty-bitmaps x", " dirty-bitmaps onx", " dirty-bitmaps on x"].map(
    (rest) => `migrate_set_capability${rest}`,
  ),
  ...["postcopy-ram on", "background-snapshot on", "postcopy-ram off"].map((rest) => `migrate_set_capability ${rest}`),
  "info migrate_capabilities",
  "migrate_set_parameter",
  "migrate_set_parameter max-bandwidth",
  ...["foo 1", "block-bitmap-mapping x", "compress-level x", "compress-level 300", "compress-level -1"].map(
    (rest) => `migrate_set_parameter ${rest}`,
  ),
  ...["compress-level 10", "compress-level 1k", "compress-threads 0", "decompress-threads 0", "multifd-channels 0"].map(
    (rest) => `migrate_set_parameter ${rest}`,
  ),
  ...["throttle-trigger-threshold 101", "cpu-throttle-initial 100", "cpu-throttle-increment 0"].map(
    (rest) => `migrate_set_parameter ${rest}`,
  ),
  ...["max-cpu-throttle 10", "max-cpu-throttle 100", "announce-initial 100001", "announce-rounds 1001"].map(
    (rest) => `migrate_set_parameter ${rest}`,
  ),
  ...["announce-max 100001", "announce-step 10001", "x-checkpoint-delay 4294967296", "x-checkpoint-delay x"].map(
    (rest) => `migrate_set_parameter ${rest}`,
  ),
  ...["downtime-limit x", "downtime-limit 1x", "downtime-limit 2000001", "xbzrle-cache-size 3000"].map(
    (rest) => `migrate_set_parameter ${rest}`,
  ),
  ...["max-postcopy-bandwidth -1", "max-bandwidth x", "max-bandwidth 1x", "block-incremental maybe"].map(
    (rest) => `migrate_set_parameter ${rest}`,
  ),
  ...["multifd-compression zst", "tls-hostname a b"].map((rest) => `migrate_set_parameter ${rest}`),
  "info migrate_parameters",
  ...["max-bandwidth 3.5", "downtime-limit 1k", "multifd-channels 0x10", "compress-threads 010"].map(
    (rest) => `migrate_set_parameter ${rest}`,
  ),
  ...["multifd-compression zstd", "cpu-throttle-tailslow yes", "xbzrle-cache-size 64k", "tls-creds foo"].map(
    (rest) => `migrate_set_parameter ${rest}`,
  ),
  ...["max-postcopy-bandwidth 7", "announce-initial 5", "max-cpu-throttle 20"].map(
    (rest) => `migrate_set_parameter ${rest}`,
  ),
  "info migrate_parameters",
];

describeWithTools(QEMU, "the human monitor of a real QEMU", () => {
  it("answers as this one does", () =>
    withFolder(async (folder) => {
      const node = "null-co,node-name=n0,size=1048576,read-zeroes=on";
      const clients = [await start(folder, "qemu", QEMU, [node]), await start(folder, "ours", OURS, [node])];
      try {
        const told = async (client: SystemClient): Promise<Record<string, unknown>> => {
          const answers: Record<string, unknown> = {};
          for (const [index, line] of LINES.entries()) answers[`${index} ${line}`] = await client.human(line);
          const mapping = [{ "node-name": "n0", alias: "al", bitmaps: [{ name: "b", alias: "c" }] }];
          await client.execute("migrate-set-parameters", { "block-bitmap-mapping": mapping });
          answers["mapping"] = await client.human("info migrate_parameters");
          answers["failure"] = await client.human(`migrate unix:${join("/nonexistent", "x")}`);
          const status = async (): Promise<unknown> =>
            ((await client.execute("query-migrate"))["return"] as { status: string }).status;
          while ((await status()) === "setup") await new Promise((resolve) => setImmediate(resolve));
          answers["failed"] = await client.human("info migrate");
          return answers;
        };
        const [qemu, ours] = [await told(clients[0]!), await told(clients[1]!)];
        expect(ours).toEqual(qemu);
      } finally {
        for (const client of clients) client.kill();
      }
    }));
});
