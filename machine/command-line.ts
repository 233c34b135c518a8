// The command line of a machine, in QEMU's spelling: docs/reference/monitor.md §6.

import { QmpError } from "../src/base/errors.ts";
import { type MachineOption, parseAccelerator, parseMachineOption } from "./board-options.ts";
import { type Board, bareBoard, virtBoards } from "./boards.ts";
import {
  blockDeviceDefaults,
  forcesLegacy,
  type GlobalProperty,
  parseGlobal,
  unknownGlobals,
} from "./global-options.ts";
import { parseName, parseUuid } from "./identity-options.ts";
import { type Options, parseOptionString, parseSize } from "./option-string.ts";

/** An option as it was typed: messages about it begin with that. */
export interface TypedOption {
  /** `-drive file=disk.img`. */
  readonly typed: string;
  readonly value: string;
}

export interface CommandLine {
  readonly machine: "virt" | "none";
  readonly board: Board;
  /** Devices have the legacy registers: -global virtio-mmio.force-legacy. */
  readonly legacy: boolean;
  /** -accel qtest: what waits by the guest's time waits until a qtest client makes it pass. */
  readonly virtualTime: boolean;
  readonly ramBytes: number;
  /** -S: does not run until it is told to. */
  readonly stopped: boolean;
  readonly qmp: readonly TypedOption[];
  readonly qtest: readonly TypedOption[];
  /** Where the log of -qtest goes: a path, or none; undefined, the standard error. */
  readonly qtestLog: string | undefined;
  readonly chardevs: readonly TypedOption[];
  /** `-mon` */
  readonly monitors: readonly TypedOption[];
  readonly blockdevs: readonly TypedOption[];
  readonly drives: readonly TypedOption[];
  readonly devices: readonly TypedOption[];
  /** -global: properties of block devices that do not say otherwise. */
  readonly deviceDefaults: Options;
  readonly objects: readonly TypedOption[];
  /** -name: the guest's. */
  readonly name: string | undefined;
  /** -uuid */
  readonly uuid: string | undefined;
  /** -pidfile: a path. */
  readonly pidFile: string | undefined;
  /** -incoming: where a migration comes from, or `defer`. */
  readonly incoming: TypedOption | undefined;
  /** Patterns of trace points. */
  readonly trace: readonly TypedOption[];
  /** -help or -version were asked for. */
  readonly show: "help" | "version" | undefined;
  /** What was taken though it means nothing. */
  readonly warnings: readonly string[];
}

type Kind =
  /** Means something here. */
  | "used"
  /** Sets up what this machine does not have, so that leaving it out changes nothing. */
  | "ignored";

interface OptionSpec {
  readonly kind: Kind;
  readonly takesValue: boolean;
}

const OPTIONS: ReadonlyMap<string, OptionSpec> = new Map<string, OptionSpec>([
  ..."M machine m accel global chardev mon qmp qtest qtest-log blockdev drive device object trace name uuid pidfile incoming"
    .split(" ")
    .map((name): [string, OptionSpec] => [name, { kind: "used", takesValue: true }]),
  ...(["S", "help", "h", "version"] as const).map((name): [string, OptionSpec] => [
    name,
    { kind: "used", takesValue: false },
  ]),
  ..."display vga audio cpu smp monitor serial parallel net nic rtc boot overcommit msg k seed watchdog-action"
    .split(" ")
    .map((name): [string, OptionSpec] => [name, { kind: "ignored", takesValue: true }]),
  ..."nodefaults no-user-config nographic no-reboot no-shutdown no-acpi enable-kvm usb"
    .split(" ")
    .map((name): [string, OptionSpec] => [name, { kind: "ignored", takesValue: false }]),
]);

/** Options of QEMU's that set up something a client would miss: refused rather than taken for an unknown one. */
const REFUSED = new Set(
  (
    "append bios daemonize dtb fw_cfg gdb hda hdb hdc hdd icount initrd kernel loadvm " +
    "netdev numa pflash plugin readconfig sandbox sd set smbios snapshot spice watchdog"
  ).split(" "),
);

/** A mistake on the command line; the message is whole, but for the program's name. */
export class CommandLineError extends QmpError {
  override readonly name: string = "CommandLineError";
}

