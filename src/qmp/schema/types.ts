// Descriptions of QMP's types: what arguments are checked against, what the schema query tells, and what TypeScript infers.

import type { JsonValue } from "../json/value.ts";

declare const described: unique symbol;

/** A description of values of the type T. What `visit` gives for it is a T. */
export interface Type<T> {
  readonly kind: TypeKind;
  /** There is no such member: T is known to the compiler alone. */
  readonly [described]?: T;
}

export type TypeKind = "scalar" | "integer" | "enum" | "array" | "object" | "union" | "alternate" | "lazy";

/** The TypeScript type of what a description describes: `ArgumentsOf<typeof schema>`. */
export type ArgumentsOf<T> = T extends Type<infer V> ? V : never;

/** A 64-bit integer: a `number` wherever that is exact. Compare it with `<` as it is; `Number()` where rounding does no harm. */
export type Int64 = number | bigint;

/** Text, truth, doubles (an integer is one too), null, or any value at all. */
export interface ScalarType<T> extends Type<T> {
  readonly kind: "scalar";
  readonly name: "str" | "bool" | "number" | "null" | "any";
}

export type IntegerName = "int" | "int32" | "uint8" | "uint16" | "uint32" | "uint64" | "size";

export interface IntegerType<T> extends Type<T> {
  readonly kind: "integer";
  readonly name: IntegerName;
}

export interface EnumType<T> extends Type<T> {
  readonly kind: "enum";
  readonly values: readonly string[];
}

export interface ArrayType<T> extends Type<T> {
  readonly kind: "array";
  readonly element: Type<unknown>;
}

/** A member of an object. They are visited in the order in which they are listed. */
export interface Member {
  readonly name: string;
  readonly type: Type<unknown>;
  readonly optional: boolean;
}

export interface ObjectType<T> extends Type<T> {
  readonly kind: "object";
  readonly members: readonly Member[];
}

/** Members of `base` with the tag first, then those of the branch that the tag names. */
export interface UnionType<T> extends Type<T> {
  readonly kind: "union";
  readonly tag: string;
  readonly base: readonly Member[];
  readonly branches: ReadonlyMap<string, ObjectType<unknown>>;
}

/** What has members: the arguments of a command, the data of an event. */
export type StructType<T> = ObjectType<T> | UnionType<T>;

/** One of several types that JSON itself tells apart. */
export interface AlternateType<T> extends Type<T> {
  readonly kind: "alternate";
  /** As it stands in messages: `BlockdevRef`. */
  readonly name: string;
  readonly branches: readonly Type<unknown>[];
}

/** A type that is described further below, or that contains itself. */
export interface LazyType<T> extends Type<T> {
  readonly kind: "lazy";
  readonly resolve: () => Type<T>;
}

/** Any description, by its kind. */
export type AnyType =
  | ScalarType<unknown>
  | IntegerType<unknown>
  | EnumType<unknown>
  | ArrayType<unknown>
  | ObjectType<unknown>
  | UnionType<unknown>
  | AlternateType<unknown>
  | LazyType<unknown>;

export const str: ScalarType<string> = { kind: "scalar", name: "str" };
export const bool: ScalarType<boolean> = { kind: "scalar", name: "bool" };
export const number: ScalarType<number> = { kind: "scalar", name: "number" };
export const nil: ScalarType<null> = { kind: "scalar", name: "null" };
export const any: ScalarType<JsonValue> = { kind: "scalar", name: "any" };

/** 64 bits with a sign. */
export const int: IntegerType<Int64> = { kind: "integer", name: "int" };
export const int32: IntegerType<number> = { kind: "integer", name: "int32" };
export const uint8: IntegerType<number> = { kind: "integer", name: "uint8" };
export const uint16: IntegerType<number> = { kind: "integer", name: "uint16" };
export const uint32: IntegerType<number> = { kind: "integer", name: "uint32" };
/** 64 bits without a sign. A negative number stands for the one that has the same bits, as it does for QEMU. */
export const uint64: IntegerType<Int64> = { kind: "integer", name: "uint64" };
/** As `uint64`; on the command line it takes a suffix: `64k`, `1.5G`. */
export const size: IntegerType<Int64> = { kind: "integer", name: "size" };

