// Fault injection: the programs are those that a real QEMU 7.2 was seen to answer so (raw on blkdebug on a file).
import { beforeEach, describe, expect, it } from "vitest";
import { IoVector } from "../../../src/base/io-vector.ts";
import { BlockBackend } from "../../../src/block/backend.ts";
import { debugPointsOf } from "../../../src/block/debug-points.ts";
import { MemoryDriver } from "../../../src/block/drivers/memory.ts";
import { nullOpener } from "../../../src/block/drivers/memory-openers.ts";
import { RawDriver } from "../../../src/block/drivers/raw.ts";
import { BlkdebugDriver, type BlkdebugOptions } from "../../../src/block/filters/blkdebug.ts";
import { blkdebugOpener } from "../../../src/block/filters/blkdebug-opener.ts";
import type { InjectErrorOptions, SetStateOptions } from "../../../src/block/filters/blkdebug-rules.ts";
import { BlockGraph } from "../../../src/block/graph.ts";
import { BlockNode } from "../../../src/block/node.ts";
import { settle } from "../../support/simulation.ts";

let image: BlockNode;
let dbg: BlockNode;
let raw: BlockNode;

function build(options: Partial<BlkdebugOptions> = {}): void {
  image = new BlockNode({ name: "f", driver: new MemoryDriver({ lengthBytes: 65536 }), discard: "unmap" });
  dbg = new BlockNode({ name: "d", driver: new BlkdebugDriver({ image, ...options }), discard: "unmap" });
  raw = new BlockNode({ name: "r", driver: new RawDriver({ file: dbg }), discard: "unmap" });
}
beforeEach(() => build());

/** `r:read 1024 512` on the node r; ok or the errno. */
async function io(command: string): Promise<string> {
  const [, name, kind, offset, length] = /^(\w):(\w+)(?: (\d+) (\d+))?$/.exec(command)!;
  const node = name === "r" ? raw : dbg;
  const [at, bytes] = [Number(offset), Number(length)];
  const request = async (): Promise<unknown> => {
    switch (kind) {
      case "read":
        return node.read(at, IoVector.of(new Uint8Array(bytes)));
      case "write":
        return node.write(at, IoVector.of(new Uint8Array(bytes).fill(1)));
      case "zero":
        return node.writeZeroes(at, bytes);
      case "discard":
        return node.discard(at, bytes);
      case "flush":
        return node.flush();
      default:
        return node.blockStatus(0, 65536);
    }
  };
  return request().then(
    () => "ok",
    (error: { errno: string }) => error.errno,
  );
}

async function program(
  rules: readonly InjectErrorOptions[],
  states: readonly SetStateOptions[],
  steps: string[],
): Promise<void> {
  build({ injectErrors: rules, setStates: states });
  const results: string[] = [];
  for (const step of steps) results.push(`${step.split(" => ")[0]} => ${await io(step.split(" => ")[0]!)}`);
  expect(results).toEqual(steps);
}

