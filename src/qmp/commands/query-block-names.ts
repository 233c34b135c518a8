// How queries name the image in a node: its file's name, or all that it takes to open it again. docs/reference/monitor.md §2.

import { backingNameIn, pathBelow } from "../../block/backing-path.ts";
import type { BlockdevOptions, OptionValue } from "../../block/graph-options.ts";
import type { BlockNode } from "../../block/node.ts";
import type { NodeList } from "../../block/node-list.ts";
import { printJson } from "../json/print-json.ts";
import { formatFacts } from "./query-block-format.ts";

/** QEMU prints members in the order of a hash, so they have a fixed one; those that are not here come last. */
const ORDER: readonly string[] = [
  ...[
    "backing",
    "offset",
    "read-zeroes",
    "opt-write-zero",
    "max-write-zero",
    "throttle-group",
    "image",
    "driver",
    "config",
    "size",
    "cluster-size",
  ],
  ...["filename", "file", "target"],
];

/** Options that say what the data are, as opposed to how they are reached. All of them, where a driver is not listed. */
const SIGNIFICANT: Readonly<Record<string, readonly string[]>> = {
  file: ["filename"],
  "null-co": ["size", "read-zeroes"],
  memory: ["size", "cluster-size"],
  raw: ["offset", "size"],
  qcow2: [],
  throttle: ["throttle-group"],
  "copy-before-write": [],
  "snapshot-access": [],
};

/** Of no driver's data. */
const COMMON: readonly string[] = [
  ...["driver", "node-name", "discard", "cache", "read-only", "auto-read-only", "force-share", "detect-zeroes"],
];

/** These show what is below by its name, but nothing above takes that name for theirs. */
const NAMED_AS_BELOW: readonly string[] = ["copy-before-write", "snapshot-access"];

/** `disk.img`, `null-co://`, `blkdebug::disk.img`, or `json:{…}` where there is no such name. */
export function imageName(nodes: NodeList, node: BlockNode): string {
  const below = childOf(node, "file");
  if (below !== undefined && NAMED_AS_BELOW.includes(node.driver.driverName)) return imageName(nodes, below);
  return ownName(nodes, node) ?? `json:${printJson(openOptions(nodes, node))}`;
}

function ownName(nodes: NodeList, node: BlockNode): string | undefined {
  const given = significant(nodes, node);
  const names = Object.keys(given);
  switch (node.driver.driverName) {
    case "file":
      return String(given["filename"]);
    case "null-co":
      return names.length === 0 ? "null-co://" : undefined;
    case "raw":
      return names.length === 0 ? ownName(nodes, childOf(node, "file")!) : undefined;
    case "qcow2":
      return standsElsewhere(nodes, node) ? undefined : ownName(nodes, childOf(node, "file")!);
    case "blkdebug": {
      if (names.some((name) => name !== "config")) return undefined;
      const below = imageName(nodes, childOf(node, "image")!);
      return below.startsWith("json:") ? undefined : `blkdebug:${given["config"] ?? ""}:${below}`;
    }
    default:
      return undefined;
  }
}

/** Whether an image stands on another one than it would if it were opened by its name alone. */
function standsElsewhere(nodes: NodeList, node: BlockNode): boolean {
  const facts = formatFacts(node.driver);
  if (facts === undefined || nodes.entry(node).options["backing"] === undefined) return false;
  const named = facts.backingFile ?? "";
  const backing = childOf(node, "backing");
  if (backing === undefined || named === "") return (backing === undefined) !== (named === "");
  return imageName(nodes, backing) !== backingNameIn(pathBelow(childOf(node, "file")!), named);
}

/** What blockdev-add would take to open the image again, but for how it is reached, and for what it stands on if it names that. */
function openOptions(nodes: NodeList, node: BlockNode): Record<string, unknown> {
  const options: Record<string, unknown> = { driver: node.driver.driverName, ...significant(nodes, node) };
  for (const { role, node: child } of node.driver.children) {
    if (role !== "backing") options[role] = openOptions(nodes, child);
  }
  if (standsElsewhere(nodes, node)) {
    const backing = childOf(node, "backing");
    options["backing"] = backing === undefined ? null : openOptions(nodes, backing);
  }
  const place = (name: string): number => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
  return Object.fromEntries(Object.entries(options).sort(([a], [b]) => place(a) - place(b)));
}

function significant(nodes: NodeList, node: BlockNode): Record<string, OptionValue> {
  const { options } = nodes.entry(node);
  const wanted = SIGNIFICANT[node.driver.driverName];
  const flat: Record<string, OptionValue> = {};
  for (const [name, value] of Object.entries(options)) {
    const isChild = node.driver.children.some(({ role }) => role === name);
    if (value === undefined || isChild || COMMON.includes(name)) continue;
    if (wanted === undefined || wanted.includes(name)) flatten(name, value, flat);
  }
  return flat;
}

/** `inject-error.0.event`, as QEMU holds lists. */
function flatten(path: string, value: OptionValue, into: Record<string, OptionValue>): void {
  if (typeof value !== "object" || value === null) into[path] = value;
  else {
    for (const [name, inside] of Object.entries(value as BlockdevOptions)) {
      if (inside !== undefined) flatten(`${path}.${name}`, inside, into);
    }
  }
}

/** The node below that has this role. */
export function childOf(node: BlockNode, role: string): BlockNode | undefined {
  return node.driver.children.find((child) => child.role === role)?.node;
}
