// Machines that wait for a migration, and the ways in which it comes: docs/reference/migration-stream.md §3.1, §5.
import { openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseCommandLine } from "../../machine/command-line.ts";
import { MonitoredMachine } from "../../machine/monitored-machine.ts";
import { capturedStream } from "../migration/captured-stream.ts";
import { runCli, withFolder } from "../support/cli.ts";

const NODE = ["-blockdev", "null-co,node-name=n0,size=131072,read-zeroes=on"];

interface Seen {
  readonly machine: MonitoredMachine;
  readonly events: string[];
  run(name: string, args?: object): Promise<unknown>;
  until(event: string): Promise<void>;
}

async function machine(...args: readonly string[]): Promise<Seen> {
  const made = await MonitoredMachine.create(parseCommandLine(["-M", "none", ...NODE, ...args]), { version: "1.0.0" });
  const events: string[] = [];
  let wake: (() => void)[] = [];
  made.server.events.listen(({ event, data }) => {
    events.push(event === "MIGRATION" ? (data as { status: string }).status : event);
    for (const resolve of wake.splice(0)) resolve();
  });
  const run = (name: string, given?: object): Promise<unknown> =>
    made.server.execute(name, given).catch((error: Error) => error.message);
  await run("migrate-set-capabilities", {
    capabilities: ["events", "dirty-bitmaps"].map((capability) => ({ capability, state: true })),
  });
  const until = async (event: string): Promise<void> => {
    while (!events.includes(event)) await new Promise<void>((resolve) => wake.push(resolve));
  };
  wake = [];
  return { machine: made, events, run, until };
}

async function end({ machine: made }: Seen): Promise<void> {
  made.end();
  await made.ended;
}

describe("-incoming", () => {
  it("waits in inmigrate, and takes a migration by a file that a command reads", () =>
    withFolder(async (folder) => {
      const file = join(folder, "stream");
      writeFileSync(file, capturedStream());
      const seen = await machine("-incoming", "defer");
      expect(await seen.run("query-status")).toEqual({ running: false, status: "inmigrate" });
      expect(await seen.run("query-migrate")).toEqual({});
      expect(await seen.run("migrate", { uri: "exec:cat" })).toBe("Guest is waiting for an incoming migration");
      expect(await seen.run("migrate-incoming", { uri: "foo:x" })).toBe("unknown migration protocol: foo:x");
      expect(await seen.run("migrate-incoming", { uri: "unix:/nonexistent/x" })).toBe(
        "Failed to bind socket to /nonexistent/x: No such file or directory",
      );
      await seen.run("cont");
      expect(await seen.run("migrate-incoming", { uri: `exec:cat '${file}'` })).toEqual({});
      expect(await seen.run("migrate-incoming", { uri: "exec:cat" })).toBe(
        "The incoming migration has already been started",
      );
      await seen.until("completed");
      expect(seen.events.slice(-3)).toEqual(["active", "RESUME", "completed"]);
      expect(await seen.run("query-migrate")).toEqual({ status: "completed" });
      expect(await seen.run("query-named-block-nodes")).toMatchObject([
        {
          "dirty-bitmaps": [
            { name: "b0", count: 65536, recording: true },
            { name: "b1", recording: false },
          ],
        },
      ]);
      await end(seen);
    }));

  it("stays paused with -S, or after stop, and has its bitmaps recording", () =>
    withFolder(async (folder) => {
      const file = join(folder, "stream");
      writeFileSync(file, capturedStream());
      for (const args of [["-S"], []]) {
        const seen = await machine("-incoming", "defer", ...args);
        if (args.length === 0) expect(await seen.run("stop")).toEqual({});
        await seen.run("migrate-incoming", { uri: `exec:cat '${file}'` });
        await seen.until("completed");
        expect(await seen.run("query-status")).toEqual({ running: false, status: "paused" });
        expect(seen.events).not.toContain("RESUME");
        expect(await seen.run("query-named-block-nodes")).toMatchObject([
          { "dirty-bitmaps": [{ recording: true }, {}] },
        ]);
        expect(await seen.run("cont")).toEqual({});
        expect(seen.events.at(-1)).toBe("RESUME");
        await end(seen);
      }
    }));

  it("is in whichever other state the source was in", () =>
    withFolder(async (folder) => {
      const file = join(folder, "stream");
      const stream = capturedStream();
      stream.set(Buffer.from("suspended"), 0x12b);
      writeFileSync(file, stream);
      const seen = await machine("-incoming", "defer");
      await seen.run("migrate-incoming", { uri: `exec:cat '${file}'` });
      await seen.until("completed");
      expect(await seen.run("query-status")).toEqual({ running: false, status: "suspended" });
      await end(seen);
    }));

  it("comes over TCP, from a file that a command wrote", () =>
    withFolder(async (folder) => {
      const destination = await machine("-incoming", "tcp:127.0.0.1:0");
      const info = (await destination.run("query-migrate")) as { "socket-address": [{ port: string }] };
      const [{ port }] = info["socket-address"];
      const source = await machine();
      await source.run("block-dirty-bitmap-add", { node: "n0", name: "b" });
      const file = join(folder, "out");
      expect(await source.run("migrate", { uri: `exec:cat > '${file}'` })).toEqual({});
      await source.until("completed");
      expect(readFileSync(file).subarray(0, 4).toString()).toBe("QEVM");
      expect(await source.run("migrate", { uri: "exec:cat" })).toBe(
        "Can't migrate the vm that was paused due to previous migration",
      );
      await source.run("cont");
      source.events.length = 0;
      await source.run("migrate", { uri: `tcp:127.0.0.1:${port}` });
      await source.until("completed");
      await destination.until("completed");
      expect(await destination.run("query-named-block-nodes")).toMatchObject([{ "dirty-bitmaps": [{ name: "b" }] }]);
      expect(await source.run("query-migrate")).toMatchObject({ status: "completed", ram: { "page-size": 1024 } });
      await end(source);
      await end(destination);
    }));

  it("comes by an inherited descriptor", () =>
    withFolder(async (folder) => {
      const file = join(folder, "stream");
      const [out, source] = [openSync(file, "w"), await machine()];
      await source.run("block-dirty-bitmap-add", { node: "n0", name: "b" });
      expect(await source.run("migrate", { uri: `fd:${out}` })).toEqual({});
      await source.until("completed");
      const seen = await machine("-incoming", "defer");
      expect(await seen.run("migrate-incoming", { uri: `fd:${openSync(file, "r")}` })).toEqual({});
      await seen.until("completed");
      expect(await seen.run("query-named-block-nodes")).toMatchObject([{ "dirty-bitmaps": [{ name: "b" }] }]);
      await end(source);
      await end(seen);
    }));

  it("ends the program with status 1 where what comes is no migration", () =>
    withFolder(async (folder) => {
      const file = join(folder, "stream");
      writeFileSync(file, "no migration at all");
      const { code, stderr } = await runCli(["machine", "-M", "none", "-incoming", `exec:cat '${file}'`]);
      expect(stderr).toContain("Not a migration stream\n");
      expect(stderr).toMatch(/load of migration failed: Invalid argument\n$/);
      expect(code).toBe(1);
      const refused = await runCli(["machine", "-M", "none", "-incoming", "foo:x"]);
      expect(refused.stderr).toContain("-incoming foo:x: unknown migration protocol: foo:x");
      expect(refused.code).toBe(1);
    }));
});

