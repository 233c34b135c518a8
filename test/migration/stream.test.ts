// The migration stream: docs/reference/migration-stream.md, persistence-migration.md §5.2.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DirtyBitmap } from "../../src/bitmap/dirty-bitmap.ts";
import { BitmapEncoder, type SentBitmap } from "../../src/migration/bitmap-encoder.ts";
import { StreamWriter } from "../../src/migration/stream-writer.ts";
import { CAPTURED_CLOCK_NS, CAPTURED_TICKS, capturedStream } from "./captured-stream.ts";
import { load } from "./load-rig.ts";

const LOADED = [
  "node n0",
  "bitmap b1",
  "start 512",
  "bitmap b0",
  "start 65536 enabled",
  "bitmap b1",
  "bits 0+131072 zero",
  "bitmap b0",
  `bits 0+131072 02${"00".repeat(31)}`,
  "bitmap b1",
  "complete",
  "bitmap b0",
  "complete",
  "state running",
];
const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replace(/ /g, ""), "hex"));
const join = (...parts: readonly Uint8Array[]): Uint8Array => Uint8Array.from(Buffer.concat(parts));
const captured = capturedStream();
/** Up to the configuration's end. */
const HEAD = captured.slice(0, 0x11);
const BITMAP_HEAD = captured.slice(0x3c, 0x56);
const END = hex("00 06 00000000");

function sentBitmaps(): SentBitmap[] {
  const b0 = new DirtyBitmap({ name: "b0", granularityBytes: 65536, sizeBytes: 131072 });
  b0.set(65536, 512);
  const b1 = new DirtyBitmap({ name: "b1", granularityBytes: 512, sizeBytes: 131072, disabled: true });
  return [b1, b0].map((bitmap) => ({ bitmap, nodeAlias: "n0", bitmapAlias: bitmap.name!, persistent: false }));
}

describe("StreamWriter", () => {
  it("writes what QEMU writes, byte for byte", () => {
    const writer = new StreamWriter();
    const encoder = new BitmapEncoder();
    const bitmaps = sentBitmaps();
    writer.header("none");
    writer.postcopyAdvise(false);
    writer.ramStart();
    writer.beginBitmaps("start");
    for (const bitmap of bitmaps) encoder.start(writer.out, bitmap);
    encoder.endOfSection(writer.out);
    writer.endBitmaps();
    writer.ramEnd();
    writer.beginBitmaps("end");
    for (const bitmap of bitmaps) expect(encoder.bits(writer.out, bitmap, 0)).toBe(131072);
    for (const bitmap of bitmaps) encoder.complete(writer.out, bitmap);
    encoder.endOfSection(writer.out);
    writer.endBitmaps();
    writer.machineState({ runState: "running", cpuTicksOffset: CAPTURED_TICKS, cpuClockOffsetNs: CAPTURED_CLOCK_NS });
    writer.end();
    writer.description();
    expect(Buffer.from(writer.out.take()).toString("hex")).toBe(Buffer.from(captured).toString("hex"));
  });
});

