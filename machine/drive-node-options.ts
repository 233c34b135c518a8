// The nodes below a drive, as `-drive` says them: an image in a file, or nothing at all. docs/reference/monitor.md §6.

import { QmpError } from "../src/base/errors.ts";
import type { BlockdevOptions } from "../src/block/graph-options.ts";
import { type NamedFile, namedFile } from "./drive-filenames.ts";
import { type Options, parseSize, parseSwitch } from "./option-string.ts";

/** A disk that keeps nothing. */
export const NULL_DRIVER = "null-co";
const NULL_KEYS = ["size", "read-zeroes", "latency-ns"];

/** The keys that are read here. */
export const NODE_KEYS: readonly string[] = [
  ...["aio", "x-io", "discard", "detect-zeroes", "auto-read-only", "node-name"],
  ...["file.driver", "file.filename", "file.locking"],
  ...NULL_KEYS.flatMap((key) => [key, `file.${key}`]),
];

/**
 * What `-drive file=…,format=…` or `-drive driver=null-co` opens: a node of the format on that of the file. `file` may be
 * whatever `namedFile` knows; options as JSON are the whole node, beside what `-drive` says of all nodes. Throws a
 * `QmpError` with QEMU's text.
 */
export function driveNodeOptions(
  options: Options,
  { format, cache, readOnly }: { format: string; cache: string; readOnly: boolean },
): BlockdevOptions {
  oneOf(options, "aio", ["threads", "native", "io_uring"], "invalid aio option");
  const discard = oneOf(options, "discard", ["ignore", "off", "unmap", "on"], "Invalid discard option") ?? "ignore";
  const detect = options.get("detect-zeroes") ?? "off";
  if (!["off", "on", "unmap"].includes(detect)) throw new QmpError(`invalid parameter value: ${detect}`);
  const common = {
    discard: discard === "unmap" || discard === "on" ? "unmap" : "ignore",
    "read-only": readOnly,
    "auto-read-only": parseSwitch("auto-read-only", options.get("auto-read-only") ?? "off"),
    cache: { direct: cache === "none" || cache === "directsync", "no-flush": cache === "unsafe" },
  } as const;
  const top = { "node-name": options.get("node-name"), "detect-zeroes": detect as "off" | "on" | "unmap", ...common };
  if (format === NULL_DRIVER) return { ...nullNode(options, ""), ...top };
  const named = fileOf(options);
  if (named.kind === "whole") {
    if (options.has("format") && named.options.driver !== format)
      throw new QmpError('A block device must be specified for "file"');
    return { ...top, ...named.options };
  }
  if (named.kind === "null") return { driver: format, ...top, file: { ...nullNode(options, "file."), ...common } };
  for (const key of NULL_KEYS) {
    const given = options.has(`file.${key}`) ? `file.${key}` : key;
    if (options.has(given)) throw new QmpError(`Block format '${format}' does not support the option '${given}'`);
  }
  const file: BlockdevOptions = {
    driver: "file",
    filename: named.path,
    "x-io": options.get("x-io"),
    locking: options.get("file.locking"),
    ...common,
  };
  if (named.kind === "path") return { driver: format, ...top, file };
  const config = named.config === "" ? {} : { config: named.config };
  return { driver: format, ...top, file: { driver: "blkdebug", ...config, ...common, image: file } };
}

function fileOf(options: Options): NamedFile {
  const given = options.get("file.driver");
  if (given === undefined) return namedFile(options.get("file") ?? "");
  if (given === NULL_DRIVER) return { kind: "null" };
  if (given !== "file") throw new QmpError(`Unknown driver '${given}'`);
  return { kind: "path", path: options.get("file.filename") ?? options.get("file") ?? "" };
}

function nullNode(options: Options, prefix: string): BlockdevOptions {
  const value = (key: string): string | undefined => options.get(prefix + key);
  const [size, zeroes, latency] = NULL_KEYS.map(value);
  return {
    driver: NULL_DRIVER,
    ...(size === undefined ? {} : { size: parseSize("size", size) }),
    ...(latency === undefined ? {} : { "latency-ns": parseSize("latency-ns", latency) }),
    ...(zeroes === undefined ? {} : { "read-zeroes": parseSwitch("read-zeroes", zeroes) }),
  };
}

function oneOf(options: Options, key: string, values: readonly string[], message: string): string | undefined {
  const value = options.get(key);
  if (value !== undefined && !values.includes(value)) throw new QmpError(message);
  return value;
}
