// Where this device follows the standard and QEMU does not, as replies of a transcript show it: docs/reference/virtio-registers.md §6.

/** One command of a transcript, with both replies. */
export interface Difference {
  readonly transcript: string;
  readonly step: number;
  readonly command: string;
  readonly expected: string;
  readonly actual: string;
  /** Of the request whose status byte the command reads. */
  readonly requestType: number | undefined;
  /** QEMU has answered before that both bits of InterruptStatus are set. */
  readonly configChanged: boolean;
}

export interface ExpectedDifference {
  readonly reason: string;
  explains(difference: Difference): boolean;
}

const BANK = 0x0a00_3e00;
const SPLIT_USED_RING = 0x4001_1000;
const PACKED_RING = 0x4001_0000;
const PACKED_RING_END = 0x4001_0400;
const DESC_F_WRITE = 2;
const UNSUPPORTED = "OK 0x02";
/** IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES. */
const REQUEST_TYPES = [0, 1, 4, 8, 11, 13];
const ID = "4f5241434c453100"; // "ORACLE1" and its NUL
const ID_BYTES = 20;

/** The offset of the register that a command reads, or -1. */
function registerRead(command: string): number {
  const [verb = "", address = ""] = command.split(" ");
  const offset = Number(address) - BANK;
  return /^read[bwl]$/.test(verb) && offset >= 0 && offset < 0x200 ? offset : -1;
}

function value(reply: string): number {
  return Number(reply.slice("OK ".length));
}

/** What a `read` of RAM was answered; undefined for other commands. */
function bytesRead({ command, expected, actual }: Difference): { address: number; theirs: Buffer; ours: Buffer } | undefined {
  const [verb, address] = command.split(" ");
  if (verb !== "read") return undefined;
  const bytes = (reply: string): Buffer => Buffer.from(reply.slice("OK 0x".length), "hex");
  return { address: Number(address), theirs: bytes(expected), ours: bytes(actual) };
}

/** A register whose value is of no account to the comparison. */
function register(reason: string, offsets: readonly number[], accept: (theirs: number, ours: number) => boolean): ExpectedDifference {
  return {
    reason,
    explains: ({ command, expected, actual }) =>
      offsets.includes(registerRead(command)) && accept(value(expected), value(actual)),
  };
}

/** Steps of one transcript. */
function steps(transcript: string, from: number, to: number, reason: string): ExpectedDifference {
  return {
    reason,
    explains: (difference) => difference.transcript === transcript && difference.step >= from && difference.step <= to,
  };
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

const SHORT_HEADER = "a request whose header is too short ends with an error here; QEMU's device is broken by it until it is reset";
const EVENT_INDEX = "the first interrupt goes by used_event too; QEMU takes the index before for unknown, and always signals";

export const EXPECTED_DIFFERENCES: readonly ExpectedDifference[] = [
  register("each device offers its own features; QEMU takes any selector but 0 for 1", [0x010], () => true),
  register("QueueSizeMax is what queue-size says; QEMU says 1024 always", [0x034], (theirs, ours) => theirs === 1024 && ours === 64),
  register(
    "size_max, geometry and num_queues are 0 unless their features are offered; limits are the device's own",
    [...range(0x108, 0x10c), ...range(0x110, 0x114), ...range(0x120, 0x138)].filter((offset) => offset !== 0x120 && offset !== 0x121),
    () => true,
  ),
  register("num_queues is 0 without MQ", [0x120], (theirs, ours) => theirs === 0x1_0001 && ours === 1),
  register("there is nothing behind the last field offered; QEMU reads all ones", range(0x138, 0x140), () => true),
  steps("modern-config-widths", 114, 114, "writeback can be written once FEATURES_OK is set; QEMU lets anybody write it"),
  register("a region of shared memory that is not there has no base either: all ones", [0x0b8, 0x0bc], (theirs, ours) => theirs === 0 && ours === 0xffff_ffff),
  steps("legacy-ro-writes", 33, 33, "the registers of version 1 have no shared memory"),
  {
    reason: "a changed configuration sets bit 1 of InterruptStatus alone; QEMU sets both bits",
    explains: ({ command, expected, actual, configChanged }) =>
      configChanged && registerRead(command) === 0x060 && value(expected) === (value(actual) | 1),
  },
  steps("modern-status-walk", 11, 19, "Status keeps the bits that are set, but for FEATURES_OK and its own; QEMU stores what is written"),
  steps("modern-bad-features", 7, 7, "FEATURES_OK stays clear when features are accepted that were not offered; QEMU masks them"),
  ...[
    steps("legacy-broken-short-header", 25, 60, SHORT_HEADER),
    steps("modern-broken-short-header", 34, 38, SHORT_HEADER),
    steps("packed-broken-short-header", 32, 36, SHORT_HEADER),
    steps("modern-edges", 600, Number.POSITIVE_INFINITY, SHORT_HEADER),
    steps("legacy-event-idx", 26, 29, EVENT_INDEX),
    steps("modern-event-idx", 34, 37, EVENT_INDEX),
  ],
  {
    reason: "a request's type is its whole value, and those of legacy devices are none; QEMU leaves bits 0 and 31 out",
    explains: ({ requestType, actual }) =>
      requestType !== undefined && !REQUEST_TYPES.includes(requestType) && actual === UNSUPPORTED,
  },
  {
    reason: "GET_ID fills its 20 bytes up with NUL; QEMU writes one NUL",
    explains: (difference) => {
      const read = bytesRead(difference);
      if (read === undefined || read.theirs.subarray(0, 8).toString("hex") !== ID) return false;
      const { theirs, ours } = read;
      const padded = Buffer.concat([Buffer.from(ID, "hex"), Buffer.alloc(ID_BYTES - 8), theirs.subarray(ID_BYTES)]);
      return ours.equals(padded);
    },
  },
  {
    reason: "a used length is what was written from the first byte on; QEMU reports all that could be",
    explains: (difference) => {
      const read = bytesRead(difference);
      if (read?.address !== SPLIT_USED_RING) return false;
      const { theirs, ours } = read;
      for (let at = 8; at + 4 <= ours.length; at += 8) {
        if (ours.readUInt32LE(at) > theirs.readUInt32LE(at)) return false;
        theirs.copy(ours, at, at, at + 4);
      }
      return ours.equals(theirs);
    },
  },
  {
    reason: "a used descriptor of a packed ring has WRITE set when data were written, and that length; QEMU never sets it",
    explains: (difference) => {
      const read = bytesRead(difference);
      if (read === undefined || read.address < PACKED_RING || read.address >= PACKED_RING_END) return false;
      const { theirs, ours } = read;
      if (!difference.transcript.startsWith("packed-") || ours.length !== 16) return false;
      if (ours.readUInt32LE(8) > theirs.readUInt32LE(8)) return false;
      theirs.copy(ours, 8, 8, 12);
      ours.writeUInt16LE(ours.readUInt16LE(14) & ~DESC_F_WRITE, 14);
      return ours.equals(theirs);
    },
  },
];