describe("migrate", () => {
  it("tells what is wrong with an address", async () => {
    const seen = await machine();
    const answers = [
      ["foo:x", "Parameter 'uri' expects a valid migration protocol"],
      ["tcp:x", "error parsing address 'x'"],
      ["unix:", "invalid Unix socket address"],
      ["fd:98765", "File descriptor named '98765' has not been found"],
      ["fd:zz", "File descriptor named 'zz' has not been found"],
    ] as const;
    for (const [uri, message] of answers) expect(await seen.run("migrate", { uri })).toBe(message);
    expect(await seen.run("query-migrate")).toEqual({
      status: "failed",
      "error-desc": "File descriptor named 'zz' has not been found",
    });
    expect(seen.events).toEqual(answers.flatMap(() => ["setup", "failed"]));
    seen.events.length = 0;
    expect(await seen.run("migrate", { uri: "exec:cat > /dev/null; exit 3" })).toEqual({});
    await seen.until("failed");
    expect(await seen.run("query-migrate")).toEqual({
      status: "failed",
      "error-desc": "Unable to write to command: Broken pipe",
    });
    expect(await seen.run("query-status")).toEqual({ running: true, status: "running" });
    expect(await seen.run("migrate-incoming", { uri: "x" })).toBe("'-incoming' was not specified on the command line");
    await end(seen);
  });

  it("has QEMU's capabilities and parameters", async () => {
    const seen = await machine();
    expect(await seen.run("query-migrate-capabilities")).toHaveLength(21);
    expect(await seen.run("migrate-set-parameters", { "downtime-limit": 2_000_001 })).toBe(
      "Parameter 'downtime_limit' expects an integer in the range of 0 to (2000 * 1000) ms",
    );
    await seen.run("migrate-set-parameters", { "max-bandwidth": 5, "tls-creds": null });
    expect(await seen.run("query-migrate-parameters")).toMatchObject({ "max-bandwidth": 5, "downtime-limit": 300 });
    const mapping = [{ "node-name": "n0", bitmaps: [] }];
    expect(await seen.run("migrate-set-parameters", { "block-bitmap-mapping": mapping })).toBe(
      "Parameter 'block-bitmap-mapping[0].alias' is missing",
    );
    await end(seen);
  });

  it("fails while a backup runs, though it is paused, and leaves all as it was", async () => {
    const seen = await machine("-blockdev", "null-co,node-name=t,size=131072,read-zeroes=on");
    await seen.run("block-dirty-bitmap-add", { node: "n0", name: "b" });
    const backup = { device: "n0", target: "t", sync: "none", "job-id": "j" };
    expect(await seen.run("blockdev-backup", backup)).toEqual({});
    await seen.run("migrate", { uri: "exec:cat > /dev/null" });
    await seen.until("RESUME");
    expect(await seen.run("query-migrate")).toMatchObject({ status: "failed" });
    expect(await seen.run("query-status")).toEqual({ running: true, status: "running" });
    expect(await seen.run("block-dirty-bitmap-clear", { node: "n0", name: "b" })).toEqual({});
    await end(seen);
  });
});
