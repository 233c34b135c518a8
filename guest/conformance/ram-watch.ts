// A range of RAM that nobody is to change.

import type { GuestTarget } from "../target.ts";

/** Remembers [address, address + lengthBytes) as it is now. */
export class RamWatch {
  readonly #target: GuestTarget;
  readonly #address: number;
  readonly #before: Uint8Array;

  constructor(target: GuestTarget, address: number, lengthBytes: number) {
    this.#target = target;
    this.#address = address;
    this.#before = new Uint8Array(lengthBytes);
    target.readRam(address, this.#before);
  }

  /** The address of the first byte that differs now, or undefined. */
  firstChange(): number | undefined {
    const now = new Uint8Array(this.#before.length);
    this.#target.readRam(this.#address, now);
    const offset = now.findIndex((byte, i) => byte !== this.#before[i]);
    return offset < 0 ? undefined : this.#address + offset;
  }
}
