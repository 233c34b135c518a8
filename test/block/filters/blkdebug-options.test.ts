// What blkdebug pretends of its image, its file of rules, and what it prints: all texts and outcomes were seen at a real QEMU 7.2.
import { describe, expect, it } from "vitest";
import { BlockError } from "../../../src/base/errors.ts";
import { IoVector } from "../../../src/base/io-vector.ts";
import { debugPointsOf } from "../../../src/block/debug-points.ts";
import { memoryOpener } from "../../../src/block/drivers/memory-openers.ts";
import { pieces } from "../../../src/block/filters/blkdebug-limits.ts";
import { blkdebugOpenerWith } from "../../../src/block/filters/blkdebug-opener.ts";
import { BlockGraph } from "../../../src/block/graph.ts";
import type { BlockdevOptions } from "../../../src/block/graph-options.ts";
import type { BlockNode } from "../../../src/block/node.ts";

const SIZE = 65536;
const files: Record<string, string> = {};
let printed = "";

const opener = blkdebugOpenerWith({
  readConfig: (path) => {
    const text = files[path];
    return text === undefined ? Promise.reject(new BlockError("ENOENT", `${path}: gone`)) : Promise.resolve(text);
  },
  print: (text) => {
    printed += text;
  },
});

async function build(options: object): Promise<{ image: BlockNode; node: BlockNode }> {
  const graph = new BlockGraph({ drivers: [opener, memoryOpener] });
  const image = await graph.add({ driver: "memory", "node-name": "m", size: SIZE, discard: "unmap" });
  await image.write(0, IoVector.of(new Uint8Array(SIZE).fill(0x11)));
  const all = { driver: "blkdebug", "node-name": "d", image: "m", discard: "unmap", ...options };
  return { image, node: await graph.add(all as BlockdevOptions) };
}

async function outcome(request: void | Promise<void>): Promise<string> {
  try {
    await request;
    return "ok";
  } catch (error) {
    return (error as BlockError).errno;
  }
}

/** The ranges that do not hold 0x11 any more, as `from-to`. */
async function changed(image: BlockNode): Promise<string[]> {
  const bytes = new Uint8Array(SIZE);
  await image.read(0, IoVector.of(bytes));
  const ranges: string[] = [];
  for (let at = 0; at < SIZE; at++) {
    if (bytes[at] === 0x11) continue;
    const from = at;
    while (at < SIZE && bytes[at] !== 0x11) at++;
    ranges.push(`${from}-${at}`);
  }
  return ranges;
}

const NONE = { event: "none" };
const data = (length: number): IoVector => IoVector.of(new Uint8Array(length).fill(5));

