// The request object, checked member by member: docs/reference/corrections.md §1.D "Request object".

import { QmpError } from "../base/errors.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "./json/value.ts";

/** A request that has the right form. */
export interface Request {
  readonly name: string;
  readonly arguments: JsonObject;
  /** It asks to be run at once, past those that wait. */
  readonly outOfBand: boolean;
}

/** The `id` that belongs into the reply, whatever else is wrong; `undefined` if there is none. */
export function requestId(value: JsonValue): JsonValue | undefined {
  return isJsonObject(value) ? value["id"] : undefined;
}

/** Checks the form of a request. A `QmpError` with QEMU's text if it is wrong. `oob`: the client may ask for `exec-oob`. */
export function parseRequest(value: JsonValue, oob: boolean): Request {
  if (!isJsonObject(value)) throw new QmpError("QMP input must be a JSON object");
  const { execute, "exec-oob": executeOutOfBand, arguments: args, id: _, ...others } = value;
  const outOfBand = executeOutOfBand !== undefined;
  if (outOfBand && !oob) throw unexpected("exec-oob");
  if (outOfBand && typeof executeOutOfBand !== "string") throw notString("exec-oob");
  if (execute !== undefined && typeof execute !== "string") throw notString("execute");
  if (args !== undefined && !isJsonObject(args)) throw new QmpError("QMP input member 'arguments' must be an object");
  // Of several that are unexpected QEMU names an arbitrary one.
  for (const name of Object.keys(others)) throw unexpected(name);
  if (outOfBand && execute !== undefined) throw new QmpError("QMP input member 'execute' clashes with 'exec-oob'");
  const name = executeOutOfBand ?? execute;
  if (name === undefined) throw new QmpError("QMP input lacks member 'execute'");
  return { name, arguments: args ?? {}, outOfBand };
}

function unexpected(name: string): QmpError {
  return new QmpError(`QMP input member '${name}' is unexpected`);
}

function notString(name: string): QmpError {
  return new QmpError(`QMP input member '${name}' must be a string`);
}