describe("BlkdebugDriver", () => {
  it("keeps a rule asleep until its event, and then lets it fail whatever touches its sector", () =>
    program(
      [{ event: "read_aio", errno: 5, sector: 3 }],
      [],
      [
        "r:write 0 4096 => ok",
        "r:read 4096 512 => ok",
        "r:write 0 4096 => EIO",
        "r:write 8192 512 => ok",
        "r:read 0 4096 => EIO",
        "d:read 0 4096 => EIO",
        "d:discard 0 4096 => EIO",
        "d:discard 4096 4096 => ok",
        "r:flush => ok",
        "r:zero 0 4096 => EIO",
        "r:zero 4096 4096 => ok",
      ],
    ));

  it("lets the rules of an event take the place of those before", () =>
    program(
      [
        { event: "read_aio", errno: 5, sector: 3 },
        { event: "write_aio", errno: 28, sector: 5 },
      ],
      [],
      [
        "r:read 8192 512 => ok",
        "r:write 1536 512 => ok",
        "r:write 2560 512 => ENOSPC",
        "r:read 1536 512 => EIO",
        "r:read 2560 512 => ok",
      ],
    ));

  it("lets rules stand over an event that has none, or none in this state", async () => {
    await program(
      [{ event: "read_aio", sector: 3 }],
      [{ event: "write_aio", new_state: 2 }],
      ["r:read 8192 512 => ok", "r:write 1536 512 => EIO", "r:read 1536 512 => EIO"],
    );
    await program(
      [
        { event: "read_aio", sector: 3 },
        { event: "write_aio", errno: 28, state: 7 },
      ],
      [],
      ["r:read 8192 512 => ok", "r:write 1536 512 => EIO", "d:read 1536 512 => EIO"],
    );
    await program(
      [
        { event: "none", iotype: "write" },
        { event: "write_aio", errno: 28, iotype: "read" },
      ],
      [],
      ["r:write 0 512 => ok", "r:write 0 512 => ok", "d:read 0 512 => ENOSPC"],
    );
  });

  it("takes a rule away for good that is to hold once", async () => {
    await program(
      [{ event: "read_aio", sector: 3, once: true }],
      [],
      ["r:read 1536 512 => EIO", "r:read 1536 512 => ok", "r:read 1536 512 => ok"],
    );
    await program(
      [
        { event: "none", sector: 3, once: true, iotype: "write" },
        { event: "none", errno: 28, sector: 3, once: true },
      ],
      [],
      ["r:read 1024 1024 => ENOSPC", "r:read 1536 512 => ok", "r:write 1024 1024 => EIO", "r:write 1024 1024 => ok"],
    );
  });

  it("goes from state to state, after the rules of the state have been looked at", async () => {
    await program(
      [{ event: "write_aio", state: 2, iotype: "write" }],
      [
        { event: "write_aio", state: 1, new_state: 2 },
        { event: "write_aio", state: 2, new_state: 3 },
        { event: "write_aio", state: 3, new_state: 1 },
      ],
      ["r:write 0 512 => ok", "r:write 0 512 => EIO", "r:write 0 512 => EIO"],
    );
    await program(
      [
        { event: "write_aio", state: 2, iotype: "write" },
        { event: "write_aio", errno: 28, state: 3, iotype: "write" },
      ],
      [
        { event: "write_aio", state: 1, new_state: 2 },
        { event: "write_aio", state: 1, new_state: 3 },
      ],
      ["r:write 0 512 => ok", "r:write 0 512 => EIO"],
    );
    await program(
      [{ event: "none", state: 2 }],
      [{ event: "read_aio", new_state: 2 }],
      ["r:read 0 512 => ok", "r:write 0 512 => ok"],
    );
    await program([{ event: "read_aio", state: 0 }], [], ["r:read 0 512 => EIO"]);
  });

  it("fails by the first rule, and only where the number is an error", async () => {
    await program([{ event: "none" }, { event: "none", errno: 28 }], [], ["r:write 0 512 => EIO"]);
    await program([{ event: "none", errno: 0 }], [], ["r:read 0 512 => ok"]);
    await program([{ event: "none", errno: -5 }], [], ["r:read 0 512 => ok"]);
    await program([{ event: "none", sector: -1 }], [], ["r:read 0 512 => EIO", "r:flush => EIO"]);
    await program([{ event: "none", sector: -2 }], [], ["r:read 0 512 => ok"]);
    await program([{ event: "none", sector: 0 }], [], ["r:flush => ok", "r:read 0 512 => EIO"]);
    await program([{ event: "none", errno: 110 }], [], ["r:read 0 512 => ETIMEDOUT"]);
    await program([{ event: "none", errno: 9999 }], [], ["r:read 0 512 => EIO"]);
  });

  it("tells kinds of requests apart", async () => {
    const steps = ["r:read 512 512", "r:write 512 512", "r:zero 512 512", "r:discard 512 512", "r:flush", "r:map"];
    const kinds = ["read", "write", "write-zeroes", "discard", "flush", "block-status"] as const;
    for (const [i, iotype] of kinds.entries()) {
      const expected = steps.map((step, k) => `${step} => ${k === i ? "EIO" : "ok"}`);
      await program([{ event: "none", iotype }], [], expected);
    }
  });

  it("comes to the events that QEMU comes to", async () => {
    const happens: Record<string, string[]> = {
      pwritev: ["r:write 0 512", "d:write 0 512"],
      pwritev_zero: ["r:zero 0 512", "d:zero 0 512"],
      pwritev_done: ["r:write 0 512", "r:zero 0 512", "d:write 0 512", "d:zero 0 512"],
      write_aio: ["r:write 0 512"],
      read_aio: ["r:read 0 512"],
      flush_to_os: ["r:flush"],
      flush_to_disk: [], // nothing was written
      pwritev_rmw_head: [],
      cor_write: [],
    };
    const steps = ["flush", "read 0 512", "write 0 512", "zero 0 512", "discard 0 512"];
    for (const [event, causes] of Object.entries(happens)) {
      for (const step of steps.flatMap((each) => [`r:${each}`, `d:${each}`])) {
        build({ injectErrors: [{ event, iotype: "block-status" }] });
        await io(step);
        expect(await io("d:map"), `${event} after ${step}`).toBe(causes.includes(step) ? "EIO" : "ok");
      }
    }
  });

  it("comes to flush_to_disk where something was written, as QEMU does", async () => {
    for (const change of ["write 0 512", "zero 0 512", "discard 0 512"]) {
      build({ injectErrors: [{ event: "flush_to_disk", iotype: "block-status" }] });
      await io(`r:${change}`);
      expect(await io("d:map")).toBe("ok");
      await io("r:flush");
      expect(await io("d:map"), change).toBe("EIO");
    }
  });

  it("lets nothing of a failed request through, and marks what the node above has passed on", async () => {
    build({ injectErrors: [{ event: "none", iotype: "write" }] });
    raw.bitmaps.add({ name: "b", granularityBytes: 512 });
    expect(await io("r:write 512 1024")).toBe("EIO");
    const bytes = new Uint8Array(2048);
    await image.read(0, IoVector.of(bytes));
    expect(bytes).toEqual(new Uint8Array(2048));
    expect(raw.bitmaps.get("b").countBytes).toBe(1024);
    expect(image.highestWriteBytes).toBe(0);
  });

  it("fails within the call, or after it", async () => {
    build({ injectErrors: [{ event: "none", immediately: true, iotype: "read" }, { event: "none" }] });
    expect(() => dbg.read(0, IoVector.of(new Uint8Array(512)))).toThrow("Input/output error");
    const later = dbg.write(0, IoVector.of(new Uint8Array(512)));
    await expect(later).rejects.toThrow("Input/output error");
  });

  it("passes everything else on at once, and the length", async () => {
    expect(raw.write(0, IoVector.of(new Uint8Array(512).fill(3)))).toBeUndefined();
    expect(raw.flush()).toBeUndefined();
    await raw.resize(4096);
    expect([image.lengthBytes, dbg.lengthBytes, raw.lengthBytes]).toEqual([4096, 4096, 4096]);
  });
});

