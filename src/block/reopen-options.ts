// Which options blockdev-reopen may change: those that nodes have in common, and those that the driver allows.

import { QmpError } from "../base/errors.ts";
import type { BlockDriver } from "./driver.ts";
import { type BlockdevOptions, isInlineChild, type OptionValue } from "./graph-options.ts";

const COMMON = [
  "driver",
  "node-name",
  "read-only",
  "auto-read-only",
  "force-share",
  "discard",
  "detect-zeroes",
  "cache",
];

/** Throws a `QmpError` with QEMU's text for the first option that is not as it was and not among `changeable`. */
export function refuseOtherOptions(
  driver: BlockDriver,
  before: BlockdevOptions,
  after: BlockdevOptions,
  changeable: readonly string[],
): void {
  if (after.driver !== before.driver) throw new QmpError("Cannot change the option 'driver'");
  const free = [...COMMON, ...changeable];
  for (const option of Object.keys(after)) {
    if (free.includes(option) || after[option] === undefined) continue;
    refuseOther(option, before[option], after[option], driver);
  }
  for (const option of Object.keys(before)) {
    if (free.includes(option) || before[option] === undefined || after[option] !== undefined) continue;
    throw new QmpError(`Option '${option}' cannot be reset to its default value`);
  }
}

function refuseOther(
  option: string,
  before: OptionValue | undefined,
  after: OptionValue | undefined,
  driver: BlockDriver,
): void {
  const child = driver.children.find(({ role }) => role === option);
  if (child !== undefined) return refuseOtherChild(option, before, after, child.node.name);
  const path = firstDifference(option, before, after);
  if (path !== undefined) throw new QmpError(`Cannot change the option '${path}'`);
}

/** A child may be given by its name; by options only if it was before, and then it is reopened with them. */
export function refuseOtherChild(
  option: string,
  before: OptionValue | undefined,
  after: OptionValue | undefined,
  name: string,
): void {
  if (isInlineChild(after)) {
    if (!isInlineChild(before)) throw new QmpError(`Cannot change the option '${option}.driver'`);
  } else if (after !== name) throw new QmpError(`Cannot change the option '${option}'`);
}

/** `inject-error.0.event`, say; undefined if the values are the same. */
function firstDifference(
  path: string,
  before: OptionValue | undefined,
  after: OptionValue | undefined,
): string | undefined {
  if (typeof after !== "object" || after === null) return after === before ? undefined : path;
  const old = typeof before === "object" && before !== null ? (before as Readonly<Record<string, OptionValue>>) : {};
  const now = after as Readonly<Record<string, OptionValue>>;
  for (const key of new Set([...Object.keys(now), ...Object.keys(old)])) {
    const difference = firstDifference(`${path}.${key}`, old[key], now[key]);
    if (difference !== undefined) return difference;
  }
  return undefined;
}
