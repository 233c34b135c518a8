// Reopening an image with other options, as qemu-io does it: docs/reference/monitor.md §5.1.

import { BlockError, QmpError } from "../../base/errors.ts";
import type { BlockBackend } from "../../block/backend.ts";
import { type BlockdevOptions, isInlineChild, type OptionValue } from "../../block/graph-options.ts";
import type { NodeEntry } from "../../block/node-list.ts";
import { PERM_WRITE, PERM_WRITE_UNCHANGED } from "../../block/permissions.ts";
import { blockdevOptions, toBlockdevOptions } from "../schema/blockdev-options.ts";
import { visitKeyval } from "../schema/keyval-reader.ts";
import type { QemuIoServices } from "./human-monitor-services.ts";
import { type IoCommand, IoRefusal, IoUsage } from "./qemu-io-command.ts";
import { readOptions } from "./qemu-io-options.ts";
import { readSize } from "./size-literal.ts";

interface CacheMode {
  readonly direct: boolean;
  readonly noFlush: boolean;
  readonly writeCache: boolean;
}

const NO_CACHE: CacheMode = { direct: true, noFlush: false, writeCache: true };
const CACHE_MODES: Readonly<Record<string, CacheMode>> = {
  off: NO_CACHE,
  none: NO_CACHE,
  directsync: { direct: true, noFlush: false, writeCache: false },
  writeback: { direct: false, noFlush: false, writeCache: true },
  unsafe: { direct: false, noFlush: true, writeCache: true },
  writethrough: { direct: false, noFlush: false, writeCache: false },
};
/** What may change of every node. */
const COMMON = ["discard", "cache", "read-only", "auto-read-only", "detect-zeroes"];
const DISCARD_WORDS: Readonly<Record<string, string>> = { on: "unmap", off: "ignore" };

/** Options that are sizes. */
const SIZED = /(^|-)(size|offset)$/;

/** What the words ask for. */
interface Wish {
  cache?: CacheMode;
  readOnly?: boolean;
  options: string;
}

/** Options that are not given stay as they are. What is wrong is told to the monitor. */
export const reopenCommand: IoCommand = {
  name: "reopen",
  minArguments: 0,
  maxArguments: Number.POSITIVE_INFINITY,
  needs: 0,
  synopsis: "[(-r|-w)] [-c cache] [-o options]",
  description: "reopens an image with new options",
  async run({ backend, services }, words) {
    const wish = readWish(words, services);
    const node = backend.root;
    if (node === undefined) throw new IoRefusal("No medium inserted", "monitor");
    const { cache, readOnly = node.readOnly } = wish;
    if (cache !== undefined && backend.device !== undefined && cache.writeCache !== backend.writeCache)
      throw new IoRefusal("Cannot change cache.writeback: Device attached", "monitor");
    // Who is about to make it read-only does not write himself.
    if (readOnly) need(backend, 0, PERM_WRITE | PERM_WRITE_UNCHANGED);
    const entry = services.graph.nodes.entry(node);
    try {
      await services.graph.reopen([optionsAfter(services, entry, wish)]);
    } catch (error) {
      if (!(error instanceof QmpError || error instanceof BlockError)) throw error;
      throw new IoRefusal(error.message, "monitor");
    }
    if (cache !== undefined) backend.writeCache = cache.writeCache;
    // A guest's device writes again.
    if (wish.readOnly === false && backend.device !== undefined) need(backend, PERM_WRITE, 0);
  },
};

function readWish(words: readonly string[], { errorOutput }: QemuIoServices): Wish {
  const wish: Wish = { options: "" };
  const { operands } = readOptions(words, "c:o:rw", errorOutput, (letter, value) => {
    if (letter === "o") wish.options = wish.options === "" ? value : `${wish.options},${value}`;
    else if (letter === "c") {
      const mode = Object.hasOwn(CACHE_MODES, value) ? CACHE_MODES[value] : undefined;
      if (mode === undefined) throw new IoRefusal(`Invalid cache option: ${value}`, "monitor");
      wish.cache = mode;
    } else if (wish.readOnly !== undefined) throw new IoRefusal("Only one -r/-w option may be given", "monitor");
    else wish.readOnly = letter === "r";
  });
  if (operands.length > 0) throw new IoUsage();
  return wish;
}

