// Simple values of JSON input, with QEMU's texts: docs/reference/corrections.md §1.D "Arguments".

import { QmpError } from "../../base/errors.ts";
import { JsonDouble } from "../json/value.ts";
import { fitInteger, isSigned } from "./integers.ts";
import { fullName, type Path } from "./path.ts";
import type { IntegerName, ScalarType, Type } from "./types.ts";
import { checkEnum, type SimpleType, type ValueReader, visit, wrongType } from "./visitor.ts";

const jsonReader: ValueReader = {
  style: "json",
  read(type: SimpleType, value: unknown, path: Path | undefined): unknown {
    switch (type.kind) {
      case "scalar":
        return readScalar(type, value, path);
      case "integer":
        return readInteger(type.name, value, path);
      case "enum":
        if (typeof value !== "string") throw wrongType(path, "json", "string");
        return checkEnum(type, value, path);
    }
  },
};

/**
 * The value that `type` describes, from JSON or from plain objects of the same shape, where a member that is `undefined` counts as absent. A
 * `QmpError` with QEMU's text if it is none.
 */
export function visitJson<T>(type: Type<T>, value: unknown): T {
  return visit(type, value, jsonReader);
}

function readScalar(type: ScalarType<unknown>, value: unknown, path: Path | undefined): unknown {
  switch (type.name) {
    case "str":
      if (typeof value !== "string") throw wrongType(path, "json", "string");
      return value;
    case "bool":
      if (typeof value !== "boolean") throw wrongType(path, "json", "boolean");
      return value;
    case "number":
      if (value instanceof JsonDouble) return value.value;
      if (typeof value !== "number" && typeof value !== "bigint") throw wrongType(path, "json", "number");
      return Number(value);
    case "null":
      if (value !== null) throw wrongType(path, "json", "null");
      return value;
    case "any":
      return value;
  }
}

function readInteger(name: IntegerName, value: unknown, path: Path | undefined): unknown {
  const isInteger = typeof value === "bigint" || (typeof value === "number" && Number.isInteger(value));
  const integer = isInteger ? fitInteger(name, BigInt(value), path) : undefined;
  if (integer !== undefined) return integer;
  if (isSigned(name)) throw wrongType(path, "json", "integer");
  throw new QmpError(`Parameter '${fullName(path, "json")}' expects uint64`);
}
