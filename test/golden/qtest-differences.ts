// Where this device follows the standard and QEMU does not, as what it has to reply instead: docs/reference/virtio-registers.md, virtio-errors.md.
import {
  type Command,
  type Conversation,
  elementOf,
  PACKED_RING,
  PACKED_RING_END,
  parseCommand,
  registerRead,
  SPLIT_USED_RING,
} from "./qtest-conversation.ts";

/** One command of a transcript. */
export interface Step {
  readonly transcript: string;
  readonly step: number;
  readonly command: string;
  readonly conversation: Conversation;
}

/** What this device replies, given what QEMU, or the rule before, does: the same where the rule has nothing to say. */
export interface ExpectedDifference {
  /** With the place that says so: "registers" is virtio-registers.md, "errors" is virtio-errors.md. */
  readonly reason: string;
  here(reply: string, step: Step): string;
}

const LEGACY_FEATURES_OF_QEMU = 0x3100_6ed4;
const SCSI = 1 << 7;
const ANY_LAYOUT = 1 << 27;

/**
 * What the driver says here instead. The recorded one accepts SIZE_MAX, which neither device offers: "registers §6, Un-offered bit
 * accepted", QEMU masks such bits, and this device would not go on.
 */
export const COMMANDS_HERE: Readonly<Record<string, string>> = {
  "writel 0xa003e20 0x6246": "writel 0xa003e20 0x6244",
};

const DESC_F_WRITE = 2;
const GET_ID = 8;
/** IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES. */
const REQUEST_TYPES = [0, 1, 4, GET_ID, 11, 13];
const IOERR = 1;
const UNSUPP = 2;
const ID = Buffer.from("ORACLE1\0");
const ID_BYTES = 20;

function number(reply: string): number {
  return Number(reply.slice("OK ".length));
}

function bytesOf(reply: string): Buffer {
  return Buffer.from(reply.slice("OK 0x".length), "hex");
}

function register(value: number): string {
  return `OK 0x${value.toString(16).padStart(16, "0")}`;
}

function bytes(content: Buffer): string {
  return `OK 0x${content.toString("hex")}`;
}

/** Another value of a register. */
function registerRule(
  reason: string,
  offsets: readonly number[],
  here: (theirs: number, step: Step) => number,
): ExpectedDifference {
  return {
    reason,
    here: (reply, step) =>
      offsets.includes(registerRead(parseCommand(step.command))) ? register(here(number(reply), step)) : reply,
  };
}

/** Other bytes of the configuration space, by their offsets in the bank, whatever the width that they are read with. */
function configRule(reason: string, ours: Readonly<Record<number, number>>): ExpectedDifference {
  const widths: Readonly<Record<string, number>> = { readb: 1, readw: 2, readl: 4 };
  return {
    reason,
    here(reply, { command }) {
      const parsed = parseCommand(command);
      const offset = registerRead(parsed);
      if (offset < 0x100) return reply;
      const content = Buffer.alloc(8);
      content.writeBigUInt64LE(BigInt(number(reply)));
      for (let i = 0; i < widths[parsed.verb]!; i++) content[i] = ours[offset + i] ?? content[i]!;
      return register(Number(content.readBigUInt64LE()));
    },
  };
}

/** The replies to some steps of one transcript, word for word. */
function steps(
  transcript: string,
  reason: string,
  replies: Readonly<Record<number, string>>,
): ExpectedDifference {
  return { reason, here: (reply, step) => (step.transcript === transcript ? (replies[step.step] ?? reply) : reply) };
}

/** Another content of RAM where `covers` says so. */
function memoryRule(
  reason: string,
  covers: (command: Command, step: Step) => boolean,
  change: (content: Buffer, step: Step) => void,
): ExpectedDifference {
  return {
    reason,
    here(reply, step) {
      const command = parseCommand(step.command);
      if (command.verb !== "read" || !covers(command, step)) return reply;
      const content = bytesOf(reply);
      change(content, step);
      return bytes(content);
    },
  };
}

/**
 * The length that the request whose status was read last has in the used ring, where QEMU reports `theirs`, all that could be
 * written: bytes from the first writable one on. GET_ID writes 20 of them; one that failed wrote the last byte, its status, alone.
 */
function usedLength(theirs: number, { last: { type, status } }: Conversation): number {
  if (theirs === 1) return 1;
  if (status !== 0) return 0;
  return type === GET_ID && theirs > ID_BYTES + 1 ? ID_BYTES : theirs;
}

const SHORT_HEADER =
  "errors §2: a request whose header is too short ends with an error; QEMU's device is broken by it until it is reset";
