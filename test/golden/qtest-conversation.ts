// What has been said so far in a transcript, as far as an answer of this device depends on it.

/** Where the recorded driver has its things: README.md, "qtest transcripts". */
const REGISTERS = 0x0a00_3e00;
const AVAILABLE_INDEX = 0x4001_0402;
export const SPLIT_USED_RING = 0x4001_1000;
export const PACKED_RING = 0x4001_0000;
export const PACKED_RING_END = 0x4001_0400;
/** The header of a request is at a multiple of this. */
const REQUEST_BYTES = 0x1_0000;
const HEADER = /^write (0x401[0-9a-f]0000) 16 0x([0-9a-f]{8})/;
const SPLIT_ELEMENTS = 64;

const DEVICE_FEATURES_SEL = 0x014;
const INTERRUPT_ACK = 0x064;
const STATUS = 0x070;

/** A command's words: `read 0x40101000 512` reads RAM, `readl 0xa003e70` a register. */
export interface Command {
  readonly verb: string;
  readonly address: number;
  readonly argument: number;
}

export function parseCommand(command: string): Command {
  const [verb = "", address = "", argument = ""] = command.split(" ");
  return { verb, address: Number(address), argument: Number(argument) };
}

/** The offset of the register that a command reads, or -1. */
export function registerRead({ verb, address }: Command): number {
  const offset = address - REGISTERS;
  return /^read[bwl]$/.test(verb) && offset >= 0 && offset < 0x200 ? offset : -1;
}

/** Follows the commands, and the answers that this device has to give. */
export class Conversation {
  /** The word of features that the driver has chosen. */
  featuresWord = 0;
  /** QEMU has set bit 0 of InterruptStatus for a changed configuration, and the driver has not acknowledged it. */
  usedBufferClaimed = false;
  availableIndex = 0;
  /** The request whose status was read last: its type, undefined when nobody wrote a header there, and its status. */
  last: { readonly type: number | undefined; readonly status: number } = { type: undefined, status: 0 };
  /** Lengths in the split used ring, by the index of their element: what the standard wants, where QEMU wrote another. */
  readonly usedLengths: Map<number, number> = new Map<number, number>();
  readonly #types = new Map<number, number>();
  #usedIndex = 0;

  /** The type of the request whose parts are around `address`. */
  typeAt(address: number): number | undefined {
    return this.#types.get(Math.floor(address / REQUEST_BYTES) * REQUEST_BYTES);
  }

  /** Before a command is answered. */
  hear(command: string): void {
    const header = HEADER.exec(command);
    if (header !== null) this.#types.set(Number(header[1]), Buffer.from(header[2]!, "hex").readUInt32LE());
    const { verb, address, argument } = parseCommand(command);
    if (verb === "writew" && address === AVAILABLE_INDEX) this.availableIndex = argument;
    if (verb !== "writel") return;
    const offset = address - REGISTERS;
    if (offset === DEVICE_FEATURES_SEL) this.featuresWord = argument;
    if (offset === INTERRUPT_ACK && (argument & 1) !== 0) this.usedBufferClaimed = false;
    if (offset === STATUS && argument === 0) this.#forgetRings();
  }

  /** A request's status byte has been read. */
  hearStatus(command: string, reply: string): void {
    const { verb, address, argument } = parseCommand(command);
    if (verb !== "read" || argument !== 1) return;
    this.last = { type: this.typeAt(address), status: Number(reply.slice("OK ".length)) };
  }

  /** The split used ring has been read up to `index`; true for the first read after its last element was added. */
  sawUsed(index: number): boolean {
    const grown = index !== this.#usedIndex;
    this.#usedIndex = index;
    return grown;
  }

  #forgetRings(): void {
    this.usedBufferClaimed = false;
    this.usedLengths.clear();
    this.#usedIndex = 0;
  }
}

/** Elements of the split used ring. */
export function elementOf(usedIndex: number): number {
  return (usedIndex - 1) % SPLIT_ELEMENTS;
}