describe("blkdebug's limits", () => {
  it.each([
    [{ align: 3 }, "Cannot meet constraints with align 3"],
    [{ align: 1000 }, "Cannot meet constraints with align 1000"],
    [{ align: 2 ** 32 }, "Cannot meet constraints with align 4294967296"],
    [{ align: -1 }, "Parameter 'align' expects a non-negative number below 2^64"],
    [{ align: 4096, "max-transfer": 512 }, "Cannot meet constraints with max-transfer 512"],
    [{ "max-write-zero": 4096, "opt-write-zero": 65536 }, "Cannot meet constraints with max-write-zero 4096"],
    [{ align: 4096, "opt-discard": 512 }, "Cannot meet constraints with opt-discard 512"],
    [{ "max-discard": 65536, "opt-discard": 131072 }, "Cannot meet constraints with max-discard 65536"],
  ])("refuse %j", async (options, message) => {
    await expect(build(options)).rejects.toThrow(message);
  });

  it("leave the data of requests as they are, whatever they are cut into", async () => {
    const { image, node } = await build({ align: 4096, "max-transfer": 8192, "opt-write-zero": 16384 });
    expect(await outcome(node.write(100, data(20_000)))).toBe("ok");
    expect(await outcome(node.writeZeroes(30_001, 30_000))).toBe("ok");
    expect(await changed(image)).toEqual(["100-20100", "30001-60001"]);
    const read = new Uint8Array(20_002);
    await node.read(99, IoVector.of(read));
    expect([read[0], read[1], read[20_000], read[20_001]]).toEqual([0x11, 5, 5, 0x11]);
  });

  it("cut a transfer that is too long, so that what comes before the piece that fails is done", async () => {
    const { image, node } = await build({ "max-transfer": 4096, "inject-error": [{ ...NONE, sector: 20 }] });
    expect(await outcome(node.write(0, data(16_384)))).toBe("EIO");
    expect(await changed(image)).toEqual(["0-8192"]);
  });

  it("make writes of parts of blocks read the blocks first", async () => {
    const { image, node } = await build({ align: 4096, "inject-error": [{ ...NONE, iotype: "read", sector: 15 }] });
    expect(await outcome(node.write(8192, data(8192)))).toBe("ok");
    expect(await outcome(node.write(4097, data(4000)))).toBe("EIO"); // the block at 4096 has sector 15
    expect(await outcome(node.write(100, data(4500)))).toBe("EIO"); // its last block is that one
    expect(await changed(image)).toEqual(["8192-16384"]);
  });

  it("discard whole units, and leave the rest as it is", async () => {
    const { image, node } = await build({ "opt-discard": 4096, "max-discard": 8192 });
    expect(await outcome(node.discard(1000, 30_000))).toBe("ok");
    expect(await changed(image)).toEqual(["4096-28672"]);
    expect(await outcome(node.discard(5000, 100))).toBe("ok");
  });

  it("zero whole units as zeroes, and the rest as data", async () => {
    const zeroes = await build({ "opt-write-zero": 4096, "inject-error": [{ ...NONE, iotype: "write-zeroes" }] });
    expect(await outcome(zeroes.node.writeZeroes(4096, 4096))).toBe("EIO");
    expect(await outcome(zeroes.node.writeZeroes(4097, 100))).toBe("ok");
    const writes = await build({ "opt-write-zero": 4096, "inject-error": [{ ...NONE, iotype: "write" }] });
    expect(await outcome(writes.node.writeZeroes(4096, 4096))).toBe("ok");
    expect(await outcome(writes.node.writeZeroes(4097, 100))).toBe("EIO");
  });

  it("cut every request into pieces that follow one another and cross no unit in part", () => {
    for (let offset = 0; offset < 20; offset++) {
      for (let length = 0; length < 40; length++) {
        let at = offset;
        for (const piece of pieces(offset, length, 8, 16)) {
          expect(piece.offsetBytes).toBe(at);
          expect(piece.lengthBytes).toBeGreaterThan(0);
          expect(piece.lengthBytes).toBeLessThanOrEqual(16);
          expect(piece.whole).toBe(piece.offsetBytes % 8 === 0 && piece.lengthBytes % 8 === 0);
          at += piece.lengthBytes;
        }
        expect(at).toBe(offset + length);
      }
    }
  });
});

describe("blkdebug's file of rules", () => {
  const rules = async (text: string): Promise<BlockNode> => {
    files["rules"] = text;
    return (await build({ config: "rules" })).node;
  };

  it("injects errors and changes states as options do", async () => {
    const node = await rules(
      '# two groups\n[set-state]\nevent = "flush_to_disk"\nstate = "1"\nnew_state = "2"\n\n' +
        '[inject-error]\n  event = "pwritev"\n  errno = "28"\n  iotype = "write"\n  once = "on"\n',
    );
    expect(await outcome(node.write(0, data(512)))).toBe("ENOSPC");
    expect(await outcome(node.write(0, data(512)))).toBe("ok");
  });

  it.each([
    ['[zz]\nevent = "write_aio"\n', "There is no option group 'zz'"],
    ['[inject-error]\nevent = "zz"\n', "invalid parameter value: zz"],
    ['[inject-error]\nfoo = "zz"\n', "Invalid parameter 'foo'"],
    ['[inject-error]\nerrno = "5"\n', "Missing event name for rule"],
    ['event = "write_aio"\n', "no group defined"],
    ['[inject-error]\nevent = "read_aio"\niotype = "zz"\n', "invalid parameter value: zz"],
    ["[inject-error]\nevent = read_aio\n", "invalid parameter value: "],
    ['[inject-error "a"]\nevent = "read_aio"\nsector = "x"\n', "Parameter 'sector' expects a number"],
    ['[inject-error]\nevent = "read_aio"\nonce = "x"\n', "Parameter 'once' expects 'on' or 'off'"],
  ])("refuses %j", async (text, message) => {
    await expect(rules(text)).rejects.toThrow(message);
  });

  it("is missed where it is not", async () => {
    await expect(build({ config: "nowhere" })).rejects.toThrow(
      "Could not read blkdebug config file: No such file or directory",
    );
  });
});

describe("blkdebug's breakpoints", () => {
  it("print what stops and what goes on", async () => {
    printed = "";
    const { node } = await build({});
    const points = debugPointsOf(node)!;
    points.setBreakpoint("pwritev", "A");
    const stopped = node.write(0, data(512));
    expect(printed).toBe("blkdebug: Suspended request 'A'\n");
    points.resume("A");
    await stopped;
    expect(printed).toBe("blkdebug: Suspended request 'A'\nblkdebug: Resuming request 'A'\n");
  });
});