const EVENT_INDEX =
  "registers §2: the first interrupt goes by used_event too; QEMU takes the index before for unknown, and always signals";

/** From here on QEMU answers `modern-edges` with a broken device, and this one goes on. */
export const BROKEN_AT_EDGES: {
  readonly transcript: string;
  readonly step: number;
  readonly write: { readonly step: number; readonly address: number; readonly bytes: number; readonly offsetBytes: number };
  readonly status: Readonly<Record<number, number>>;
} = {
  transcript: "modern-edges",
  /** The store to QueueNotify that breaks QEMU's device: up to it both have done the same to the disk. */
  step: 606,
  /** The store to QueueNotify of the one write among the requests that follow. */
  write: { step: 663, address: 0x4010_1000, bytes: 512, offsetBytes: 9 * 512 },
  /** What the requests end with, by the available index: ranges of a wrong length, then a write and a read. */
  status: { 38: IOERR, 39: IOERR, 40: IOERR, 41: IOERR, 42: 0, 43: 0 },
};

/** Where the status byte of most of them is; the last two have theirs behind their data. */
const EDGES_STATUS = 0x4010_2000;

const atTheEdges: ExpectedDifference = {
  reason:
    "errors §2: ranges of 8, 15 or 17 bytes, and two where one is allowed, are an error of that request alone; QEMU's device is broken by the first of them, and answers nothing for the rest of modern-edges",
  here(reply, { transcript, step, command, conversation }) {
    if (transcript !== BROKEN_AT_EDGES.transcript || step <= BROKEN_AT_EDGES.step) return reply;
    if (command === "#irq") return step === BROKEN_AT_EDGES.step + 1 ? reply : "lower 47,raise 47";
    const parsed = parseCommand(command);
    switch (registerRead(parsed)) {
      case 0x060:
        return register(1);
      case 0x070:
        return register(0x0f);
    }
    if (parsed.verb !== "read") return reply;
    const content = bytesOf(reply);
    const status = BROKEN_AT_EDGES.status[conversation.availableIndex];
    if (parsed.address === EDGES_STATUS && status !== undefined) content[0] = status;
    if (parsed.address === SPLIT_USED_RING) content.writeUInt16LE(conversation.availableIndex, 2);
    return bytes(content);
  },
};

