// qtest's loads and stores, of words and of ranges: docs/reference/monitor.md §7.

import { Buffer } from "node:buffer";
import type { AccessWidth } from "../../src/memory/bus.ts";
import type { AddressSpace } from "./address-space.ts";
import {
  addressAt,
  MalformedCommandError,
  type QtestCommand,
  type QtestCommands,
  uint32At,
  unsignedAt,
  wordAt,
} from "./qtest-command.ts";

/** More bytes than this go in several commands. */
const MAX_TRANSFER_BYTES = 64 << 20;
/** The hexadecimal digits of `write` begin behind two characters that nobody looks at. */
const PREFIX_CHARACTERS = 2;
const MIN_BASE64_CHARACTERS = 4;

/** readb to writeq, read, write, memset, b64read and b64write. */
export function memoryCommands(space: AddressSpace): QtestCommands {
  return {
    readb: load(space, 1),
    readw: load(space, 2),
    readl: load(space, 4),
    readq: (words) => loadTwo(space, addressAt(words, 1)),
    writeb: store(space, 1),
    writew: store(space, 2),
    writel: store(space, 4),
    writeq: (words) => storeTwo(space, addressAt(words, 1), unsignedAt(words, 2)),
    read: (words) => {
      const address = addressAt(words, 1);
      const length = lengthAt(words, 2);
      if (length === 0) throw new MalformedCommandError("read: nothing to read");
      return `OK 0x${readRange(space, address, length).toString("hex")}`;
    },
    write: (words) => writeHex(space, words),
    memset: (words) => {
      const address = addressAt(words, 1);
      const length = addressAt(words, 2);
      space.fill(address, length, uint32At(words, 3) & 0xff);
      return "OK";
    },
    b64read: (words) => {
      const address = addressAt(words, 1);
      return `OK ${readRange(space, address, lengthAt(words, 2)).toString("base64")}`;
    },
    b64write: (words) => {
      const address = addressAt(words, 1);
      const bytes = Buffer.alloc(lengthAt(words, 2));
      const data = wordAt(words, 3);
      if (data.length < MIN_BASE64_CHARACTERS) return "ERR invalid argument size";
      bytes.write(data, "base64");
      space.write(address, bytes);
      return "OK";
    },
  };
}

function load(space: AddressSpace, width: AccessWidth): QtestCommand {
  return (words) => {
    const value = space.load(addressAt(words, 1), width);
    return `OK 0x${value.toString(16).padStart(16, "0")}`;
  };
}

function store(space: AddressSpace, width: AccessWidth): QtestCommand {
  return (words) => {
    const address = addressAt(words, 1);
    space.store(address, width, uint32At(words, 2));
    return "OK";
  };
}

/** 64 bits are two words of 32 wherever they are registers, the lower address first. */
function loadTwo(space: AddressSpace, address: number): string {
  const bytes = Buffer.alloc(8);
  space.read(address, bytes);
  return `OK 0x${bytes.readBigUInt64LE().toString(16).padStart(16, "0")}`;
}

function storeTwo(space: AddressSpace, address: number, value: bigint): string {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  space.write(address, bytes);
  return "OK";
}

function readRange(space: AddressSpace, address: number, lengthBytes: number): Buffer {
  const bytes = Buffer.alloc(lengthBytes);
  space.read(address, bytes);
  return bytes;
}

/** Data that are short are filled up with zeroes, and what is too much is ignored. A digit that is none counts as F. */
function writeHex(space: AddressSpace, words: readonly string[]): string {
  const address = addressAt(words, 1);
  const bytes = Buffer.alloc(lengthAt(words, 2));
  const data = wordAt(words, 3);
  if (data.length <= PREFIX_CHARACTERS) return "ERR invalid argument size";
  const digits = data.slice(PREFIX_CHARACTERS, PREFIX_CHARACTERS + 2 * bytes.length);
  const wholeDigits = digits.length - (digits.length % 2); // half a byte is none
  const written = bytes.write(digits.slice(0, wholeDigits), "hex");
  for (let at = 2 * written; at < wholeDigits; at += 2) {
    bytes[at / 2] = (digitValue(digits[at]!) << 4) | digitValue(digits[at + 1]!);
  }
  space.write(address, bytes);
  return "OK";
}

function digitValue(digit: string): number {
  const value = Number.parseInt(digit, 16);
  return Number.isNaN(value) ? 0xf : value;
}

function lengthAt(words: readonly string[], index: number): number {
  const length = addressAt(words, index);
  if (length > MAX_TRANSFER_BYTES) {
    throw new MalformedCommandError(`${words[0]}: ${words[index]} bytes are more than ${MAX_TRANSFER_BYTES} at once`);
  }
  return length;
}
