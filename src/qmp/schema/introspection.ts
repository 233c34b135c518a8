// What query-qmp-schema tells: commands, events and their types, made from the very descriptions that arguments are checked against. The
// form is QEMU's, in which types other than the built-in ones have numbers for names.

import type { JsonTypeName, SchemaInfo, SchemaInfoMember } from "./schema-info.ts";
import {
  type AlternateType,
  type ArrayType,
  type EnumType,
  type Member,
  type ObjectType,
  resolve,
  type StructType,
  type Type,
  type UnionType,
} from "./types.ts";

/** What the schema says of a command. No arguments and no result are empty objects. */
export interface DescribedCommand {
  readonly name: string;
  readonly arguments?: StructType<unknown> | undefined;
  readonly returns?: Type<unknown> | undefined;
  readonly features?: readonly string[] | undefined;
}

/** What the schema says of an event. */
export interface DescribedEvent {
  readonly name: string;
  readonly data?: StructType<unknown> | undefined;
}

const JSON_TYPES = {
  str: "string",
  bool: "boolean",
  number: "number",
  null: "null",
  any: "value",
} as const;

/** No arguments, no result. */
const EMPTY: ObjectType<unknown> = { kind: "object", members: [] };

/** All of it: commands, then events, then the types that they use, in the order in which they are met. */
export function describeSchema(
  commands: Iterable<DescribedCommand>,
  events: Iterable<DescribedEvent>,
): readonly SchemaInfo[] {
  const types = new TypeNames();
  const infos: SchemaInfo[] = [];
  types.nameOf(EMPTY);
  for (const { name, arguments: argumentsType, returns, features } of commands) {
    infos.push({
      name,
      "meta-type": "command",
      "arg-type": types.nameOf(argumentsType ?? EMPTY),
      "ret-type": types.nameOf(returns ?? EMPTY),
      ...(features === undefined ? {} : { features }),
    });
  }
  for (const { name, data } of events)
    infos.push({ name, "meta-type": "event", "arg-type": types.nameOf(data ?? EMPTY) });
  return [...infos, ...types.describeAll()];
}

/** Gives types their names, and remembers which are still to be described. */
class TypeNames {
  readonly #names = new Map<Type<unknown>, string>();
  readonly #known = new Set<string>();
  readonly #pending: (() => SchemaInfo)[] = [];
  #numbers = 0;

  nameOf(type: Type<unknown>): string {
    const resolved = resolve(type);
    const known = this.#names.get(resolved);
    if (known !== undefined) return known;
    switch (resolved.kind) {
      case "scalar":
        return this.#builtin(resolved.name, JSON_TYPES[resolved.name]);
      case "integer":
        return this.#builtin("int", "int");
      case "array":
        return this.#array(resolved);
      case "enum":
        return this.#number(resolved, (name) => describeEnum(resolved, name));
      case "object":
        if (resolved.members.length === 0 && resolved !== EMPTY) return this.nameOf(EMPTY);
        return this.#number(resolved, (name) => this.#describeObject(resolved, name));
      case "union":
        return this.#number(resolved, (name) => this.#describeUnion(resolved, name));
      case "alternate":
        return this.#number(resolved, (name) => this.#describeAlternate(resolved, name));
    }
  }

  /** The types that have been named, and those that these name in turn. */
  describeAll(): SchemaInfo[] {
    const infos: SchemaInfo[] = [];
    for (let describe = this.#pending.shift(); describe !== undefined; describe = this.#pending.shift())
      infos.push(describe());
    return infos;
  }

  #builtin(name: string, jsonType: JsonTypeName): string {
    this.#once(name, () => ({ name, "meta-type": "builtin", "json-type": jsonType }));
    return name;
  }

  #array(type: ArrayType<unknown>): string {
    const element = this.nameOf(type.element);
    const name = `[${element}]`;
    this.#once(name, () => ({ name, "meta-type": "array", "element-type": element }));
    return name;
  }

  #number(type: Type<unknown>, describe: (name: string) => SchemaInfo): string {
    const name = String(this.#numbers++);
    this.#names.set(type, name);
    this.#once(name, () => describe(name));
    return name;
  }

  #once(name: string, describe: () => SchemaInfo): void {
    if (this.#known.has(name)) return;
    this.#known.add(name);
    this.#pending.push(describe);
  }

  #describeObject({ members }: ObjectType<unknown>, name: string): SchemaInfo {
    return { name, "meta-type": "object", members: this.#describeMembers(members) };
  }

  #describeUnion({ base, tag, branches }: UnionType<unknown>, name: string): SchemaInfo {
    const variants = Array.from(branches, ([value, branch]) => ({ case: value, type: this.nameOf(branch) }));
    return { name, "meta-type": "object", members: this.#describeMembers(base), tag, variants };
  }

  #describeAlternate({ branches }: AlternateType<unknown>, name: string): SchemaInfo {
    return { name, "meta-type": "alternate", members: branches.map((branch) => ({ type: this.nameOf(branch) })) };
  }

  #describeMembers(members: readonly Member[]): SchemaInfoMember[] {
    return members.map(({ name, type, optional }) => ({
      name,
      type: this.nameOf(type),
      ...(optional ? { default: null } : {}),
    }));
  }
}

function describeEnum({ values }: EnumType<unknown>, name: string): SchemaInfo {
  return { name, "meta-type": "enum", members: values.map((value) => ({ name: value })), values };
}