describe("breakpoints", () => {
  async function done(promise: unknown): Promise<boolean> {
    let kept = promise === undefined;
    void Promise.resolve(promise as Promise<void>).then(() => {
      kept = true;
    });
    await settle();
    return kept;
  }

  function read(): void | Promise<void> {
    return raw.read(0, IoVector.of(new Uint8Array(512)));
  }

  it("stop one request each, which others pass", async () => {
    const points = debugPointsOf(raw)!;
    expect(points).toBe(debugPointsOf(dbg));
    expect(points.setBreakpoint("read_aio", "A")).toBeUndefined();
    const first = read();
    expect(await done(read())).toBe(true);
    expect([await done(first), points.isSuspended("A"), points.isSuspended("B")]).toEqual([false, true, false]);
    expect(points.resume("B")).toBe("ENOENT");
    expect(points.resume("A")).toBeUndefined();
    expect(await done(first)).toBe(true);
    expect(points.resume("A")).toBe("ENOENT");
  });

  it("let the request go on first that stopped last under a tag", async () => {
    const points = debugPointsOf(raw)!;
    points.setBreakpoint("read_aio", "A");
    const first = read();
    points.setBreakpoint("read_aio", "A");
    const second = read();
    points.resume("A");
    expect([await done(first), await done(second)]).toEqual([false, true]);
    points.resume("A");
    expect(await done(first)).toBe(true);
  });

  it("stop a request once for each that it meets", async () => {
    const points = debugPointsOf(raw)!;
    points.setBreakpoint("read_aio", "A");
    points.setBreakpoint("read_aio", "B");
    points.setBreakpoint("pwritev", "C");
    points.setBreakpoint("write_aio", "D");
    const reading = read();
    const writing = raw.write(0, IoVector.of(new Uint8Array(512)));
    points.resume("A");
    expect(await done(reading)).toBe(false);
    points.resume("B");
    expect(await done(reading)).toBe(true);
    expect(points.resume("C")).toBe("ENOENT");
    points.resume("D");
    expect(await done(writing)).toBe(false);
    points.resume("C");
    expect(await done(writing)).toBe(true);
  });

  it("are taken back with their tag, and what has stopped goes on", async () => {
    const points = debugPointsOf(raw)!;
    points.setBreakpoint("read_aio", "A");
    const stopped = read();
    expect(points.removeBreakpoint("A")).toBe("ENOENT");
    expect(await done(stopped)).toBe(true);
    points.setBreakpoint("read_aio", "A");
    points.setBreakpoint("write_aio", "A");
    expect(points.removeBreakpoint("A")).toBeUndefined();
    expect(read()).toBeUndefined();
  });

  it("are at events that there are, on nodes that have such", () => {
    expect(debugPointsOf(raw)!.setBreakpoint("nope", "A")).toBe("ENOENT");
    expect(debugPointsOf(image)).toBeUndefined();
  });

  it("hold up no drained section", async () => {
    const points = debugPointsOf(raw)!;
    const backend = new BlockBackend({ name: "d", node: raw });
    for (const node of [raw, dbg, image]) {
      points.setBreakpoint("read_aio", "A");
      const stopped = backend.read(0, IoVector.of(new Uint8Array(512)));
      expect(await done(stopped)).toBe(false);
      const section = await node.drain();
      expect(await done(stopped)).toBe(true);
      points.setBreakpoint("write_aio", "B");
      const meanwhile = raw.write(0, IoVector.of(new Uint8Array(512)));
      expect(await done(meanwhile)).toBe(true);
      section[Symbol.dispose]();
      points.removeBreakpoint("B");
    }
  });
});

