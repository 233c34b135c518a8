// How a machine is called: `-name` and `-uuid`, docs/reference/monitor.md §6.

import { QmpError } from "../src/base/errors.ts";
import { parseOptionString, parseSwitch } from "./option-string.ts";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** The guest's name in `-name foo` or `-name guest=foo,debug-threads=on`; undefined where that gives none. */
export function parseName(text: string): string | undefined {
  const options = parseOptionString(/^[^=,]+(,|$)/.test(text) ? `guest=${text}` : text);
  for (const [key, value] of options) {
    if (!["guest", "process", "debug-threads"].includes(key)) throw new QmpError(`Invalid parameter '${key}'`);
    if (key === "debug-threads") parseSwitch(key, value);
  }
  return options.get("guest");
}

/** As query-uuid tells it. */
export function parseUuid(text: string): string {
  if (!UUID.test(text)) throw new QmpError("failed to parse UUID string: wrong format");
  return text.toLowerCase();
}
