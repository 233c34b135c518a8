// The command line of a machine, in QEMU's spelling: docs/reference/monitor.md §6.

import { QmpError } from "../src/base/errors.ts";
import { parseOptionString, parseSize } from "./option-string.ts";

/** An option as it was typed: messages about it begin with that. */
export interface TypedOption {
  /** `-drive file=disk.img`. */
  readonly typed: string;
  readonly value: string;
}

export interface CommandLine {
  readonly machine: "virt" | "none";
  readonly ramBytes: number;
  /** -S: does not run until it is told to. */
  readonly stopped: boolean;
  readonly qmp: readonly TypedOption[];
  readonly chardevs: readonly TypedOption[];
  /** `-mon` */
  readonly monitors: readonly TypedOption[];
  readonly blockdevs: readonly TypedOption[];
  readonly drives: readonly TypedOption[];
  readonly devices: readonly TypedOption[];
  readonly objects: readonly TypedOption[];
  /** Patterns of trace points. */
  readonly trace: readonly TypedOption[];
  /** -help or -version were asked for. */
  readonly show: "help" | "version" | undefined;
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
  ...(
    ["M", "machine", "m", "qmp", "chardev", "mon", "qtest", "blockdev", "drive", "device", "object", "trace"] as const
  ).map((name): [string, OptionSpec] => [name, { kind: "used", takesValue: true }]),
  ...(["S", "help", "h", "version"] as const).map((name): [string, OptionSpec] => [
    name,
    { kind: "used", takesValue: false },
  ]),
  ...(
    ["accel", "display", "vga", "audio", "cpu", "smp", "name", "monitor", "serial", "parallel", "net", "nic"] as const
  ).map((name): [string, OptionSpec] => [name, { kind: "ignored", takesValue: true }]),
  ...(["nodefaults", "no-user-config", "nographic", "no-reboot", "no-shutdown", "enable-kvm"] as const).map(
    (name): [string, OptionSpec] => [name, { kind: "ignored", takesValue: false }],
  ),
]);

/** Options of QEMU's that set up something a client would miss: refused rather than taken for an unknown one. */
const REFUSED = new Set(
  (
    "append bios boot daemonize dtb fw_cfg global gdb hda hdb hdc hdd icount incoming initrd kernel loadvm " +
    "netdev numa overcommit pflash pidfile plugin readconfig rtc sandbox sd set smbios snapshot spice usb uuid watchdog"
  ).split(" "),
);

/** A mistake on the command line; the message is whole, but for the program's name. */
export class CommandLineError extends QmpError {
  override readonly name: string = "CommandLineError";
}

/** Takes the arguments apart. What the options' values mean is looked at when they are used. */
export function parseCommandLine(args: readonly string[]): CommandLine {
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
  checkQtest(all("qtest"));
  return {
    machine: show === undefined ? parseMachine(all("M", "machine")) : "none",
    ramBytes: parseRam(all("m")),
    stopped: all("S").length > 0,
    qmp: all("qmp"),
    chardevs: all("chardev"),
    monitors: all("mon"),
    blockdevs: all("blockdev"),
    drives: all("drive"),
    devices: all("device"),
    objects: all("object"),
    trace: all("trace"),
    show,
  };
}

const DEFAULT_RAM_BYTES = 128 << 20;
const MIN_RAM_BYTES = 1 << 20;
const MAX_RAM_BYTES = 2 ** 32;

/** The last one counts, as in QEMU; `type=virt` and `virt,accel=tcg` are taken. */
function parseMachine(options: readonly TypedOption[]): "virt" | "none" {
  const last = options.at(-1);
  if (last === undefined) {
    throw new CommandLineError("No machine specified, and there is no default\nUse -M virt or -M none");
  }
  const [first = ""] = last.value.split(",");
  const type = first.startsWith("type=") ? first.slice("type=".length) : first;
  if (type !== "virt" && type !== "none") {
    throw new CommandLineError(`${last.typed}: unsupported machine type\nSupported machines are: none, virt`);
  }
  return type;
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

function checkQtest(options: readonly TypedOption[]): void {
  for (const { typed, value } of options) {
    if (value !== "null") throw new CommandLineError(`${typed}: only -qtest null is supported by this machine`);
  }
}
