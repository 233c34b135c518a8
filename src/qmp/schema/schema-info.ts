// The entries of query-qmp-schema, as QEMU 10.1 has them.

import type { JsonValue } from "../json/value.ts";
import { any, array, bool, enumeration, object, optional, str, type Type, union } from "./types.ts";

/** One command, event or type; types refer to each other by name. */
export type SchemaInfo =
  | (Entry & { readonly "meta-type": "builtin"; readonly "json-type": JsonTypeName })
  | (Entry & {
      readonly "meta-type": "enum";
      readonly members: readonly { readonly name: string }[];
      readonly values: readonly string[];
    })
  | (Entry & { readonly "meta-type": "array"; readonly "element-type": string })
  | (Entry & {
      readonly "meta-type": "object";
      readonly members: readonly SchemaInfoMember[];
      readonly tag?: string;
      readonly variants?: readonly { readonly case: string; readonly type: string }[];
    })
  | (Entry & { readonly "meta-type": "alternate"; readonly members: readonly { readonly type: string }[] })
  | (Entry & { readonly "meta-type": "command"; readonly "arg-type": string; readonly "ret-type": string })
  | (Entry & { readonly "meta-type": "event"; readonly "arg-type": string });

interface Entry {
  readonly name: string;
  readonly features?: readonly string[];
}

/** A member of an object. It has a `default`, null, if it is optional. */
export interface SchemaInfoMember {
  readonly name: string;
  readonly type: string;
  readonly default?: JsonValue;
}

/** The form that JSON has for a built-in type. */
export type JsonTypeName = "string" | "number" | "int" | "boolean" | "null" | "object" | "array" | "value";

const jsonType = enumeration("string", "number", "int", "boolean", "null", "object", "array", "value");
const features = optional(array(str));

/** The type of an entry. */
export const schemaInfo: Type<SchemaInfo> = union(
  "meta-type",
  { name: str, features },
  {
    builtin: object({ "json-type": jsonType }),
    enum: object({ members: array(object({ name: str, features })), values: array(str) }),
    array: object({ "element-type": str }),
    object: object({
      members: array(object({ name: str, type: str, default: optional(any), features })),
      tag: optional(str),
      variants: optional(array(object({ case: str, type: str }))),
    }),
    alternate: object({ members: array(object({ type: str })) }),
    command: object({ "arg-type": str, "ret-type": str, "allow-oob": optional(bool) }),
    event: object({ "arg-type": str }),
  },
);
