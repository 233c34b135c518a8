// The file of blkdebug's option `config`: rules as groups of `key = "value"` lines.

import { QmpError } from "../../base/errors.ts";
import type { BlkdebugIoType, InjectErrorOptions, SetStateOptions } from "./blkdebug-rules.ts";

/** What a file says, in its order. */
export interface BlkdebugConfig {
  readonly injectErrors: readonly InjectErrorOptions[];
  readonly setStates: readonly SetStateOptions[];
}

type Kind = "string" | "number" | "bool";

const GROUPS: Readonly<Record<string, Readonly<Record<string, Kind>>>> = {
  "inject-error": {
    event: "string",
    state: "number",
    iotype: "string",
    errno: "number",
    sector: "number",
    once: "bool",
    immediately: "bool",
  },
  "set-state": { event: "string", state: "number", new_state: "number" },
};
const IO_TYPES: readonly string[] = ["read", "write", "write-zeroes", "discard", "flush", "block-status"];
const MAX_LINES = 10_000;

type Values = Record<string, string | number | boolean>;

/** Throws a `QmpError`, with QEMU's text where it has the case, for what is no such file. `events` are those that there are. */
export function parseBlkdebugConfig(text: string, events: readonly string[]): BlkdebugConfig {
  const injectErrors: InjectErrorOptions[] = [];
  const setStates: SetStateOptions[] = [];
  const lines = text.split("\n");
  if (lines.length > MAX_LINES)
    throw new QmpError(`Could not parse blkdebug config file: more than ${MAX_LINES} lines`);
  const groups: { readonly name: string; readonly values: Values }[] = [];
  for (const line of lines) {
    if (/^\s*(#.*)?$/.test(line)) continue;
    const name = /^\s*\[\s*([A-Za-z0-9-]+)(?:\s+"[^"]*")?\s*\]\s*$/.exec(line)?.[1];
    if (name !== undefined) {
      if (GROUPS[name] === undefined) throw new QmpError(`There is no option group '${name}'`);
      groups.push({ name, values: {} });
      continue;
    }
    const [, key, value] = /^\s*([A-Za-z0-9_-]+)\s*=\s*(?:"([^"]*)")?/.exec(line) ?? [];
    if (key === undefined) throw new QmpError("parse error");
    const group = groups.at(-1);
    if (group === undefined) throw new QmpError("no group defined");
    const kind = GROUPS[group.name]![key];
    if (kind === undefined) throw new QmpError(`Invalid parameter '${key}'`);
    group.values[key] = parseValue(key, kind, value ?? "");
  }
  for (const { name, values } of groups) {
    const { event, iotype } = values;
    if (event === undefined) throw new QmpError("Missing event name for rule");
    if (!events.includes(String(event))) throw new QmpError(`invalid parameter value: ${event}`);
    if (iotype !== undefined && !IO_TYPES.includes(String(iotype))) {
      throw new QmpError(`invalid parameter value: ${iotype}`);
    }
    if (name === "set-state") setStates.push({ new_state: 0, ...values } as unknown as SetStateOptions);
    else
      injectErrors.push({ ...values, iotype: iotype as BlkdebugIoType | undefined } as unknown as InjectErrorOptions);
  }
  return { injectErrors, setStates };
}

function parseValue(key: string, kind: Kind, value: string): string | number | boolean {
  switch (kind) {
    case "string":
      return value;
    case "number": {
      if (!/^(\d+|0x[0-9a-fA-F]+)$/.test(value)) throw new QmpError(`Parameter '${key}' expects a number`);
      return Number(value);
    }
    case "bool":
      if (["on", "yes", "true", "y"].includes(value)) return true;
      if (["off", "no", "false", "n"].includes(value)) return false;
      throw new QmpError(`Parameter '${key}' expects 'on' or 'off'`);
  }
}
