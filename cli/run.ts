// `vblk run`: a guest script on a machine of its own, with its jobs shown and its claims proved.

import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { MachineControl } from "../machine/control.ts";
import { type DriveOptions, parseDriveOptions } from "../machine/drive-options.ts";
import { Machine } from "../machine/machine.ts";
import { parseSize } from "../machine/option-string.ts";
import { runScript, type ScriptMain } from "../machine/script.ts";
import { makeDemoImage } from "./demo-image.ts";
import { CommandError, ExitCode, failureText } from "./exit.ts";
import { RequestStatistics } from "./request-statistics.ts";
import { RunReporter } from "./run-reporter.ts";
import { type RunSummary, summarise, writeSummary } from "./run-summary.ts";
import { endOnSignals } from "./signals.ts";
import { formatBytes } from "./table.ts";
import { printTraces, type TraceFormat } from "./trace-printer.ts";

const POLL_MS = 100;
const DEFAULT_RAM_BYTES = 64 << 20;
const DEMO_IMAGE = "vblk-demo/disk.img";
const SCRATCH_DISK: DriveOptions = { driver: "memory", sizeBytes: 64 << 20 };

const EXAMPLES = `
A script is a module that exports main():

  export async function main({ guest, control, log, check }) {
    const disk = await guest.probe();
    await disk.write(0, new Uint8Array(4096).fill(7));
    await disk.flush();
  }

Examples:
  $ vblk run script.ts                                   on a scratch disk of 64 MiB in memory
  $ vblk run script.ts --drive file=disk.img             on your own image, raw or qcow2
  $ vblk run script.ts --drive file=disk.img,readonly=on,serial=TEST1
  $ vblk run script.ts --drive file=a.img --drive file=b.img
  $ vblk run script.ts --image-from src                  on an image with a tar archive of src/
  $ vblk run script.ts --trace 'virtio_blk_*'            every request as the device sees it
  $ vblk run script.ts --json > result.json              what it did, for a program to read

Exit status: 0 all is well; 1 something failed, or a claim of the script does not hold; 2 wrong use; 130 Ctrl-C.`;

