// Which options blockdev-reopen may change: those that nodes have in common, and those that the driver allows.

import { QmpError } from "../base/errors.ts";
import type { BlockDriver } from "./driver.ts";
import { type BlockdevOptions, isInlineChild, type OptionValue } from "./graph-options.ts";

const COMMON = ["node-name", "read-only", "auto-read-only", "discard", "detect-zeroes", "cache"];

/** Throws a `QmpError` with QEMU's text if an option was given that is not given any more, and has to be. */
export function refuseResets(
  driver: BlockDriver,
  before: BlockdevOptions,
  after: BlockdevOptions,
  free: readonly string[],
): void {
  const without = [...COMMON, ...free, ...rolesOf(driver)];
  const now = flatten(after, without);
  for (const path of flatten(before, without).keys())
    if (!now.has(path)) throw new QmpError(`Option '${path}' cannot be reset to its default value`);
}

/** Throws a `QmpError` with QEMU's text for the first option that is not as it was, and may not change. */
export function refuseChanges(
  driver: BlockDriver,
  before: BlockdevOptions,
  after: BlockdevOptions,
  free: readonly string[],
): void {
  const without = [...COMMON, ...free, ...rolesOf(driver)];
  const old = flatten(before, without);
  for (const [path, value] of flatten(after, without))
    if (old.get(path) !== value) throw new QmpError(`Cannot change the option '${path}'`);
  for (const { role, node } of driver.children)
    if (!free.includes(role)) refuseOtherChild(role, before[role], after[role], node.name);
}

function rolesOf(driver: BlockDriver): string[] {
  return driver.children.map(({ role }) => role);
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

/** Plain values by their paths, such as `inject-error.0.event`. */
function flatten(options: BlockdevOptions, without: readonly string[]): Map<string, OptionValue> {
  const values = new Map<string, OptionValue>();
  const visit = (path: string, value: OptionValue | undefined): void => {
    if (value === undefined) return;
    if (typeof value !== "object" || value === null) values.set(path, value);
    else for (const [key, member] of Object.entries(value)) visit(`${path}.${key}`, member);
  };
  for (const [option, value] of Object.entries(options)) if (!without.includes(option)) visit(option, value);
  return new Map([...values].sort(([a], [b]) => rank(a) - rank(b)));
}

/** QEMU looks at options in the order of a hash: these come in this one, all others last. */
const ORDER = ["offset", "read-zeroes", "throttle-group", "image", "locking", "driver", "size", "filename"];

function rank(path: string): number {
  const index = ORDER.indexOf(path);
  return index < 0 ? ORDER.length : index;
}