describe("StreamLoader", () => {
  it("reads what QEMU writes, however it is cut into parts", async () => {
    for (const partBytes of [captured.length, 1, 7, 64]) {
      expect(await load(captured, { partBytes })).toEqual({ log: LOADED, lines: [], failed: false, replies: "" });
    }
  });

  it("needs neither RAM, clock, run state nor description", async () => {
    const stream = join(HEAD, BITMAP_HEAD, hex("01 7e 00000003 00"));
    expect(await load(stream)).toMatchObject({
      failed: false,
      lines: ["Expected vmdescription section, but got 0"],
    });
  });

  it("eats the parts of a source that waits", async () => {
    const part = hex("02 00000002 0000000000000010 7e 00000002");
    const flood = join(captured.slice(0, 0x71), ...new Array<Uint8Array>(50_000).fill(part), captured.slice(0x71));
    expect(await load(flood, { partBytes: 65_536 })).toMatchObject({ log: LOADED, failed: false });
  });

  it("takes sections of the other kind, other ids and a package", async () => {
    const stream = join(
      HEAD,
      hex(
        "08 0003 0000 04 000000c8 0c 64697274792d6269746d6170 00000000 00000001 1c 026e30 026230 00010000 01 01 7e000000c8",
      ),
      hex("08 0007 0004 0000000a 08 0004 0000 08 0005 0000"),
      hex("02 000000c8 42 0000000000000000 00000100 21 7e000000c8 00"),
    );
    expect(await load(stream)).toEqual({
      log: ["node n0", "bitmap b0", "start 65536 enabled", "listen", "run", "bits 0+131072 zero", "complete"],
      lines: [],
      failed: false,
      replies: "",
    });
  });

  it("answers on the return path, and says at the end how it went", async () => {
    const opened = join(HEAD, hex("08 0001 0000 08 0002 0004 00000001"));
    expect((await load(join(opened, END))).replies).toBe("0002000400000001" + "0001000400000000");
    expect((await load(join(opened, hex("09")))).replies).toBe("0002000400000001" + "0001000400000001");
  });

  const INVALID = "load of migration failed: Invalid argument";
  const IO = "load of migration failed: Input/output error";
  const CONFIGURATION = hex("5145564d 00000003 07 00000004 6e6f6e65");
  const CAPABILITIES = "05 1a 636f6e66696775726174696f6e2f6361706162696c6974696573";
  const IN_BITMAP = "error while loading state for instance 0x0 of device 'dirty-bitmap'";
  const bitmapPayload = (text: string): Uint8Array => join(HEAD, BITMAP_HEAD, hex(text));
  const fatal: readonly (readonly [string, Uint8Array, readonly string[]])[] = [
    ["an empty stream", hex(""), ["Not a migration stream", INVALID]],
    ["another magic", hex("5145564e 00000003"), ["Not a migration stream", INVALID]],
    [
      "version 2",
      hex("5145564d 00000002"),
      ["SaveVM v2 format is obsolete and don't work anymore", "load of migration failed: Operation not supported"],
    ],
    [
      "version 4",
      hex("5145564d 00000004"),
      ["Unsupported migration stream version", "load of migration failed: Operation not supported"],
    ],
    ["no configuration", hex("5145564d 00000003 01"), ["Configuration section missing", INVALID]],
    [
      "another machine",
      hex("5145564d 00000003 07 00000004 76697274"),
      ["Machine type received is 'virt' and local is 'none'", INVALID],
    ],
    [
      "a name of 4 GiB",
      hex("5145564d 00000003 07 ffffffff"),
      ["Machine type received has a name of 4294967295 bytes", INVALID],
    ],
    [
      "other pages",
      join(CONFIGURATION, hex("05 1e 636f6e66696775726174696f6e2f7461726765742d706167652d62697473 00000001 0000000c")),
      ["Received TARGET_PAGE_BITS is 12 but local is 10", INVALID],
    ],
    [
      "a capability that is off here",
      join(CONFIGURATION, hex(`${CAPABILITIES} 00000001 00000001 0f 782d69676e6f72652d736861726564`)),
      ["Capability x-ignore-shared is off, but received capability is on", INVALID],
    ],
    [
      "an unknown capability",
      join(CONFIGURATION, hex(`${CAPABILITIES} 00000001 00000001 02 7a7a`)),
      ["Received unknown capability zz", "Failed to load configuration/capabilities:capabilities", INVALID],
    ],
    [
      "a subsection of the future",
      join(CONFIGURATION, hex(`${CAPABILITIES} 00000002`)),
      ["configuration/capabilities: incoming version_id 2 is too new for local version_id 1", INVALID],
    ],
    [
      "an unknown subsection",
      join(CONFIGURATION, hex("05 01 78 00000001")),
      ["load of migration failed: No such file or directory"],
    ],
    [
      "an unknown section",
      join(HEAD, hex("04 00000001 03 666f6f 00000000 00000001")),
      [
        "Unknown savevm section or instance 'foo' 0. Make sure that your current VM setup matches your saved VM setup, " +
          "including any hotplugged devices",
        INVALID,
      ],
    ],
    [
      "a section of the future",
      join(HEAD, hex("01 00000003 0c 64697274792d6269746d6170 00000000 00000002")),
      ["savevm: unsupported version 2 for 'dirty-bitmap' v1", INVALID],
    ],
    [
      "bitmaps of version 0",
      join(HEAD, hex("01 00000003 0c 64697274792d6269746d6170 00000000 00000000")),
      [IN_BITMAP, INVALID],
    ],
    ["a part of nothing", join(HEAD, hex("02 0000004d")), ["Unknown savevm section 77", INVALID]],
    ["no footer", bitmapPayload("01 00"), ["Missing section footer for dirty-bitmap", INVALID]],
    [
      "another footer",
      bitmapPayload("01 7e 00000008"),
      ["Mismatched section id in footer for dirty-bitmap - read 0x8 expected 0x3", INVALID],
    ],
    ["an unknown type", join(HEAD, hex("09")), ["Unknown savevm section type 9", INVALID]],
    ["a subsection in no section", join(HEAD, hex("0800030000 05")), ["Unknown savevm section type 5", INVALID]],
    ["command 0", join(HEAD, hex("08 0000 0000")), ["MIG_CMD 0x0 unknown (len 0x0)", INVALID]],
    ["command 99", join(HEAD, hex("08 0063 0000")), ["MIG_CMD 0x63 unknown (len 0x0)", INVALID]],
    [
      "a short PING",
      join(HEAD, hex("08 0002 0002 0000")),
      ["PING received with bad length - expecting 4, got 2", "load of migration failed: Numerical result out of range"],
    ],
    [
      "PING without a return path",
      join(HEAD, hex("08 0002 0004 00000001")),
      ["CMD_PING (0x1) received with no return path", "load of migration failed: Operation not permitted"],
    ],
    [
      "advice about RAM",
      join(HEAD, hex(`08 0003 0010 ${"00".repeat(16)}`)),
      ["RAM postcopy is disabled but have 16 byte advise", INVALID],
    ],
    [
      "ADVISE twice",
      join(HEAD, hex("08 0003 0000 08 0003 0000")),
      ["CMD_POSTCOPY_ADVISE in wrong postcopy state (1)", "load of migration failed: Operation not permitted"],
    ],
    [
      "LISTEN without ADVISE",
      join(HEAD, hex("08 0004 0000")),
      ["CMD_POSTCOPY_LISTEN in wrong postcopy state (0)", "load of migration failed: Operation not permitted"],
    ],
    [
      "RUN at first",
      join(HEAD, hex("08 0005 0000")),
      ["CMD_POSTCOPY_RUN in wrong postcopy state (0)", "load of migration failed: Operation not permitted"],
    ],
    [
      "a package in a package",
      join(HEAD, hex("08 0007 0004 00000010 08 0007 0004 00000001 00")),
      ["Package within packaged data", INVALID],
    ],
    [
      "a package that ends in an item",
      join(HEAD, hex("08 0007 0004 00000003 08 0004 0000")),
      ["Packaged data end within an item", INVALID],
    ],
    [
      "an unknown run state",
      join(HEAD, hex(`04 00000004 0b 676c6f62616c7374617465 00000000 00000001 00000006 626f677573 ${"00".repeat(95)}`)),
      ["invalid parameter value: bogus", "error while loading state for instance 0x0 of device 'globalstate'", INVALID],
    ],
    [
      "RAM",
      join(HEAD, hex("01 00000002 03 72616d 00000000 00000004 0000000008000004")),
      [
        "RAM of 134217728 bytes received: none is taken",
        "error while loading state for instance 0x0 of device 'ram'",
        INVALID,
      ],
    ],
    [
      "reserved flags of a bitmap",
      bitmapPayload("1c 026e30 026230 00010000 09"),
      ["Unknown flags in migrated dirty bitmap header: 9", IN_BITMAP, INVALID],
    ],
    [
      "longer flag words",
      bitmapPayload("80 01"),
      ["Unknown flags in migrated dirty bitmap header: 80", IN_BITMAP, INVALID],
    ],
    [
      "a buffer of 10241 bytes",
      bitmapPayload("4c 026e30 026230 0000000000000000 00000100 0000000000002801"),
      ["Bitmap migration stream buffer allocation request is too large", IN_BITMAP, IO],
    ],
    [
      "a buffer of 2^64 bytes",
      bitmapPayload("4c 026e30 026230 0000000000000000 00000100 ffffffffffffffff"),
      ["Bitmap migration stream buffer allocation request is too large", IN_BITMAP, IO],
    ],
    ["a node without a name", bitmapPayload("1c 00"), ["Unable to read node alias string", IN_BITMAP, INVALID]],
    [
      "an error in a part",
      bitmapPayload("01 7e 00000003 02 00000003 80"),
      [
        "Unknown flags in migrated dirty bitmap header: 80",
        "error while loading state section id 3(dirty-bitmap)",
        INVALID,
      ],
    ],
  ];
  for (const [title, stream, lines] of fatal) {
    it(`refuses ${title}`, async () => {
      expect(await load(stream)).toMatchObject({ failed: true, lines });
      expect(await load(stream, { partBytes: 1 })).toMatchObject({ failed: true, lines });
    });
  }

  it("tells where a stream was cut off as QEMU does", async () => {
    const inEnd = "error while loading state section id 3(dirty-bitmap)";
    const cuts: readonly (readonly [number, readonly string[]])[] = [
      [0x9, ["Failed to load configuration:len", IO]],
      [0xf, ["Failed to load configuration:name", IO]],
      [0x15, [IO]],
      [0x1e, ["Unable to read ID string for section 2", INVALID]],
      [0x24, ["qemu_loadvm_section_start_full: Failed to read instance/version ID: -5", IO]],
      [0x59, ["Unable to read node alias string", IN_BITMAP, INVALID]],
      [0x5c, ["Unable to read bitmap alias string", IN_BITMAP, INVALID]],
      [0x60, [IN_BITMAP, IO]],
      [0x6d, ["Mismatched section id in footer for dirty-bitmap - read 0x0 expected 0x3", INVALID]],
      [0x90, [inEnd, IO]],
      [0xb8, ["Failed to read bitmap bits", inEnd, IO]],
      [0xd9, ["check_section_footer: Read section footer failed: -5", INVALID]],
      [
        0xf5,
        ["Failed to load timer:cpu_ticks_offset", "error while loading state for instance 0x0 of device 'timer'", IO],
      ],
      [
        0x12b,
        [
          "Failed to load globalstate:runstate",
          "error while loading state for instance 0x0 of device 'globalstate'",
          IO,
        ],
      ],
      [0x194, [IO]],
    ];
    for (const [length, lines] of cuts)
      expect(await load(captured.slice(0, length)), `${length}`).toMatchObject({ lines });
  });

  it("fails at each cut before the end mark, and at none after it", async () => {
    for (let length = 0; length < captured.length; length++) {
      const { failed, lines } = await load(captured.slice(0, length));
      expect(failed, `cut at ${length}`).toBe(length < 0x195);
      if (failed) expect(lines.at(-1)).toMatch(/^load of migration failed: /);
    }
  });

  it("takes or refuses whatever comes, and never breaks", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(captured.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        async (changes) => {
          const stream = captured.slice();
          for (const [at, byte] of changes) stream[at] = byte;
          const { failed, lines } = await load(stream);
          if (failed) expect(lines.at(-1)).toMatch(/^load of migration failed: /);
        },
      ),
      { numRuns: 500 },
    );
  });
});
