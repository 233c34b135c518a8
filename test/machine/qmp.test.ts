// QMP from a script: the monitor's commands and events in the same process, on the drives that the guest uses.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import { Machine } from "../../machine/machine.ts";
import type { MachineEvent } from "../../machine/qmp-types.ts";
import { runScript, type ScriptMain } from "../../machine/script.ts";
import { QmpError } from "../../src/base/errors.ts";
import type { SchemaInfo } from "../../src/qmp/schema/schema-info.ts";
import { withFolder } from "../support/cli.ts";

const MIB = 1 << 20;
const CLUSTER = 65_536;
const silent = { log: () => {}, progress: () => {}, check: () => {} };

async function run(main: ScriptMain, machine?: Machine): Promise<void> {
  const drive = { driver: "memory", sizeBytes: MIB, nodeName: "disk" } as const;
  await runScript({ machine: machine ?? (await Machine.create({ drives: [drive] })), main, reporter: silent });
}

describe("MachineControl's qmp", () => {
  it("shows the drive, its device and its bitmaps", () =>
    run(async ({ guest, control }) => {
      const disk = await guest.probe();
      await control.qmp("block-dirty-bitmap-add", { node: "drive0", name: "b", granularity: CLUSTER });
      await disk.write(CLUSTER, new Uint8Array(512));
      const bitmap = { name: "b", count: CLUSTER, granularity: CLUSTER, recording: true, busy: false };
      expect(await control.qmp("query-block")).toMatchObject([
        {
          device: "drive0",
          qdev: "/machine/peripheral-anon/device[0]",
          inserted: { "node-name": "disk", drv: "memory", image: { "virtual-size": MIB }, "dirty-bitmaps": [bitmap] },
        },
      ]);
      expect(control.bitmaps).toMatchObject([{ drive: "drive0", name: "b", dirtyBytes: CLUSTER }]);
      expect(await control.qmp("query-status")).toEqual({ running: true, status: "running" });
    }));

  it("refuses with the class and text of the error reply, whatever is wrong", () =>
    run(async ({ control }) => {
      const refusal = async (name: string, args?: object): Promise<string> => {
        const error: unknown = await control.qmp(name, args).catch((reason: unknown) => reason);
        expect(error).toBeInstanceOf(QmpError);
        const { errorClass, message } = error as QmpError;
        return `${errorClass}: ${message}`;
      };
      expect(await refusal("frobnicate")).toBe("CommandNotFound: The command frobnicate has not been found");
      expect(await refusal("job-cancel", {})).toBe("GenericError: Parameter 'id' is missing");
      expect(await refusal("job-cancel", { id: "x", y: 1 })).toBe("GenericError: Parameter 'y' is unexpected");
      expect(await refusal("block-job-pause", { device: "x" })).toBe("DeviceNotActive: Block job 'x' not found");
    }));

  it("knows the jobs, nodes and bitmaps of the short cuts, and they know its", () =>
    withFolder((folder) =>
      run(async ({ control }) => {
        const backup = await control.startBackup({ target: join(folder, "backup.img"), id: "short" });
        const jobs = await control.qmp("query-jobs");
        expect(jobs.map(({ id, type }) => `${id} ${type}`)).toEqual(["short backup"]);
        expect((await control.qmp("query-named-block-nodes")).map(({ file }) => file)).toContain(
          join(folder, "backup.img"),
        );
        await backup.completed;
        expect(await control.qmp("query-jobs")).toEqual([]);
        // Its target is gone with it; the drive's node stays.
        expect((await control.qmp("query-named-block-nodes")).map((node) => node["node-name"])).toEqual(["disk"]);
      }),
    ));

  it("backs up within a transaction while the guest writes: the image is of that moment, the bitmap of what came after", () =>
    withFolder(async (folder) => {
      const [image, copy] = [join(folder, "disk.img"), join(folder, "copy.img")];
      const past = new Uint8Array(4 * MIB).map((_, i) => (i * 13) >> 8);
      writeFileSync(image, past);
      writeFileSync(copy, new Uint8Array(past.length));
      await run(
        async ({ guest, control }) => {
          const disk = await guest.probe();
          using events = control.events();
          const file = { driver: "file", filename: copy };
          await control.qmp("blockdev-add", { driver: "raw", "node-name": "copy", file });
          await control.qmp("transaction", {
            actions: [
              { type: "block-dirty-bitmap-add", data: { node: "drive0", name: "since", granularity: CLUSTER } },
              { type: "blockdev-backup", data: { "job-id": "b", device: "drive0", target: "copy", sync: "full" } },
            ],
          });
          for (let i = 0; i < 8; i++) await disk.write(i * 4 * CLUSTER, new Uint8Array(512).fill(0xee));
          const { data } = await events.until("BLOCK_JOB_COMPLETED", ({ device }) => device === "b");
          expect(data).toEqual({ type: "backup", device: "b", len: past.length, offset: past.length, speed: 0 });
          expect([...control.dirtyAreas({ name: "since" })].map(({ offsetBytes }) => offsetBytes / CLUSTER)).toEqual([
            ...[0, 4, 8, 12],
            ...[16, 20, 24, 28],
          ]);
          await control.qmp("blockdev-del", { "node-name": "copy" });
        },
        await Machine.create({ drives: [{ driver: "file", path: image }] }),
      );
      expect(readFileSync(copy).equals(past)).toBe(true);
      expect(readFileSync(image)[0]).toBe(0xee);
    }));

  it("ends the run at quit, and runs nothing after it", async () => {
    const heard: MachineEvent[] = [];
    await run(async ({ guest, control }) => {
      control.onEvent((event) => heard.push(event));
      const disk = await guest.probe();
      await control.qmp("quit");
      for (;;) await disk.read(0, 512);
    });
    expect(heard.map(({ event, data }) => [event, data])).toEqual([
      ["SHUTDOWN", { guest: false, reason: "host-qmp-quit" }],
    ]);
  });

  it("closes what a script leaves: nodes of its own, jobs that never end, streams that are read", () =>
    withFolder(async (folder) => {
      const copy = join(folder, "copy.img");
      writeFileSync(copy, new Uint8Array(MIB));
      let waiting: Promise<unknown> = Promise.resolve();
      await run(async ({ control }) => {
        await control.qmp("blockdev-add", { driver: "file", "node-name": "copy", filename: copy });
        await control.qmp("blockdev-backup", { "job-id": "b", device: "drive0", target: "copy", sync: "none" });
        waiting = control.events().until("BLOCK_IO_ERROR");
        waiting.catch(() => {}); // looked at below
      });
      await expect(waiting).rejects.toThrow("No event BLOCK_IO_ERROR until the stream was closed");
      await (await Machine.create({ drives: [{ driver: "file", path: copy }] })).close();
    }));
});

