// The nodes of a graph by their names, and who holds each: docs/reference/corrections.md A11.

import { assert } from "../base/assert.ts";
import type { BlockdevOptions } from "./graph-options.ts";
import type { BlockNode } from "./node.ts";

/** One node and what the graph knows of it. */
export interface NodeEntry {
  readonly node: BlockNode;
  /** What it was opened or last reopened with. */
  options: BlockdevOptions;
  /** It was made by blockdev-add and stays until blockdev-del; any other goes with its last user. */
  readonly ownedByMonitor: boolean;
  /** Grows with each node that gets its name. */
  readonly order: number;
}

/** Iterates newest first, as queries list nodes: by the moment at which a node got its name. */
export class NodeList {
  readonly #entries = new Map<string, NodeEntry>();

  *[Symbol.iterator](): IterableIterator<NodeEntry> {
    yield* [...this.#entries.values()].sort((a, b) => b.order - a.order);
  }

  get(name: string): NodeEntry | undefined {
    return this.#entries.get(name);
  }

  entry(node: BlockNode): NodeEntry {
    const entry = this.#entries.get(node.name);
    assert(entry?.node === node, `node '${node.name}': not of this graph`);
    return entry;
  }

  has(node: BlockNode): boolean {
    return this.#entries.get(node.name)?.node === node;
  }

  add(entry: NodeEntry): void {
    assert(!this.#entries.has(entry.node.name), `node '${entry.node.name}': listed twice`);
    this.#entries.set(entry.node.name, entry);
  }

  remove(node: BlockNode): void {
    this.entry(node);
    this.#entries.delete(node.name);
  }
}
