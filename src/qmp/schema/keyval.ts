// `key=value,key.member=value,list.0=value`: the option strings that nest. docs/reference/monitor.md §6.

import { QmpError } from "../../base/errors.ts";
import type { JsonObject, JsonValue } from "../json/value.ts";

/** A name as QAPI has them, with the vendor's domain in front where there is one: `__org.example_name`. */
const NAME = /^(?:__[A-Za-z0-9.-]*_)?[A-Za-z][A-Za-z0-9_-]*/;
const INDEX = /^[0-9]+/;
const MAX_FRAGMENT_BYTES = 127;
/** As deep as JSON may nest. */
const MAX_FRAGMENTS = 1024;

/** Values by name; a name with names below it, or with a list's indices. */
type Tree = Map<string, Tree | string>;

/**
 * Objects, lists and texts from an option string. `,,` is a comma within a value, a key that is repeated keeps its last value, and a first
 * part without `=` is the value of `impliedKey`. A `QmpError` with QEMU's text if it cannot be understood.
 */
export function parseKeyval(text: string, impliedKey?: string): JsonObject {
  const root: Tree = new Map();
  let help = false;
  let at = 0;
  if (impliedKey !== undefined) {
    const [implied = ""] = /^[^=,]+(?=,|$)/.exec(text) ?? [];
    if (isHelp(implied)) help = true;
    else if (implied !== "") root.set(impliedKey, implied);
    if (implied !== "") at = implied.length + 1;
  }
  while (at < text.length) {
    const [key = ""] = /^[^=,]*/.exec(text.slice(at)) ?? [];
    at += key.length;
    if (isHelp(key) && text[at] !== "=") {
      help = true;
      at++;
      continue;
    }
    const fragments = splitKey(key);
    if (text[at] !== "=") throw new QmpError(`Expected '=' after parameter '${key}'`);
    const value = readValue(text, at + 1);
    insert(root, fragments, value.text);
    at = value.end;
  }
  if (help) throw new QmpError("Help is not available for this option");
  return toObject(root, "");
}

function isHelp(text: string): boolean {
  return text === "help" || text === "?";
}

/** The value from `at` on, and where the next part begins. */
function readValue(text: string, at: number): { text: string; end: number } {
  let value = "";
  for (;;) {
    const comma = text.indexOf(",", at);
    if (comma === -1) return { text: value + text.slice(at), end: text.length };
    value += text.slice(at, comma);
    if (text[comma + 1] !== ",") return { text: value, end: comma + 1 };
    value += ",";
    at = comma + 2;
  }
}

function splitKey(key: string): string[] {
  const fragments: string[] = [];
  let rest = key;
  for (;;) {
    // What a key starts with cannot be an index.
    const [fragment] = NAME.exec(rest) ?? (fragments.length > 0 ? INDEX.exec(rest) : null) ?? [];
    if (fragment === undefined) throw new QmpError(`Invalid parameter '${key}'`);
    if (fragment.length > MAX_FRAGMENT_BYTES) {
      const what = fragment === key ? "Parameter" : "Parameter fragment";
      throw new QmpError(`${what} '${fragment}' is too long`);
    }
    fragments.push(fragment);
    if (fragments.length > MAX_FRAGMENTS) throw new QmpError(`Parameter '${key}' nests too deep`);
    rest = rest.slice(fragment.length);
    if (rest === "") return fragments;
    if (!rest.startsWith(".")) throw new QmpError(`Invalid parameter '${key}'`);
    rest = rest.slice(1);
  }
}

function insert(root: Tree, fragments: readonly string[], value: string): void {
  let tree = root;
  for (const [index, fragment] of fragments.slice(0, -1).entries()) {
    const next = tree.get(fragment) ?? new Map<string, Tree | string>();
    if (typeof next === "string") throw inconsistent(fragments.slice(0, index + 1).join("."));
    tree.set(fragment, next);
    tree = next;
  }
  const last = fragments.at(-1)!;
  if (typeof (tree.get(last) ?? "") !== "string") throw inconsistent(fragments.join("."));
  tree.set(last, value);
}

function toValue(tree: Tree | string, path: string): JsonValue {
  if (typeof tree === "string") return tree;
  const indices = [...tree.keys()].filter((key) => INDEX.test(key));
  if (indices.length === 0) return toObject(tree, `${path}.`);
  if (indices.length < tree.size) throw inconsistent(path);
  return toList(tree, path);
}

function toObject(tree: Tree, prefix: string): JsonObject {
  const object = Object.create(null) as JsonObject;
  for (const [key, value] of tree) object[key] = toValue(value, prefix + key);
  return object;
}

/** `00` is another way to write `0`. */
function toList(tree: Tree, path: string): JsonValue[] {
  const elements = new Map<number, Tree | string>();
  for (const [index, element] of tree) elements.set(Number(index), element);
  const list: JsonValue[] = [];
  for (let index = 0; index < elements.size; index++) {
    const element = elements.get(index);
    if (element === undefined) throw new QmpError(`Parameter '${path}.${index}' missing`);
    list.push(toValue(element, `${path}.${index}`));
  }
  return list;
}

function inconsistent(path: string): QmpError {
  return new QmpError(`Parameters '${path}.*' used inconsistently`);
}
