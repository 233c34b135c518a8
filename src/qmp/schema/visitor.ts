// Checks a value against its type, member by member in the order of the type: docs/reference/corrections.md §1.D "Arguments".

import { QmpError } from "../../base/errors.ts";
import { isJsonObject, JsonDouble, type JsonObject } from "../json/value.ts";
import { fullName, leafName, type Path, type PathStyle } from "./path.ts";
import {
  type AlternateType,
  type EnumType,
  type IntegerType,
  type Member,
  type ObjectType,
  resolve,
  type ScalarType,
  type Type,
  type UnionType,
} from "./types.ts";

/** A type that is one value: no list, no object. */
export type SimpleType = ScalarType<unknown> | IntegerType<unknown> | EnumType<unknown>;

/** Reads simple values from one kind of input. */
export interface ValueReader {
  readonly style: PathStyle;
  /** `value` as the type has it. A `QmpError` if it is none of it. */
  read(type: SimpleType, value: unknown, path: Path | undefined): unknown;
}

/**
 * Makes of `value` what `type` describes, with nothing in it that the type does not name. A `QmpError` says what is wrong first: missing
 * members and wrong types in the order of the type, and only when all of an object is right, a member that it does not have.
 */
export function visit<T>(type: Type<T>, value: unknown, reader: ValueReader): T {
  return visitType(type, value, undefined, reader) as T;
}

function visitType(type: Type<unknown>, value: unknown, path: Path | undefined, reader: ValueReader): unknown {
  const resolved = resolve(type);
  switch (resolved.kind) {
    case "scalar":
    case "integer":
    case "enum":
      return reader.read(resolved, value, path);
    case "array":
      if (!Array.isArray(value)) throw wrongType(path, reader.style, "array");
      return value.map((element, index) =>
        visitType(resolved.element, element, { parent: path, segment: index }, reader),
      );
    case "object":
      return visitObject(resolved, value, path, reader);
    case "union":
      return visitUnion(resolved, value, path, reader);
    case "alternate":
      return visitAlternate(resolved, value, path, reader);
  }
}

function visitObject(
  type: ObjectType<unknown>,
  value: unknown,
  path: Path | undefined,
  reader: ValueReader,
): Record<string, unknown> {
  if (!isJsonObject(value)) throw wrongType(path, reader.style, "object");
  const object: Record<string, unknown> = {};
  visitMembers(type.members, value, object, path, reader);
  refuseUnknown(value, [type.members], path, reader.style);
  return object;
}

function visitUnion(
  type: UnionType<unknown>,
  value: unknown,
  path: Path | undefined,
  reader: ValueReader,
): Record<string, unknown> {
  if (!isJsonObject(value)) throw wrongType(path, reader.style, "object");
  const object: Record<string, unknown> = {};
  visitMembers(type.base, value, object, path, reader);
  const branch = type.branches.get(String(object[type.tag]))?.members ?? [];
  visitMembers(branch, value, object, path, reader);
  refuseUnknown(value, [type.base, branch], path, reader.style);
  return object;
}

function visitMembers(
  members: readonly Member[],
  value: JsonObject,
  object: Record<string, unknown>,
  parent: Path | undefined,
  reader: ValueReader,
): void {
  for (const { name, type, optional } of members) {
    const path: Path = { parent, segment: name };
    const member: unknown = Object.hasOwn(value, name) ? value[name] : undefined;
    if (member !== undefined) object[name] = visitType(type, member, path, reader);
    else if (!optional) throw new QmpError(`Parameter '${fullName(path, reader.style)}' is missing`);
  }
}

function refuseUnknown(
  value: JsonObject,
  known: readonly (readonly Member[])[],
  parent: Path | undefined,
  style: PathStyle,
): void {
  for (const [name, member] of Object.entries(value)) {
    if (member === undefined || known.some((members) => members.some((other) => other.name === name))) continue;
    throw new QmpError(`Parameter '${fullName({ parent, segment: name }, style)}' is unexpected`);
  }
}

function visitAlternate(
  type: AlternateType<unknown>,
  value: unknown,
  path: Path | undefined,
  reader: ValueReader,
): unknown {
  const branch = type.branches.find((branch) => hasForm(branch, value));
  if (branch === undefined)
    throw new QmpError(`Invalid parameter type for '${leafName(path)}', expected: ${type.name}`);
  return visitType(branch, value, path, reader);
}

/** Whether `value` has the form in which JSON holds this type, whatever it is then. */
function hasForm(type: Type<unknown>, value: unknown): boolean {
  const resolved = resolve(type);
  switch (resolved.kind) {
    case "array":
      return Array.isArray(value);
    case "object":
    case "union":
      return isJsonObject(value);
    case "enum":
      return typeof value === "string";
    case "integer":
      return typeof value === "number" || typeof value === "bigint";
    case "alternate":
      return resolved.branches.some((branch) => hasForm(branch, value));
    case "scalar":
      return scalarHasForm(resolved, value);
  }
}

function scalarHasForm(type: ScalarType<unknown>, value: unknown): boolean {
  switch (type.name) {
    case "str":
      return typeof value === "string";
    case "bool":
      return typeof value === "boolean";
    case "number":
      return typeof value === "number" || typeof value === "bigint" || value instanceof JsonDouble;
    case "null":
      return value === null;
    case "any":
      return true;
  }
}

/** `Invalid parameter type for 'actions[0]', expected: object` */
export function wrongType(path: Path | undefined, style: PathStyle, expected: string): QmpError {
  return new QmpError(`Invalid parameter type for '${fullName(path, style)}', expected: ${expected}`);
}

/** `Parameter 'sync' does not accept value 'bogus'`: no path. */
export function checkEnum(type: EnumType<unknown>, value: string, path: Path | undefined): string {
  if (type.values.includes(value)) return value;
  throw new QmpError(`Parameter '${leafName(path)}' does not accept value '${value}'`);
}
