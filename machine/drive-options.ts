// What a drive is made of, and how `--drive` says it: QEMU's keys where QEMU has the thing.

import { QmpError } from "../src/base/errors.ts";
import { type Options, parseChoice, parseOptionString, parseSize, parseSwitch } from "./option-string.ts";

interface CommonDriveOptions {
  /** How messages and the control handle name it; `drive0`, `drive1`, ... by default. */
  readonly id?: string;
  /** The name of its node, by which QMP's commands can find it too; an automatic one by default. */
  readonly nodeName?: string;
  readonly readOnly?: boolean;
  /** Whether the disk has a volatile write cache at first; the guest may switch it. */
  readonly cache?: "writeback" | "writethrough";
  /** Whether the guest's discards reach the image. */
  readonly discard?: "unmap" | "ignore";
  /** What GET_ID answers: at most 20 bytes. */
  readonly serial?: string;
}

/** An image in a file. */
export interface FileDriveOptions extends CommonDriveOptions {
  readonly driver: "file";
  readonly path: string;
  /** Found out from the file by default. */
  readonly format?: "raw" | "qcow2";
  /** `auto`: what is probably cached is read and written at once. `threads`: everything off the thread. */
  readonly xIo?: "auto" | "threads";
}

/** A disk without a file: zeroes in memory, or nothing at all. */
export interface FilelessDriveOptions extends CommonDriveOptions {
  readonly driver: "memory" | "null-co";
  /** A multiple of 512. */
  readonly sizeBytes: number;
}

export type DriveOptions = FileDriveOptions | FilelessDriveOptions;

const KEYS = [
  "file",
  "driver",
  "size",
  "format",
  "id",
  "node-name",
  "readonly",
  "cache",
  "discard",
  "serial",
  "aio",
  "x-io",
];

/**
 * `file=PATH[,format=raw|qcow2][,id=…][,node-name=…][,readonly=on|off][,cache=writeback|writethrough][,discard=unmap|ignore][,serial=…]
 * [,x-io=auto|threads]`, or `driver=memory|null-co,size=…` with the same rest. QEMU's `aio=threads` is taken and means nothing.
 */
export function parseDriveOptions(text: string): DriveOptions {
  const options = parseOptionString(text);
  for (const key of options.keys()) {
    if (!KEYS.includes(key)) throw new QmpError(`--drive '${text}': no option '${key}'; there are ${KEYS.join(", ")}`);
  }
  const choose = <const Choice extends string>(key: string, values: readonly Choice[]): Choice | undefined => {
    const value = options.get(key);
    return value === undefined ? undefined : parseChoice(key, value, values);
  };
  const format = choose("format", ["raw", "qcow2"]);
  choose("aio", ["threads"]);
  const common = {
    ...optional("id", options.get("id")),
    ...optional("nodeName", options.get("node-name")),
    ...optional("readOnly", parseIfGiven(options, "readonly", parseSwitch)),
    ...optional("cache", choose("cache", ["writeback", "writethrough"])),
    ...optional("discard", choose("discard", ["unmap", "ignore"])),
    ...optional("serial", options.get("serial")),
  };
  const driver = choose("driver", ["file", "memory", "null-co"]) ?? "file";
  if (driver === "file") {
    const path = options.get("file");
    if (path === undefined || path === "") throw new QmpError(`--drive '${text}': says no file; try file=PATH`);
    return {
      driver,
      path,
      ...common,
      ...optional("format", format),
      ...optional("xIo", choose("x-io", ["auto", "threads"])),
    };
  }
  const sizeBytes = parseIfGiven(options, "size", parseSize);
  if (sizeBytes === undefined || sizeBytes === 0 || sizeBytes % 512 !== 0) {
    throw new QmpError(`--drive '${text}': driver=${driver} needs size=, a multiple of 512 such as 64M`);
  }
  return { driver, sizeBytes, ...common };
}

function parseIfGiven<Value>(
  options: Options,
  key: string,
  parse: (key: string, value: string) => Value,
): Value | undefined {
  const value = options.get(key);
  return value === undefined ? undefined : parse(key, value);
}

/** `{ [key]: value }`, or nothing where the value is not given. */
function optional<Key extends string, Value>(key: Key, value: Value | undefined): { [K in Key]?: NonNullable<Value> } {
  return value === undefined ? {} : ({ [key]: value } as { [K in Key]: NonNullable<Value> });
}