describe("EventStream", () => {
  it("gives events in their order, those that were before the wait too, and ends when it is closed", () =>
    run(async ({ control }) => {
      const events = control.events();
      await control.qmp("stop");
      await control.qmp("cont");
      await control.qmp("system_reset");
      expect((await events.next())?.event).toBe("STOP");
      expect((await events.until("RESET")).data).toEqual({ guest: false, reason: "host-qmp-system-reset" });
      const seen: string[] = [];
      const reading = (async () => {
        for await (const { event } of events) seen.push(event);
      })();
      await control.qmp("stop");
      await control.qmp("cont");
      events.close();
      await reading;
      await control.qmp("stop");
      expect(seen).toEqual(["STOP", "RESUME"]);
      expect(await events.next()).toBeUndefined();
    }));
});

describe("the types of QMP's commands and events", () => {
  const path = fileURLToPath(new URL("../../machine/qmp-types.ts", import.meta.url));
  const config = ts.readConfigFile(fileURLToPath(new URL("../../tsconfig.json", import.meta.url)), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(
    config.config,
    ts.sys,
    fileURLToPath(new URL("../..", import.meta.url)),
  );
  const program = ts.createProgram([path], options);
  const checker = program.getTypeChecker();
  const source = program.getSourceFile(path)!;

  /** Members of an interface of that file, each with its type. */
  function membersOf(name: string): Map<string, ts.Type> {
    const symbol = checker.getExportsOfModule(checker.getSymbolAtLocation(source)!).find((one) => one.name === name)!;
    const type = checker.getDeclaredTypeOfSymbol(symbol);
    return new Map(type.getProperties().map((member) => [member.name, checker.getTypeOfSymbol(member)]));
  }

  /** `name`, or `name?` where it may be absent, sorted; undefined for a type that takes any member. */
  function describeType(type: ts.Type): string[] | undefined {
    if (type.getStringIndexType() !== undefined && type.getProperties().length > 0) return undefined;
    return type
      .getProperties()
      .map(({ name, flags }) => ((flags & ts.SymbolFlags.Optional) !== 0 ? `${name}?` : name))
      .sort();
  }

  async function schema(): Promise<readonly SchemaInfo[]> {
    let infos: readonly SchemaInfo[] = [];
    await run(async ({ control }) => {
      infos = (await control.qmp("query-qmp-schema")) as readonly SchemaInfo[];
    });
    return infos;
  }

  /** Members of a type of the schema, in the same form; of a list those of its elements. Undefined where it has variants or none. */
  function describeInfo(infos: readonly SchemaInfo[], typeName: string): string[] | undefined {
    const info = infos.find(
      ({ name, "meta-type": kind }) => name === typeName && kind !== "command" && kind !== "event",
    );
    if (info?.["meta-type"] === "array") return describeInfo(infos, info["element-type"]);
    if (info?.["meta-type"] !== "object" || info.variants !== undefined) return undefined;
    return info.members.map((member) => ("default" in member ? `${member.name}?` : member.name)).sort();
  }

  it("have the members that the schema has, required and optional, in arguments and results", {
    timeout: 60_000,
  }, async () => {
    const infos = await schema();
    let compared = 0;
    for (const [name, call] of membersOf("QmpCommands")) {
      const info = infos.find((one) => one.name === name && one["meta-type"] === "command");
      expect(info, `there is no command ${name}`).toBeDefined();
      if (info?.["meta-type"] !== "command") continue;
      for (const [side, typeName] of [
        ["arguments", info["arg-type"]],
        ["returns", info["ret-type"]],
      ] as const) {
        const declared = checker.getTypeOfSymbol(call.getProperty(side)!);
        const element = checker.getIndexTypeOfType(declared, ts.IndexKind.Number);
        const isList = checker.isArrayType(declared);
        const typed = describeType(isList ? element! : declared);
        const told = describeInfo(infos, typeName);
        if (typed === undefined || told === undefined) continue;
        expect(typed, `${side} of ${name}`).toEqual(told);
        compared++;
      }
    }
    expect(compared).toBeGreaterThan(60);
  });

  it("tell of every event, with the members of its data", { timeout: 60_000 }, async () => {
    const infos = await schema();
    const typed = membersOf("QmpEvents");
    const events = infos.filter((info) => info["meta-type"] === "event");
    expect([...typed.keys()].sort()).toEqual(events.map(({ name }) => name).sort());
    for (const event of events) {
      const told = describeInfo(infos, event["arg-type"])!;
      expect(describeType(typed.get(event.name)!), event.name).toEqual(told);
    }
  });
});