/** Takes the arguments apart. What most options' values mean is looked at when they are used. `-M virt` is `board`. */
export function parseCommandLine(args: readonly string[], board: Board = virtBoards.aarch64): CommandLine {
  const options = new Map<string, TypedOption[]>();
  for (let i = 0; i < args.length; i++) {
    const argument = args[i]!;
    const match = /^--?(.+)$/.exec(argument);
    if (match === null) throw new CommandLineError(`${argument}: disks are given by -drive or -blockdev`);
    const name = match[1]!;
    const spec = OPTIONS.get(name);
    if (spec === undefined) {
      throw new CommandLineError(
        `${argument}: ${REFUSED.has(name) ? "not supported by this machine" : "invalid option"}`,
      );
    }
    let value = "";
    if (spec.takesValue) {
      const next = args[++i];
      if (next === undefined) throw new CommandLineError(`${argument}: requires an argument`);
      value = next;
    }
    const typed = spec.takesValue ? `${argument} ${value}` : argument;
    const list = options.get(name) ?? [];
    list.push({ typed, value });
    options.set(name, list);
  }
  const all = (...names: readonly string[]): TypedOption[] => names.flatMap((name) => options.get(name) ?? []);
  const show = all("help", "h").length > 0 ? "help" : all("version").length > 0 ? "version" : undefined;
  const { type: machine, accelerator } =
    show === undefined ? parseMachine(all("M", "machine"), board) : { type: "none" as const, accelerator: undefined };
  const accelerators = all("accel").map((option) => blamed(option, () => parseAccelerator(option.value)));
  const globals = all("global").map((option) => blamed(option, () => parseGlobal(option.value)));
  return {
    machine,
    board: machine === "none" ? bareBoard(board) : board,
    legacy: blamed(undefined, () => forcesLegacy(globals)),
    virtualTime: (accelerators[0] ?? accelerator) === "qtest",
    ramBytes: parseRam(all("m")),
    stopped: all("S").length > 0,
    chardevs: all("chardev"),
    monitors: all("mon"),
    qmp: all("qmp"),
    qtest: all("qtest"),
    qtestLog: all("qtest-log").at(-1)?.value,
    blockdevs: all("blockdev"),
    drives: all("drive"),
    devices: all("device"),
    deviceDefaults: blockDeviceDefaults(globals),
    objects: all("object"),
    name: all("name")
      .map((option) => blamed(option, () => parseName(option.value)))
      .at(-1),
    uuid: all("uuid")
      .map((option) => blamed(option, () => parseUuid(option.value)))
      .at(-1),
    pidFile: all("pidfile").at(-1)?.value,
    incoming: all("incoming").at(-1),
    trace: all("trace"),
    show,
    warnings: unknownGlobals(globals).map(globalWarning),
  };
}

function globalWarning({ driver, property }: GlobalProperty): string {
  return `warning: global ${driver}.${property} has invalid class name`;
}

/** Runs `parse`, and puts what was typed before its message. */
function blamed<Result>(option: TypedOption | undefined, parse: () => Result): Result {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof QmpError)) throw error;
    throw new CommandLineError(option === undefined ? error.message : `${option.typed}: ${error.message}`);
  }
}

const DEFAULT_RAM_BYTES = 128 << 20;
const MIN_RAM_BYTES = 1 << 20;
const MAX_RAM_BYTES = 2 ** 32;

/** The last one counts, as in QEMU. */
function parseMachine(options: readonly TypedOption[], board: Board): MachineOption {
  const last = options.at(-1);
  if (last === undefined) {
    throw new CommandLineError("No machine specified, and there is no default\nUse -M virt or -M none");
  }
  return blamed(last, () => parseMachineOption(last.value, board));
}

/** `-m 64`, in MiB, `-m 64M` or `-m size=64M`. */
function parseRam(options: readonly TypedOption[]): number {
  const last = options.at(-1);
  if (last === undefined) return DEFAULT_RAM_BYTES;
  const values = parseOptionString(/^\d/.test(last.value) ? `size=${last.value}` : last.value);
  const size = values.get("size") ?? "";
  const bytes = parseSize("size", /^\d+$/.test(size) ? `${size}M` : size);
  if (bytes < MIN_RAM_BYTES || bytes > MAX_RAM_BYTES || bytes % 4096 !== 0) {
    throw new CommandLineError(`${last.typed}: RAM is from 1M to 4G, in units of 4k`);
  }
  return bytes;
}