describe("blkdebugOpener", () => {
  it("takes QMP's options", async () => {
    const graph = new BlockGraph({ drivers: [blkdebugOpener, nullOpener] });
    const image = { driver: "null-co", "node-name": "n" };
    const base = { driver: "blkdebug", "node-name": "d", image };
    await expect(graph.add({ ...base, config: "rules" })).rejects.toThrow(
      "Block format 'blkdebug' does not support the option 'config'",
    );
    await expect(graph.add({ driver: "blkdebug", "node-name": "d" })).rejects.toThrow(
      'A block device must be specified for "image"',
    );
    await graph.add({ ...base, "inject-error": [{ event: "none", errno: 28 }] });
    await expect(Promise.resolve(graph.node("d")!.flush())).rejects.toThrow("No space left on device");
    expect([...graph.nodes].map(({ node }) => node.name)).toEqual(["n", "d"]);
    await expect(
      graph.reopen([{ driver: "blkdebug", "node-name": "d", image: "n", "inject-error": [{ event: "none" }] }]),
    ).rejects.toThrow("Option 'inject-error.0.errno' cannot be reset to its default value");
    await expect(graph.delete("d")).rejects.toThrow("No space left on device");
    expect([...graph.nodes]).toEqual([]);
    await graph.close();
  });

  it("takes permissions and keeps others from them", async () => {
    const graph = new BlockGraph({ drivers: [blkdebugOpener, nullOpener] });
    await graph.add({ driver: "null-co", "node-name": "b" });
    const all = ["write", "resize", "write-unchanged", "consistent-read"];
    await graph.add({
      driver: "blkdebug",
      "node-name": "dbg",
      image: "b",
      "take-child-perms": all,
      "unshare-child-perms": ["write", "resize"],
    });
    await expect(
      graph.add({ driver: "blkdebug", "node-name": "dbg2", image: "b", "take-child-perms": ["write", "resize"] }),
    ).rejects.toThrow(
      "Permission conflict on node 'b': permissions 'write, resize' are both required by node 'dbg2' (uses node 'b' as 'image' child) and unshared by node 'dbg' (uses node 'b' as 'image' child).",
    );
    expect(graph.node("b")?.parentCount).toBe(1);
    await graph.close();
  });
});
