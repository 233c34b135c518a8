// Streams that break off, are bent, or are made to do harm: docs/reference/persistence-migration.md §5.3, migration-stream.md §3.
import { describe, expect, it } from "vitest";
import { capturedStream } from "./captured-stream.ts";
import { EMPTY, NODES, pair } from "./machine-pair.ts";
import { TestMachine } from "./test-machine.ts";

/** Bytes of the stream that `run` makes when nothing fails. */
async function streamLength(run: (source: TestMachine) => Promise<void>): Promise<number> {
  const { source, destination } = await pair();
  await run(source);
  await destination.until("completed");
  return source.pipe!.sent.reduce((sum, { length }) => sum + length, 0);
}

async function runPrecopy(source: TestMachine): Promise<void> {
  source.migration.start("unix:in");
  await source.until("completed", "failed");
}

async function runPostcopy(source: TestMachine): Promise<void> {
  source.migration.settings.setParameters({ "downtime-limit": 0 });
  source.migration.start("unix:in");
  source.migration.startPostcopy();
  await source.until("completed", "failed", "postcopy-paused");
}

/** The destination has all or nothing, and nothing half-made. */
async function expectWhole(destination: TestMachine, context: string): Promise<void> {
  for (const bitmaps of Object.values(await destination.seen())) {
    for (const bitmap of bitmaps) {
      expect(bitmap.name, context).toBeDefined();
      expect(bitmap.busy, context).toBe(false);
    }
  }
}

describe("a migration over a connection that breaks", () => {
  it("fails at each byte: the source runs with its bitmaps, the destination has none", {
    timeout: 120_000,
  }, async () => {
    const length = await streamLength(runPrecopy);
    for (let cutAtBytes = 0; cutAtBytes < length; cutAtBytes++) {
      const { source, destination } = await pair();
      const before = await source.seen();
      source.faults = { cutAtBytes };
      await runPrecopy(source);
      await destination.until("completed", "failed");
      const context = `cut at ${cutAtBytes}`;
      expect(source.migration.info.status, context).toBe("failed");
      expect(source.migration.info.description, context).toBe("Unable to write to socket: Broken pipe");
      expect(source.runState.state, context).toBe("running");
      expect(await source.seen(), context).toEqual(before);
      // The description of the machine is worth nothing: without it the migration has arrived.
      if (destination.events.includes("completed")) expect(cutAtBytes, context).toBeGreaterThan(length - 492);
      else expect(await destination.seen(), context).toEqual(EMPTY);
    }
  });

  it("keeps what is whole in a postcopy, and drops the rest", { timeout: 120_000 }, async () => {
    const length = await streamLength(runPostcopy);
    for (let cutAtBytes = 0; cutAtBytes < length; cutAtBytes += 3) {
      const { source, destination } = await pair();
      destination.capabilities("dirty-bitmaps");
      const before = await source.seen();
      source.faults = { cutAtBytes };
      await runPostcopy(source);
      await destination.until("completed", "failed");
      const context = `cut at ${cutAtBytes}`;
      await expectWhole(destination, context);
      expect(await source.seen(), context).toEqual(before);
      expect(destination.events.at(-1), context).toBe(destination.events.includes("RESUME") ? "completed" : "failed");
      if (source.migration.info.status === "postcopy-paused") {
        source.migration.cancel();
        source.migration.checkContinue();
        expect(source.runState.state, context).toBe("postmigrate");
      } else {
        expect(source.runState.state, context).toBe("running");
      }
    }
  });
});

describe("a destination", () => {
  it("fails or takes a stream with any byte changed, without half-made bitmaps", { timeout: 120_000 }, async () => {
    const stream = capturedStream();
    for (let at = 0; at < 0x196; at++) {
      for (const mask of [0x01, 0x80, 0xff]) {
        const machine = await TestMachine.create(NODES, true);
        const bent = stream.slice();
        bent[at]! ^= mask;
        await machine.feed(bent);
        const context = `${at} ^ ${mask}`;
        if (machine.events.includes("failed")) {
          expect(await machine.seen(), context).toEqual(EMPTY);
          expect(machine.lines.at(-1), context).toMatch(/^load of migration failed: /);
          expect(machine.lost, context).toBe(true);
          expect(machine.runState.state, context).toBe("inmigrate");
        } else {
          expect(machine.runState.state, context).not.toBe("inmigrate");
          await expectWhole(machine, context);
        }
      }
    }
  });

  it("refuses bits beyond the end of a shorter disk, and granularities that are none", async () => {
    const shorter = await TestMachine.create({ n0: 65536 }, true);
    await shorter.feed(capturedStream());
    expect(shorter.lines).toEqual([
      "Bits 0+131072 do not fit the destination bitmap 'b1' of 65536 bytes with granularity 512",
      "error while loading state section id 3(dirty-bitmap)",
      "load of migration failed: Invalid argument",
    ]);
    expect(await shorter.seen()).toEqual({ n0: [] });
    const odd = capturedStream();
    odd[0x5f] = 3; // granularity 0x300
    const machine = await TestMachine.create(NODES, true);
    await machine.feed(odd);
    expect(machine.lines[0]).toBe("Granularity must be power of 2 and at least 512");
  });

  it("drops a bitmap that a stream begins and does not complete", async () => {
    const machine = await TestMachine.create(NODES, true);
    await machine.feed(Uint8Array.from([...capturedStream().slice(0, 0x71), 0]));
    expect(machine.lines).toEqual([
      "Expected vmdescription section, but got 0",
      "Bitmap 'b1' has not arrived completely",
      "Bitmap 'b0' has not arrived completely",
    ]);
    expect(machine.events.at(-1)).toBe("completed");
    expect(await machine.seen()).toEqual(EMPTY);
  });

  it("never touches bitmaps of its own that the stream did not begin", async () => {
    const machine = await TestMachine.create(NODES, true);
    const own = machine.graph.getNode("n0").bitmaps.add({ name: "own", granularityBytes: 512 });
    own.set(0, 131072);
    const head = capturedStream().slice(0, 0x56);
    const name = [3, ...Buffer.from("own")];
    const payload = [0x4e, 2, ...Buffer.from("n0"), ...name, ...new Array(10).fill(0), 1, 0, 0x21, 0x7e, 0, 0, 0, 3, 0];
    await machine.feed(Uint8Array.from([...head, ...payload]));
    expect(machine.lines[0]).toBe("Error: unknown dirty bitmap 'own' for block device 'n0'");
    expect(own.countBytes).toBe(131072);
  });

  it("leaves with the machine, and drops what is half-made", async () => {
    const { source, destination } = await pair();
    source.capabilities("pause-before-switchover");
    source.migration.start("unix:in");
    await source.until("pre-switchover");
    expect((await destination.seen())["n0"]).not.toEqual([]);
    await destination.migration.close();
    expect(await destination.seen()).toEqual(EMPTY);
    await source.migration.close();
    expect(source.migration.info.status).toBe("cancelled");
  });
});
