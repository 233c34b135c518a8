// Machines in processes of their own that migrate: this program's and real QEMUs.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { type SystemClient, SystemProcess } from "../support/system-process.ts";

/** This program, from the sources. */
export const OURS: readonly string[] = [
  process.execPath,
  "--conditions=vblk-source",
  "--import",
  import.meta.resolve("tsx"),
  new URL("../../cli/system.ts", import.meta.url).pathname,
];
export type Reply = Record<string, unknown>;
export interface Bitmap {
  readonly name: string;
}

/** A machine `none` with these nodes, given as of `-blockdev`, and with bitmaps going through migrations. */
export async function start(
  folder: string,
  name: string,
  program: readonly string[],
  nodes: readonly string[],
  args: readonly string[] = [],
): Promise<SystemClient> {
  mkdirSync(join(folder, name));
  const blockdevs = nodes.flatMap((node) => ["-blockdev", node]);
  const client = await new SystemProcess(
    join(folder, name),
    ["-machine", "none", "-nodefaults", "-display", "none", ...blockdevs, ...args],
    program,
  ).connect();
  await capabilities(client, "events", "dirty-bitmaps");
  return client;
}

export async function capabilities(client: SystemClient, ...names: readonly string[]): Promise<void> {
  const states = names.map((capability) => ({ capability, state: true }));
  expect(await client.execute("migrate-set-capabilities", { capabilities: states })).toEqual({ return: {} });
}

/** All bitmaps with all that is told of them, by name. */
export async function bitmapsOf(client: SystemClient): Promise<Reply> {
  const { return: nodes } = (await client.execute("query-named-block-nodes")) as {
    return: { "node-name": string; "dirty-bitmaps"?: Bitmap[] }[];
  };
  const found: Reply = {};
  for (const { "node-name": node, "dirty-bitmaps": bitmaps = [] } of nodes) {
    for (const bitmap of bitmaps) {
      const { name } = bitmap;
      const hash = await client.execute("x-debug-block-dirty-bitmap-sha256", { node, name });
      found[`${node}/${name}`] = { ...bitmap, ...(hash["return"] as object) };
    }
  }
  return found;
}

/** What is told from the first status on: QEMU may tell before that that it runs. */
export function statuses(client: SystemClient): string[] {
  const first = client.qmp.messages.findIndex(({ event }) => event === "MIGRATION");
  return client.qmp.messages.slice(first).flatMap(({ event, data }) => {
    if (event === "MIGRATION") return [(data as { status: string }).status];
    return event === "STOP" || event === "RESUME" ? [event] : [];
  });
}

/** Resolves when a migration has ended there. */
export function ended(client: SystemClient): Promise<Reply> {
  return client.qmp.next(
    ({ event, data }) => event === "MIGRATION" && ["completed", "failed"].includes((data as { status: string }).status),
  );
}