export const EXPECTED_DIFFERENCES: readonly ExpectedDifference[] = [
  registerRule(
    "registers §6, DeviceFeaturesSel: words past the second have no features; QEMU takes any selector but 0 for 1",
    [0x010],
    (theirs, { conversation }) => (conversation.featuresWord > 1 ? 0 : theirs),
  ),
  registerRule(
    "registers §5: SCSI commands are unsupported, so SCSI is not offered; QEMU's device of version 1 offers it, and refuses them",
    [0x010],
    (theirs) => (theirs === LEGACY_FEATURES_OF_QEMU ? theirs & ~SCSI : theirs),
  ),
  registerRule(
    "registers §3 and §6, Framing: no layout of a request is assumed, and ANY_LAYOUT says so to drivers of version 1",
    [0x010],
    (theirs) => (theirs === (LEGACY_FEATURES_OF_QEMU & ~SCSI) ? theirs | ANY_LAYOUT : theirs),
  ),
  registerRule(
    "registers §6, QueueSizeMax: it is what queue-size says; QEMU says 1024 always",
    [0x034],
    (theirs) => (theirs === 1024 ? 64 : theirs),
  ),
  configRule("registers §4: num_queues is 0 without MQ; QEMU fills it in", { [0x122]: 0, [0x123]: 0 }),
  configRule("registers §6, Config read past end: bytes behind the last field offered are 0; QEMU reads all ones", {
    [0x138]: 1, // write_zeroes_may_unmap is the last field; wider reads of it go past the end
    ...Object.fromEntries(Array.from({ length: 7 }, (_, i) => [0x139 + i, 0])),
  }),
  steps(
    "modern-config-widths",
    "errors §3, Config write before FEATURES_OK: it is ignored, so writeback stays set; QEMU lets anybody write it",
    { 114: register(1) },
  ),
  registerRule(
    "registers §6, SHM absent: a region that is not there has no base either, all ones",
    [0x0b8, 0x0bc],
    (theirs, { transcript }) => (transcript.startsWith("legacy-") ? theirs : 0xffff_ffff),
  ),
  registerRule(
    "registers §1, Legacy register bank: the registers of version 1 have no shared memory",
    [0x0b0, 0x0b4],
    (theirs, { transcript }) => (transcript.startsWith("legacy-") ? 0 : theirs),
  ),
  registerRule(
    "registers §6, Config change interrupt: it sets bit 1 of InterruptStatus alone; QEMU sets both bits",
    [0x060],
    (theirs, { transcript, conversation }) => {
      // There QEMU's device breaks instead of using a buffer, which sets the bit here.
      if (transcript.endsWith("-short-header") || transcript === BROKEN_AT_EDGES.transcript) return theirs;
      if (theirs === 3) conversation.usedBufferClaimed = true;
      return conversation.usedBufferClaimed ? theirs & ~1 : theirs;
    },
  ),
  steps(
    "modern-status-walk",
    "registers §6, Status transitions: bits that are set stay, but for FEATURES_OK and the device's own; QEMU stores what is written",
    { 11: register(0x8f), 15: register(0), 17: register(0x8f), 19: register(0x8f) },
  ),
  steps(
    "modern-bad-features",
    "registers §6, Un-offered bit accepted: FEATURES_OK stays clear; QEMU masks such bits",
    { 7: register(0x03) },
  ),
  steps("legacy-broken-short-header", `${SHORT_HEADER} (version 1)`, {
    25: "raise 47",
    26: register(1),
    28: "OK 0x00000100000000000100000000000000",
    60: "lower 47,raise 47",
  }),
  steps("modern-broken-short-header", `${SHORT_HEADER} (version 2)`, {
    34: register(1),
    35: register(0x0f),
    36: "OK 0x00000100000000000100000000000000",
    38: register(0x0f),
  }),
  steps("packed-broken-short-header", `${SHORT_HEADER} (packed)`, {
    32: register(1),
    33: register(0x0f),
    36: register(0x0f),
  }),
  steps("legacy-event-idx", `${EVENT_INDEX} (version 1)`, { 26: "", 27: register(0), 29: "" }),
  steps("modern-event-idx", `${EVENT_INDEX} (version 2)`, { 34: "", 35: register(0), 37: "" }),
  memoryRule(
    "registers §6, Request type decode: a type is its whole value, and those of legacy devices are none; QEMU leaves bits 0 and 31 out",
    ({ address, argument }, { conversation }) => {
      const type = argument === 1 ? conversation.typeAt(address) : undefined;
      return type !== undefined && !REQUEST_TYPES.includes(type);
    },
    (content) => {
      if (content[0] !== 0xff) content[0] = UNSUPP; // 0xff: the driver's own, no request has ended
    },
  ),
  memoryRule(
    "registers §6, GET_ID padding: it fills its 20 bytes up with NUL; QEMU writes one NUL",
    ({ address, argument }, { conversation }) => argument > ID.length && conversation.typeAt(address) === GET_ID,
    (content) => {
      if (content.subarray(0, ID.length).equals(ID)) content.fill(0, ID.length, ID_BYTES);
    },
  ),
  steps(
    "legacy-broken-unmapped-addr",
    "registers §6, used.len: nothing was written to an address where nothing is; QEMU reports all that could be",
    { 29: "OK 0x00000100000000000000000000000000" },
  ),
  memoryRule(
    "registers §6, used.len: it is what was written from the first byte on; QEMU reports all that could be",
    ({ address }, { transcript }) => address === SPLIT_USED_RING && !transcript.startsWith("packed-"),
    (content, { conversation }) => {
      const index = content.readUInt16LE(2);
      const at = (element: number): number => 4 + element * 8 + 4;
      const newest = at(elementOf(index));
      if (index > 0 && conversation.sawUsed(index) && newest + 4 <= content.length) {
        const theirs = content.readUInt32LE(newest);
        conversation.usedLengths.set(elementOf(index), usedLength(theirs, conversation));
      }
      for (const [element, length] of conversation.usedLengths) content.writeUInt32LE(length, at(element));
    },
  ),
  memoryRule(
    "registers §6, used.len and Packed WRITE flag: a used descriptor has WRITE set when data were written, and their length; QEMU never sets it",
    ({ address, argument }, { transcript }) =>
      transcript.startsWith("packed-") && argument === 16 && address >= PACKED_RING && address < PACKED_RING_END,
    (content, { conversation }) => {
      const flags = content.readUInt16LE(14);
      if (((flags >> 7) & 1) !== ((flags >> 15) & 1)) return; // not used
      content.writeUInt16LE(flags | DESC_F_WRITE, 14);
      content.writeUInt32LE(usedLength(content.readUInt32LE(8), conversation), 8);
    },
  ),
  atTheEdges,
];
