// Drained sections: a while in which nobody sends a node requests and none is in flight.

import { assert } from "../base/assert.ts";

/** Who sends a node requests: a backend, a job, the node above. */
export interface NodeParent {
  /** How messages name this user of the node, such as `block device 'drive0'`. */
  readonly parentName: string;
  /** Send no more requests, soon. May be called several times, each with an `endDrain` of its own. */
  beginDrain(): void;
  /** While drained: undefined when nothing of this parent's is under way any more; else a promise to ask again after. */
  untilQuiet(): Promise<void> | undefined;
  endDrain(): void;
  /** The node has another length now. */
  resized?(lengthBytes: number): void;
}

/** Ends the drained section when disposed of: `using drained = await node.drain()`. */
export interface DrainedSection extends Disposable {}

/**
 * The parents of one node, and how many drained sections it is in. Every parent is told of every section: one that joins
 * or leaves during a section begins or ends it then.
 */
export class NodeParents {
  readonly #list = new Set<NodeParent>();
  #drains = 0;

  get count(): number {
    return this.#list.size;
  }

  [Symbol.iterator](): Iterator<NodeParent> {
    return this.#list.values();
  }

  attach(parent: NodeParent): void {
    assert(!this.#list.has(parent), `${parent.parentName}: attached twice`);
    this.#list.add(parent);
    for (let i = 0; i < this.#drains; i++) parent.beginDrain();
  }

  detach(parent: NodeParent): void {
    assert(this.#list.delete(parent), `${parent.parentName}: not attached`);
    for (let i = 0; i < this.#drains; i++) parent.endDrain();
  }

  beginDrain(): void {
    this.#drains++;
    for (const parent of [...this.#list]) parent.beginDrain();
  }

  endDrain(): void {
    assert(this.#drains > 0, "drained section: ended twice");
    this.#drains--;
    for (const parent of [...this.#list]) parent.endDrain();
  }

  /** Undefined when no parent has anything under way. */
  untilQuiet(): Promise<void> | undefined {
    for (const parent of this.#list) {
      const busy = parent.untilQuiet();
      if (busy !== undefined) return busy;
    }
    return undefined;
  }
}
