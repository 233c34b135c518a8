// Bitmaps from this program to a real QEMU and back, over unix sockets: docs/reference/migration-stream.md.
import { join } from "node:path";
import { expect, it } from "vitest";
import { withFolder } from "../support/cli.ts";
import type { SystemClient } from "../support/system-process.ts";
import { describeWithTools } from "../support/tools.ts";
import { bitmapsOf, capabilities, ended, OURS, type Reply, start, statuses } from "./system-migration.ts";

const NODE = "null-co,node-name=n0,size=1048576,read-zeroes=on";
const OTHER = "null-co,node-name=n1,size=999936,read-zeroes=on";

async function fill(client: SystemClient, nodes: readonly string[]): Promise<void> {
  const add = (args: object): Promise<Reply> => client.execute("block-dirty-bitmap-add", args);
  await add({ node: "n0", name: "fine", granularity: 512 });
  await add({ node: "n0", name: "off" });
  await add({ node: "n0", name: "clean", granularity: 4096, disabled: true });
  for (const write of ["0 512", "5k 4k", "600k 100k"]) await client.human(`qemu-io n0 "write ${write}"`);
  await client.execute("block-dirty-bitmap-disable", { node: "n0", name: "off" });
  if (nodes.length === 1) return;
  await add({ node: "n1", name: "fine", granularity: 1024 });
  await client.human('qemu-io n1 "write 999424 512"');
}

const PRECOPY = ["setup", "active", "STOP", "completed"];
const POSTCOPY = ["setup", "active", "postcopy-active", "STOP", "completed"];

interface Run {
  readonly from: readonly string[];
  readonly to: readonly string[];
  /** Naming a second node in a postcopy makes QEMU abort. */
  readonly nodes?: readonly string[];
  readonly postcopy?: boolean;
  readonly extra?: readonly string[];
}

/** A QEMU goes on in one thread and receives bitmaps in another: either may be told of first. */
async function expectRunningInPostcopy(destination: SystemClient): Promise<void> {
  while (!statuses(destination).includes("RESUME")) await destination.execute("query-status");
  const told = statuses(destination);
  expect(told.filter((status) => status !== "RESUME")).toEqual(["setup", "active", "postcopy-active", "completed"]);
  expect(told.indexOf("RESUME")).toBeGreaterThan(told.indexOf("postcopy-active"));
}

async function migrate(folder: string, { from, to, nodes = [NODE, OTHER], postcopy = false, extra = [] }: Run) {
  const socket = join(folder, "migrate.sock");
  const source = await start(folder, "source", from, nodes);
  const destination = await start(folder, "destination", to, nodes, ["-incoming", "defer"]);
  try {
    await capabilities(source, ...extra);
    if (extra.includes("postcopy-ram")) await capabilities(destination, "postcopy-ram");
    await fill(source, nodes);
    const before = await bitmapsOf(source);
    expect(Object.keys(before)).toHaveLength(nodes.length === 1 ? 3 : 4);
    const limits = postcopy ? { "max-bandwidth": 200, "downtime-limit": 1 } : { "downtime-limit": 3000 };
    await source.execute("migrate-set-parameters", limits);
    expect(await destination.execute("migrate-incoming", { uri: `unix:${socket}` })).toEqual({ return: {} });
    expect(await source.execute("migrate", { uri: `unix:${socket}` })).toEqual({ return: {} });
    if (postcopy) {
      await source.qmp.next(({ data }) => (data as { status?: string } | undefined)?.status === "active");
      expect(await source.execute("migrate-start-postcopy")).toEqual({ return: {} });
    }
    await ended(source);
    await ended(destination);
    expect(statuses(source)).toEqual(postcopy ? POSTCOPY : PRECOPY);
    if (postcopy && to !== OURS) await expectRunningInPostcopy(destination);
    else
      expect(statuses(destination)).toEqual([
        "setup",
        "active",
        ...(postcopy ? ["postcopy-active"] : []),
        "RESUME",
        "completed",
      ]);
    expect(await bitmapsOf(destination)).toEqual(before);
    expect(await bitmapsOf(source)).toEqual(before);
    expect((await source.execute("query-status"))["return"]).toMatchObject({ status: "postmigrate" });
    // The source may run again, and record.
    expect(await source.execute("cont")).toEqual({ return: {} });
    await source.human('qemu-io n0 "write 1000k 512"');
    expect(await bitmapsOf(source)).not.toEqual(before);
    expect(await source.quit()).toBe(0);
    expect(await destination.quit()).toBe(0);
    expect(source.process.errorOutput + destination.process.errorOutput).toBe("");
  } finally {
    source.kill();
    destination.kill();
  }
}

for (const tool of ["qemu-system-aarch64", "qemu-system-arm"]) {
  describeWithTools([tool], `bitmaps of ${tool}`, () => {
    const qemu = [tool];
    it("arrive here", () => withFolder((folder) => migrate(folder, { from: qemu, to: OURS })));
    it("come from here", () => withFolder((folder) => migrate(folder, { from: OURS, to: qemu })));
    if (tool.endsWith("arm")) return;
    const one = [NODE];
    it("arrive here in a postcopy, with a return path", () =>
      withFolder((folder) =>
        migrate(folder, { from: qemu, to: OURS, nodes: one, postcopy: true, extra: ["return-path"] }),
      ));
    it("arrive here in a postcopy of RAM that there is not", () =>
      withFolder((folder) =>
        migrate(folder, { from: qemu, to: OURS, nodes: one, postcopy: true, extra: ["postcopy-ram"] }),
      ));
    it("come from here in a postcopy, with a return path", () =>
      withFolder((folder) =>
        migrate(folder, { from: OURS, to: qemu, nodes: one, postcopy: true, extra: ["return-path"] }),
      ));
    it("come from here with a return path", () =>
      withFolder((folder) => migrate(folder, { from: OURS, to: qemu, extra: ["return-path"] })));
  });
}