/** A member that may be absent. */
export interface Optional<T> {
  readonly optional: Type<T>;
}

export function optional<T>(type: Type<T>): Optional<T> {
  return { optional: type };
}

/** Members by name, in the order in which they are visited. */
export type Members = Readonly<Record<string, Type<unknown> | Optional<unknown>>>;

type RequiredNames<M extends Members> = { [K in keyof M]: M[K] extends Optional<unknown> ? never : K }[keyof M];
type OptionalNames<M extends Members> = { [K in keyof M]: M[K] extends Optional<unknown> ? K : never }[keyof M];
type Flat<T> = { readonly [K in keyof T]: T[K] };

/** What an object with these members is. */
export type ObjectOf<M extends Members> = Flat<
  { [K in RequiredNames<M>]: M[K] extends Type<infer V> ? V : never } & {
    [K in OptionalNames<M>]?: M[K] extends Optional<infer V> ? V : never;
  }
>;

/** What a union with this tag, these members in all branches and these branches is. */
export type UnionOf<Tag extends string, Base extends Members, Branches extends Readonly<Record<string, unknown>>> = {
  [K in keyof Branches & string]: Flat<
    Readonly<Record<Tag, K>> & ObjectOf<Base> & (Branches[K] extends ObjectType<infer V> ? V : never)
  >;
}[keyof Branches & string];

/** An object with these members. */
export function object<const M extends Members>(members: M): ObjectType<ObjectOf<M>> {
  return { kind: "object", members: listMembers(members) };
}

/** An object with the members of `base` and then these. */
export function extend<B, const M extends Members>(base: ObjectType<B>, members: M): ObjectType<Flat<B & ObjectOf<M>>> {
  return { kind: "object", members: [...base.members, ...listMembers(members)] };
}

/** One of these words. */
export function enumeration<const V extends string>(...values: V[]): EnumType<V> {
  return { kind: "enum", values };
}

export function array<T>(element: Type<T>): ArrayType<readonly T[]> {
  return { kind: "array", element };
}

/** A flat union: the member `tag` names one of `branches`, whose members stand beside it and beside those of `base`. */
export function union<
  const Tag extends string,
  const Base extends Members,
  const Branches extends Readonly<Record<string, ObjectType<unknown>>>,
>(tag: Tag, base: Base, branches: Branches): UnionType<UnionOf<Tag, Base, Branches>> {
  const map = new Map(Object.entries(branches));
  const tagMember: Member = { name: tag, type: enumeration(...map.keys()), optional: false };
  return { kind: "union", tag, base: [tagMember, ...listMembers(base)], branches: map };
}

/** One of `branches`, whichever has the form of the value: text, object, list, number, truth or null, each at most once. */
export function alternate<const T extends readonly Type<unknown>[]>(
  name: string,
  ...branches: T
): AlternateType<ArgumentsOf<T[number]>> {
  return { kind: "alternate", name, branches };
}

export function lazy<T>(resolve: () => Type<T>): LazyType<T> {
  return { kind: "lazy", resolve };
}

/** The description itself: what a lazy one stands for. */
export function resolve(type: Type<unknown>): Exclude<AnyType, LazyType<unknown>> {
  let any = type as AnyType;
  while (any.kind === "lazy") any = any.resolve() as AnyType;
  return any;
}

function listMembers(members: Members): Member[] {
  return Object.entries(members).map(([name, member]) =>
    "optional" in member
      ? { name, type: member.optional, optional: true }
      : { name, type: member as Type<unknown>, optional: false },
  );
}
