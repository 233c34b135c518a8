// Guest RAM that counts how often a device looks at it, lets somebody else write in between, and ends what has no end.

import { GuestMemory } from "../../src/memory/guest-memory.ts";

/** More than any access can need: a turn of the device costs 4 MiB of data or their worth. */
const MAX_LOOKS = 400_000;

export class FuzzMemory extends GuestMemory {
  /** Called before the device looks, while it is at work. */
  onLook: (() => void) | undefined;
  #atWork = false;
  #looks = 0;
  #ticking: TickingView | undefined;

  override get bytes(): Uint8Array {
    this.#tick();
    return super.bytes;
  }

  override get u16(): Uint16Array {
    this.#tick();
    return super.u16;
  }

  override get u32(): Uint32Array {
    this.#tick();
    return super.u32;
  }

  override get view(): DataView {
    this.#tick();
    const { buffer, byteOffset, byteLength } = super.view;
    this.#ticking ??= new TickingView(buffer, byteOffset, byteLength, () => this.#tick());
    return this.#ticking;
  }

  /** From here to `leave` it is the device that looks: an `Error` if it does not come to an end. */
  enter(): void {
    this.#looks = 0;
    this.#atWork = true;
  }

  leave(): void {
    this.#atWork = false;
  }

  /** `work` is the guest's, or the test's. */
  atRest<Result>(work: () => Result): Result {
    const outer = this.#atWork;
    this.#atWork = false;
    try {
      return work();
    } finally {
      this.#atWork = outer;
    }
  }

  #tick(): void {
    if (!this.#atWork) return;
    if (++this.#looks > MAX_LOOKS)
      throw new Error(`the device looks at RAM for the ${this.#looks}th time in one access`);
    if (this.onLook !== undefined) this.atRest(this.onLook);
  }
}

/** A view whose every read is a look: descriptors are read field by field. */
class TickingView extends DataView<ArrayBufferLike> {
  readonly #tick: () => void;

  constructor(buffer: ArrayBufferLike, byteOffset: number, byteLength: number, tick: () => void) {
    super(buffer, byteOffset, byteLength);
    this.#tick = tick;
  }

  override getUint32(byteOffset: number, littleEndian?: boolean): number {
    this.#tick();
    return super.getUint32(byteOffset, littleEndian);
  }

  override getUint16(byteOffset: number, littleEndian?: boolean): number {
    this.#tick();
    return super.getUint16(byteOffset, littleEndian);
  }
}