function need(backend: BlockBackend, more: number, less: number): void {
  const { needs, shares } = backend.root!.parentEdge(backend.asParent).permissions;
  backend.setPermissions({ needs: (needs | more) & ~less, shares });
}

/** All options of the node. Throws a `QmpError` or `IoRefusal`. */
function optionsAfter(services: QemuIoServices, entry: NodeEntry, { cache, readOnly, options }: Wish): BlockdevOptions {
  const changes = changedOptions(services, entry, options);
  if (readOnly !== undefined && changes["read-only"] !== undefined)
    throw new IoRefusal("Cannot set both -r/-w and 'read-only'", "monitor");
  if (cache !== undefined && changes["cache"] !== undefined)
    throw new IoRefusal("Cannot set both -c and the cache options", "monitor");
  const modes: Record<string, OptionValue> = {
    ...(readOnly === undefined ? {} : { "read-only": readOnly }),
    ...(cache === undefined ? {} : { cache: { direct: cache.direct, "no-flush": cache.noFlush } }),
  };
  return { ...withModes(entry.options, modes), ...changes, "node-name": entry.node.name };
}

/** A node and the file that is given within its options go by the same modes. */
function withModes(options: BlockdevOptions, modes: Readonly<Record<string, OptionValue>>): BlockdevOptions {
  const after: Record<string, OptionValue | undefined> = { ...options, ...modes };
  for (const role of ["file", "image"]) {
    const child = options[role];
    if (isInlineChild(child)) after[role] = withModes(child, modes) as OptionValue;
  }
  return after as BlockdevOptions;
}

/** Words and units that QMP does not have. */
function asSchemaWants(key: string, value: string): string {
  if (key === "discard") return DISCARD_WORDS[value] ?? value;
  if (!SIZED.test(key)) return value;
  const size = readSize(value, "b");
  return size.kind === "size" && size.rest === "" ? String(size.bytes) : value;
}

/** The options in the text, with their types. */
function changedOptions({ graph }: QemuIoServices, entry: NodeEntry, text: string): Partial<BlockdevOptions> {
  if (text === "") return {};
  const { options, node } = entry;
  const { driver } = options;
  const opener = graph.driver(driver)!;
  const free = [...COMMON, ...(opener.reopen?.changeable ?? [])];
  const given: string[] = [];
  const kept: BlockdevOptions = { ...options, "node-name": node.name };
  const parts = text.split(/(?<!,),(?!,)/).map((part) => {
    const [, key = "", value = ""] = /^([^=]*)=?(.*)$/s.exec(part)!;
    const [first = "", ...rest] = key.split(".");
    if (!free.includes(first) && String(kept[key]) !== value)
      throw new QmpError(`Cannot change the option '${isInlineChild(kept[first]) ? rest.join(".") : key}'`);
    if (free.includes(first)) given.push(first);
    return `${key}=${asSchemaWants(key, value)}`;
  });
  // Whatever the schema wants of such a node, with the options in place of those that it has.
  const texts = Object.entries(options).filter(([key, value]) => typeof value === "string" && !given.includes(key));
  const children = opener.children.filter(({ role, required }) => required && !given.includes(role));
  const all = [
    ...texts.map(([key, value]) => `${key}=${String(value).replaceAll(",", ",,")}`),
    ...children.map(({ role }) => `${role}=x`),
    ...parts.filter((part) => given.includes(part.split(/[.=]/)[0]!)),
  ];
  const checked = toBlockdevOptions(visitKeyval(blockdevOptions, all.join(",")));
  return Object.fromEntries(given.map((key) => [key, checked[key]]));
}
