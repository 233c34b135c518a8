// Names of nodes: docs/reference/corrections.md A11 and B9.

import { assert } from "../base/assert.ts";
import { QmpError } from "../base/errors.ts";

const WELL_FORMED = /^[A-Za-z][A-Za-z0-9\-._]*$/;
const MAX_NAME_BYTES = 31;

/**
 * All names of nodes that are taken: those of nodes, of nodes that are being opened, and of the filters that jobs stand for.
 * Automatic ones (`#block123`) cannot be taken by users, for `#` begins none of theirs.
 */
export class NodeNames {
  readonly #taken = new Set<string>();
  readonly #isDriveId: (name: string) => boolean;
  #automatic = 0;

  constructor(isDriveId: (name: string) => boolean) {
    this.#isDriveId = isDriveId;
  }

  has(name: string): boolean {
    return this.#taken.has(name);
  }

  /** Takes a name, or an automatic one, and returns it. Throws a `QmpError` where users may not have it. */
  take(name: string | undefined): string {
    const taken = name ?? this.#nextAutomatic();
    if (name !== undefined) this.#check(name);
    this.#taken.add(taken);
    return taken;
  }

  release(name: string): void {
    assert(this.#taken.delete(name), `node name '${name}': not taken`);
  }

  #check(name: string): void {
    if (!WELL_FORMED.test(name)) throw new QmpError(`Invalid node-name: '${name}'`);
    if (this.#isDriveId(name)) throw new QmpError(`node-name=${name} is conflicting with a device id`);
    if (this.#taken.has(name)) throw new QmpError(`Duplicate nodes with node-name='${name}'`);
    if (name.length > MAX_NAME_BYTES) throw new QmpError("Node name too long");
  }

  /** QEMU's has a counter and two random digits, so that nobody counts on it. Ours repeat with the run. */
  #nextAutomatic(): string {
    const number = this.#automatic++;
    return `#block${number}${String((number * 37 + 11) % 100).padStart(2, "0")}`;
  }
}
