// One JSON value from a text, as the command line reads it: docs/reference/monitor.md §6.

import { QmpError } from "../../base/errors.ts";
import { type JsonItem, JsonStream } from "./json-stream.ts";
import type { JsonValue } from "./value.ts";

/** The value of `text`, which may have space around it. A `QmpError` with QEMU's text if it is none, or more than one. */
export function parseJson(text: string): JsonValue {
  const stream = new JsonStream();
  stream.push(new TextEncoder().encode(text));
  const first = stream.next();
  if (first !== undefined && "value" in first && stream.next() !== undefined) throw tooMany();
  const rest = first !== undefined && "error" in first ? [] : stream.finish();
  const items: JsonItem[] = first === undefined ? rest : [first, ...rest];
  const [item, second] = items;
  if (item === undefined) throw new QmpError("Expecting a JSON value");
  if ("error" in item) throw new QmpError(item.error);
  if (second !== undefined) throw tooMany();
  return item.value;
}

function tooMany(): QmpError {
  return new QmpError("Expecting at most one JSON value");
}
