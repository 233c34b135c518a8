// What the name of a drive's file may be instead of a path: a protocol with what it wants to know, or all options as JSON.
// docs/reference/monitor.md §6.

import { QmpError } from "../src/base/errors.ts";
import type { BlockdevOptions } from "../src/block/graph-options.ts";
import { parseJson } from "../src/qmp/json/parse-json.ts";
import { isJsonObject, type JsonValue } from "../src/qmp/json/value.ts";
import { blockdevOptions, toBlockdevOptions } from "../src/qmp/schema/blockdev-options.ts";
import { visitJson } from "../src/qmp/schema/json-reader.ts";

/** What comes before the colon of a file's name that has no slash before it. */
const PROTOCOL = /^([^/:]+):(.*)$/s;
/** Disks that keep nothing; of those that complete at once and those that do it later we have one. */
const NULL_PROTOCOLS = ["null-co", "null-aio"];
const JSON_PREFIX = "json:";

/** What a name means: options of the node alone (`json:`), or of the protocol's node below it. */
export type NamedFile =
  | { readonly kind: "whole"; readonly options: BlockdevOptions }
  | { readonly kind: "null" }
  | { readonly kind: "path"; readonly path: string }
  | { readonly kind: "blkdebug"; readonly config: string; readonly path: string };

/** Throws a `QmpError` with QEMU's text. */
export function namedFile(filename: string): NamedFile {
  if (filename.startsWith(JSON_PREFIX)) {
    return { kind: "whole", options: jsonOptions(filename.slice(JSON_PREFIX.length)) };
  }
  const [, protocol, rest = ""] = PROTOCOL.exec(filename) ?? [];
  if (protocol === undefined) return { kind: "path", path: filename };
  if (NULL_PROTOCOLS.includes(protocol)) {
    if (rest !== "//") throw new QmpError(`The only allowed filename for this driver is '${protocol}://'`);
    return { kind: "null" };
  }
  if (protocol === "blkdebug") return blkdebug(rest);
  if (protocol !== "file") throw new QmpError(`Unknown protocol '${protocol}'`);
  return { kind: "path", path: rest };
}

/** `CONFIG:FILE`, with no rules where CONFIG is empty. The file's name may be a path, or `file:` with one. */
function blkdebug(rest: string): NamedFile {
  const colon = rest.indexOf(":");
  if (colon < 0) throw new QmpError("blkdebug requires both config file and image path");
  const image = namedFile(rest.slice(colon + 1));
  if (image.kind !== "path") throw new QmpError("blkdebug takes the name of a file only here");
  return { kind: "blkdebug", config: rest.slice(0, colon), path: image.path };
}

/**
 * What an image's name of its backing file opens, of the format that the image names too: undefined where it is the name of a file.
 * Throws a `QmpError` with QEMU's text.
 */
export function optionsNamed(filename: string, format: string | undefined): BlockdevOptions | undefined {
  const named = namedFile(filename);
  const driver = format ?? "raw";
  switch (named.kind) {
    case "whole":
      return { ...named.options, driver: format ?? named.options.driver };
    case "null":
      return driver === "null-co" ? { driver } : { driver, file: { driver: "null-co" } };
    case "blkdebug":
      return { driver, file: blkdebugOptions(named) };
    case "path":
      return undefined;
  }
}

/** The node of a file with faults, as `blkdebug:` names it. */
function blkdebugOptions({ config, path }: NamedFile & { readonly kind: "blkdebug" }): BlockdevOptions {
  return { driver: "blkdebug", ...(config === "" ? {} : { config }), image: { driver: "file", filename: path } };
}

function jsonOptions(text: string): BlockdevOptions {
  let value: JsonValue;
  try {
    value = parseJson(text);
  } catch (error) {
    if (!(error instanceof QmpError)) throw error;
    throw new QmpError(`Could not parse the JSON options: ${error.message}`);
  }
  if (!isJsonObject(value)) throw new QmpError("Invalid JSON object given");
  return toBlockdevOptions(visitJson(blockdevOptions, value));
}
