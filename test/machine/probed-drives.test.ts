// Drives and targets of backups whose format nobody says: docs/reference/monitor.md §6, backup.md §2.2.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { parseCommandLine } from "../../machine/command-line.ts";
import { MonitoredMachine } from "../../machine/monitored-machine.ts";
import { onWarning } from "../../src/base/warnings.ts";
import { withFolder } from "../support/cli.ts";

const HEADER = Buffer.concat([Buffer.from("514649fb00000003", "hex"), Buffer.alloc(504)]);

interface Rig {
  readonly folder: string;
  readonly warnings: string[];
  execute(command: string, args?: object): Promise<unknown>;
  io(command: string): Promise<string>;
}

function withMachine(drive: (folder: string) => string, body: (rig: Rig) => Promise<void>): Promise<void> {
  return withFolder(async (folder) => {
    writeFileSync(join(folder, "raw.img"), new Uint8Array(1 << 20));
    writeFileSync(join(folder, "target.img"), new Uint8Array(1 << 20));
    writeFileSync(join(folder, "header"), HEADER);
    const warnings: string[] = [];
    const endWarnings = onWarning((message) => warnings.push(message));
    let printed = "";
    const commandLine = parseCommandLine(["-M", "virt", "-S", "-drive", drive(folder)]);
    const machine = await MonitoredMachine.create(commandLine, { version: "1.2.3" });
    const write = process.stdout.write;
    try {
      await body({
        folder,
        warnings,
        execute: (command, args = {}) => machine.server.execute(command, args),
        async io(command) {
          printed = "";
          process.stdout.write = (text: string | Uint8Array) => {
            printed += String(text);
            return true;
          };
          await machine.server.execute("human-monitor-command", { "command-line": `qemu-io d "${command}"` });
          process.stdout.write = write;
          return printed.split("\n")[0]!.trim();
        },
      });
    } finally {
      process.stdout.write = write;
      endWarnings();
      machine.end();
      await machine.ended;
    }
  });
}

function warningOf(name: string): string {
  return [
    `WARNING: Image format was not specified for '${name}' and probing guessed raw.`,
    "         Automatically detecting the format is dangerous for raw images, write operations on block 0 will be restricted.",
    "         Specify the 'raw' format explicitly to remove the restrictions.",
  ].join("\n");
}

it.each<[string, (folder: string) => string, ((folder: string) => string) | undefined]>([
  ["a name", (folder) => `if=none,id=d,file=${folder}/raw.img`, (folder) => `${folder}/raw.img`],
  [
    "a node's option",
    (folder) => `if=none,id=d,file.driver=file,file.filename=${folder}/raw.img`,
    (folder) => `${folder}/raw.img`,
  ],
  ["faults", (folder) => `if=none,id=d,file=blkdebug::${folder}/raw.img`, (folder) => `blkdebug::${folder}/raw.img`],
  ["no file", () => "if=none,id=d,file.driver=null-co", () => "null-co://"],
  ["a name, with its format", (folder) => `if=none,id=d,format=raw,file=${folder}/raw.img`, undefined],
  ["a name, with its driver", (folder) => `if=none,id=d,driver=raw,file=${folder}/raw.img`, undefined],
  [
    "JSON",
    (folder) => `if=none,id=d,file=json:{"driver":"raw",,"file":{"driver":"file",,"filename":"${folder}/raw.img"}}`,
    undefined,
  ],
])(
  "-drive: a raw image by %s is told of if it was found out, and then its first block is restricted",
  (_what, drive, name) =>
    withMachine(drive, async ({ folder, warnings, io }) => {
      expect(warnings).toEqual(name === undefined ? [] : [warningOf(name(folder))]);
      const restricted = name !== undefined;
      expect(await io(`write -s ${folder}/header 0 512`)).toBe(
        restricted ? "write failed: Operation not permitted" : "wrote 512/512 bytes at offset 0",
      );
      expect(await io("write 0 512")).toBe("wrote 512/512 bytes at offset 0");
    }),
);

it("-drive: a raw image that is read-only is not told of", () =>
  withMachine(
    (folder) => `if=none,id=d,read-only=on,file=${folder}/raw.img`,
    async ({ warnings }) => expect(warnings).toEqual([]),
  ));

it("blockdev-reopen with driver=raw takes the restriction away, as its warning says", () =>
  withMachine(
    (folder) => `if=none,id=d,node-name=n,file=${folder}/raw.img`,
    async ({ folder, execute, io }) => {
      const file = { driver: "file", filename: `${folder}/raw.img` };
      await execute("blockdev-reopen", { options: [{ driver: "raw", "node-name": "n", file }] });
      expect(await io(`write -s ${folder}/header 0 512`)).toBe("wrote 512/512 bytes at offset 0");
    },
  ));

const backup = (folder: string, more: object = {}): object => ({
  device: "d",
  "job-id": "j",
  "auto-dismiss": false,
  target: `${folder}/target.img`,
  sync: "full",
  mode: "existing",
  ...more,
});

async function concluded(execute: Rig["execute"]): Promise<{ status: string; error?: string }> {
  for (;;) {
    const [job] = (await execute("query-jobs")) as { status: string; error?: string }[];
    if (job?.status === "concluded") return job;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

it("drive-backup mode=existing: a raw target is told of, and fails a backup that would make it another image", () =>
  withMachine(
    (folder) => `if=none,id=d,format=raw,file=${folder}/raw.img`,
    async ({ folder, warnings, execute, io }) => {
      await io(`write -s ${folder}/header 0 512`);
      await execute("drive-backup", backup(folder));
      expect(warnings).toEqual([warningOf(`${folder}/target.img`)]);
      expect(await concluded(execute)).toMatchObject({ error: "Operation not permitted" });
      await execute("job-dismiss", { id: "j" });
      await execute("drive-backup", backup(folder, { format: "raw" }));
      expect(await concluded(execute)).not.toHaveProperty("error");
      expect(readFileSync(`${folder}/target.img`).subarray(0, 512).equals(HEADER)).toBe(true);
      expect(warnings).toHaveLength(1);
    },
  ));

it("drive-backup mode=existing: a raw target that is found out stands on nothing, and is told of before that", () =>
  withMachine(
    (folder) => `if=none,id=d,format=raw,file=${folder}/raw.img`,
    async ({ folder, warnings, execute }) => {
      await expect(execute("drive-backup", backup(folder, { sync: "none" }))).rejects.toThrow(
        /^Driver 'raw' of node '#block\d+' does not support backing files$/,
      );
      expect(warnings).toHaveLength(1);
    },
  ));