interface RunFlags {
  readonly drive?: readonly DriveOptions[];
  readonly imageFrom?: string;
  readonly memory?: number;
  readonly trace?: readonly string[];
  readonly traceFormat: TraceFormat;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** Adds `run` to `program`. */
export function addRunCommand(program: Command): void {
  program
    .command("run")
    .summary("run a guest script against a virtio block device")
    .description(
      "Runs a guest script (TypeScript or JavaScript) that drives virtio block devices over their registers.",
    )
    .argument("<script>", "the script: a module that exports main()")
    .option(
      "--drive <options>",
      "a disk: file=PATH[,format=qcow2][,readonly=on][,cache=writethrough][,discard=ignore][,serial=S]\n[,x-io=threads], or driver=memory|null-co,size=64M; may be given several times",
      collectDrives,
    )
    .option(
      "--image-from <folder>",
      `without --drive: the disk is ${DEMO_IMAGE}, made anew with a tar archive of this folder`,
    )
    .option("--memory <size>", "the guest's RAM (default: 64M)", parseRamSize)
    .option("--trace <pattern>", "print matching trace points to the standard error; * for any name", collectPatterns)
    .addOption(new Option("--trace-format <format>", "how they are printed").choices(["text", "json"]).default("text"))
    .option("--json", "print what was done as one JSON object and nothing else")
    .option("-q, --quiet", "print errors only")
    .addHelpText("after", EXAMPLES)
    .action(async (script: string, flags: RunFlags) => {
      process.exitCode = await run(script, flags);
    });
}

async function run(script: string, flags: RunFlags): Promise<number> {
  const main = await loadScript(script);
  const reporter = new RunReporter(process.stdout, flags.quiet === true || flags.json === true);
  const drives = await chooseDrives(flags, reporter);
  const machine = await Machine.create({ drives, ramBytes: flags.memory ?? DEFAULT_RAM_BYTES });
  const ending = endOnSignals();
  const statistics = new RequestStatistics();
  const endTraces = printTraces(flags.trace ?? [], flags.traceFormat, process.stderr);
  const startedMs = performance.now();
  let poll: NodeJS.Timeout | undefined;
  let control: MachineControl | undefined;
  let failure: unknown;
  try {
    describeMachine(machine, reporter);
    const onStart = (handle: MachineControl): void => {
      control = handle;
      poll = setInterval(() => showBackups(handle, reporter), POLL_MS);
    };
    await runScript({ machine, main, reporter, signal: ending.signal, onStart });
  } catch (error) {
    failure = error;
  } finally {
    clearInterval(poll);
    statistics.stop();
    endTraces();
    ending.stop();
  }
  if (control !== undefined) showBackups(control, reporter);
  reporter.endProgress();
  const summary = summarise({ statistics, control, checks: reporter.checks, elapsedMs: performance.now() - startedMs });
  return conclude(summary, failure, reporter, flags);
}

function conclude(summary: RunSummary, failure: unknown, reporter: RunReporter, flags: RunFlags): number {
  const checksHold = summary.checks.every(({ holds }) => holds);
  if (flags.json === true) {
    const error = failure === undefined ? undefined : failureText(failure);
    process.stdout.write(`${JSON.stringify({ ok: checksHold && error === undefined, error, ...summary }, null, 2)}\n`);
  } else if (flags.quiet !== true) {
    writeSummary(summary, process.stdout);
    reporter.writeChecks();
  }
  if (failure !== undefined) throw failure;
  return checksHold ? ExitCode.ok : ExitCode.failed;
}

async function loadScript(script: string): Promise<ScriptMain> {
  const path = resolve(script);
  let module: Record<string, unknown>;
  try {
    if (/\.[cm]?tsx?$/.test(path)) (await import("tsx/esm/api")).register();
    module = (await import(pathToFileURL(path).href)) as Record<string, unknown>;
  } catch (error) {
    const missing = error instanceof Error && "code" in error && error.code === "ERR_MODULE_NOT_FOUND";
    throw missing ? new CommandError(`Could not load '${script}': ${(error as Error).message}`) : error;
  }
  const main = module["main"];
  if (typeof main !== "function") throw new CommandError(`'${script}' exports no function main(); see vblk run --help`);
  return main as ScriptMain;
}

async function chooseDrives(flags: RunFlags, reporter: RunReporter): Promise<readonly DriveOptions[]> {
  if (flags.drive !== undefined) return flags.drive;
  if (flags.imageFrom === undefined) return [SCRATCH_DISK];
  const image = await makeDemoImage(flags.imageFrom, DEMO_IMAGE);
  reporter.log(`${DEMO_IMAGE}: ${formatBytes(image.sizeBytes)}, a tar archive of ${image.entries} files and folders`);
  return [{ driver: "file", path: DEMO_IMAGE }];
}

function describeMachine(machine: Machine, reporter: RunReporter): void {
  for (const { drive, address } of machine.disks) {
    const { options } = drive;
    const what = options.driver === "file" ? options.path : options.driver;
    const mode = drive.backend.readOnly ? "read-only" : "read-write";
    reporter.log(
      `${drive.id}: ${what}, ${formatBytes(drive.backend.lengthBytes)}, ${mode}, virtio-mmio at 0x${address.toString(16)}`,
    );
  }
}

function showBackups(control: MachineControl, reporter: RunReporter): void {
  for (const { id, progress } of control.backups) reporter.backupProgress(id, progress.doneBytes, progress.totalBytes);
}

function collectDrives(text: string, previous: readonly DriveOptions[] = []): readonly DriveOptions[] {
  return [...previous, asArgument(() => parseDriveOptions(text))];
}

function collectPatterns(pattern: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, pattern];
}

function parseRamSize(text: string): number {
  return asArgument(() => {
    const bytes = parseSize("memory", text);
    if (bytes < 1 << 20 || bytes > 2 ** 32 || bytes % 4096 !== 0) {
      throw new InvalidArgumentError("RAM is from 1M to 4G, in units of 4k");
    }
    return bytes;
  });
}

/** What `parse` throws, as commander wants it told. */
function asArgument<Value>(parse: () => Value): Value {
  try {
    return parse();
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}
