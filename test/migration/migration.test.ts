// Bitmaps on their way from one machine to another: docs/reference/persistence-migration.md §5, migration-stream.md §3 to §5.
import { describe, expect, it } from "vitest";
import { QmpError } from "../../src/base/errors.ts";
import { capturedStream } from "./captured-stream.ts";
import { settle, TestMachine } from "./test-machine.ts";

const NODES = { n0: 131072, n1: 1_000_000 };

async function withBitmaps(): Promise<TestMachine> {
  const machine = await TestMachine.create(NODES);
  const [n0, n1] = [machine.graph.getNode("n0").bitmaps, machine.graph.getNode("n1").bitmaps];
  n0.add({ name: "a", granularityBytes: 512 });
  n0.add({ name: "off", granularityBytes: 65536 });
  n1.add({ name: "a", granularityBytes: 4096 }).persistent = true;
  n0.setDirty(0, 512);
  n0.setDirty(70_000, 5000);
  n1.setDirty(999_999, 1);
  n0.disable("off");
  return machine.capabilities("dirty-bitmaps");
}

async function pair(): Promise<{ source: TestMachine; destination: TestMachine }> {
  const source = await withBitmaps();
  const destination = await TestMachine.create(NODES, true);
  source.destination = destination;
  source.migration.settings.setParameters({ "downtime-limit": 1000 });
  return { source, destination };
}

const EMPTY = { n0: [], n1: [] };
const reversed = (seen: object): object =>
  Object.fromEntries(Object.entries(seen).map(([node, bitmaps]) => [node, [...bitmaps].reverse()]));

async function refusal(start: () => unknown): Promise<string> {
  try {
    await start();
  } catch (error) {
    expect(error).toBeInstanceOf(QmpError);
    return (error as QmpError).message;
  }
  return "none";
}

describe("a migration", () => {
  it("moves bitmaps with their bits and flags, and stops one machine before the other runs", async () => {
    const { source, destination } = await pair();
    const before = await source.seen();
    source.migration.start("unix:in");
    await source.until("completed");
    await destination.until("completed");
    expect(await source.seen()).toEqual(before);
    expect(reversed(await destination.seen())).toEqual(before);
    expect(source.events).toEqual(["setup", "active", "STOP", "completed"]);
    expect(destination.events).toEqual(["setup", "active", "RESUME", "completed"]);
    expect([source.runState.state, destination.runState.state]).toEqual(["postmigrate", "running"]);
    expect(source.bitmap("n0", "a").skipStore).toBe(true);
    destination.graph.getNode("n0").bitmaps.setDirty(4096, 512);
    expect(destination.bitmap("n0", "a").bits.get(4096)).toBe(true);
    expect(destination.bitmap("n0", "off").enabled).toBe(false);
    expect(await refusal(() => source.migration.start("unix:in"))).toBe(
      "Can't migrate the vm that was paused due to previous migration",
    );
  });

  it("keeps bitmaps busy on both sides until it ends", async () => {
    const { source, destination } = await pair();
    source.capabilities("pause-before-switchover");
    source.migration.start("unix:in");
    await source.until("pre-switchover");
    const text = "Bitmap 'a' is currently in use by another operation and cannot be used";
    for (const { graph } of [source, destination]) {
      expect(await refusal(() => graph.getNode("n0").bitmaps.clear("a"))).toBe(text);
    }
    expect(await refusal(() => source.migration.checkContinue())).toBe("Migration is not finalized yet");
    expect(await refusal(() => source.migration.start("unix:in"))).toBe("There's a migration process in progress");
    expect(await refusal(() => source.migration.continue("device"))).toBe(
      "Migration not in expected state: pre-switchover",
    );
    source.migration.continue("pre-switchover");
    await source.until("completed");
    expect(source.events).toEqual(["setup", "active", "STOP", "pre-switchover", "device", "completed"]);
  });

  it("is cancelled while the machine runs, and while it stands still", async () => {
    const { source, destination } = await pair();
    const before = await source.seen();
    source.migration.settings.setParameters({ "downtime-limit": 0 });
    source.migration.start("unix:in");
    await source.until("active");
    source.migration.cancel();
    await source.until("cancelled");
    expect(source.events).toEqual(["setup", "active", "cancelling", "cancelled"]);
    await destination.until("failed");
    expect(await destination.seen()).toEqual(EMPTY);

    source.destination = await TestMachine.create(NODES, true);
    source.events.length = 0;
    source.capabilities("pause-before-switchover");
    source.migration.settings.setParameters({ "downtime-limit": 1000 });
    source.migration.start("unix:in");
    await source.until("pre-switchover");
    source.migration.cancel();
    await source.until("cancelled");
    expect(source.events).toEqual(["setup", "active", "STOP", "pre-switchover", "cancelling", "RESUME", "cancelled"]);
    expect(await source.seen()).toEqual(before);
  });

  it("does not end by itself while the disks are longer than what fits the downtime", async () => {
    const { source } = await pair();
    source.migration.settings.setParameters({ "max-bandwidth": 1_000_000, "downtime-limit": 1000 });
    source.migration.start("unix:in");
    await source.until("active");
    for (let turn = 0; turn < 20; turn++) await settle();
    expect(source.migration.info.status).toBe("active");
    source.migration.settings.setParameters({ "max-bandwidth": 9 });
    await source.until("completed");
  });

  it("fails where one bitmap cannot migrate, and leaves all as they are", async () => {
    const { source } = await pair();
    source.bitmap("n0", "off").setBusy(true);
    source.migration.start("unix:in");
    await source.until("failed");
    expect(source.lines).toEqual(["Bitmap 'off' is currently in use by another operation and cannot be used"]);
    expect(source.migration.info).toMatchObject({ status: "failed" });
    expect(source.migration.info.description).toBeUndefined();
    expect(source.events).toEqual(["setup", "active", "failed"]);
    expect(source.bitmap("n1", "a").busy).toBe(false);
    source.bitmap("n0", "off").setBusy(false);
    source.bitmap("n0", "off").setReadonly(true);
    source.migration.start("unix:in");
    await settle();
    expect(source.lines.at(-1)).toBe("Bitmap 'off' is readonly and cannot be modified");
  });

  it("fails where images cannot be given away, and runs again", async () => {
    const { source } = await pair();
    const before = await source.seen();
    source.refuseInactivation = true;
    source.migration.start("unix:in");
    await source.until("RESUME");
    expect(source.events).toEqual(["setup", "active", "STOP", "failed", "RESUME"]);
    expect(await source.seen()).toEqual(before);
    expect(source.lines[0]).toBe("qemu_savevm_state_complete_precopy_non_iterable: bdrv_inactivate_all() failed (-1)");
  });

  it("tells why it could not connect", async () => {
    const { source } = await pair();
    source.destination = undefined;
    source.migration.start("unix:in");
    await source.until("failed");
    expect(source.events).toEqual(["setup", "failed"]);
    expect(source.migration.info.description).toBe("Failed to connect to 'in': Connection refused");
  });

  it("sends none without the capability", async () => {
    const { source, destination } = await pair();
    source.migration.setCapabilities([{ capability: "dirty-bitmaps", state: false }]);
    source.migration.start("unix:in");
    await destination.until("completed");
    expect(await destination.seen()).toEqual(EMPTY);
  });

  it("goes by other names, of nodes, bitmaps and persistence", async () => {
    const { source, destination } = await pair();
    const map = (node: string, name: string): object => ({
      "block-bitmap-mapping": [
        { "node-name": node, alias: "x", bitmaps: [{ name, alias: "y", transform: { persistent: name === "a" } }] },
      ],
    });
    source.migration.settings.setParameters({ ...map("n0", "a") });
    destination.migration.settings.setParameters({ ...map("n1", "b") });
    source.migration.settings.setParameters({ "downtime-limit": 100_000 });
    destination.graph.getNode("n1").bitmaps.truncate(131072);
    source.migration.start("unix:in");
    await destination.until("completed", "failed");
    expect(destination.lines).toEqual([]);
    expect(destination.bitmap("n1", "b")).toMatchObject({ persistent: false, granularityBytes: 512 });
    expect(destination.bitmap("n1", "b").countBytes).toBe(source.bitmap("n0", "a").countBytes);
    expect((await destination.seen())["n0"]).toEqual([]);
  });

  it("goes on without bitmaps where their node is unknown", async () => {
    const { source, destination } = await pair();
    destination.migration.settings.setParameters({ "block-bitmap-mapping": [] });
    source.migration.start("unix:in");
    await destination.until("completed");
    expect(destination.lines).toEqual(["Error: Unknown node alias 'n0'"]);
    expect(await destination.seen()).toEqual(EMPTY);
    expect(destination.runState.state).toBe("running");
  });

  it("waits for the destination's word on a return path", async () => {
    const { source, destination } = await pair();
    source.capabilities("return-path");
    source.migration.start("unix:in");
    await source.until("completed");
    expect(destination.events.at(-1)).toBe("completed");

    const other = await pair();
    other.source.capabilities("return-path");
    other.destination.graph.getNode("n0").bitmaps.add({ name: "a" });
    other.source.migration.start("unix:in");
    await other.source.until("failed");
    await settle();
    expect(other.source.runState.state).toBe("running");
    expect(other.destination.lines).toEqual([
      "Bitmap with the same name ('a') already exists on destination",
      "error while loading state for instance 0x0 of device 'dirty-bitmap'",
      "load of migration failed: Invalid argument",
    ]);
    expect(other.destination.lost).toBe(true);
  });
});

describe("a postcopy", () => {
  it("lets the destination run first, and records there what is written meanwhile", async () => {
    const { source, destination } = await pair();
    source.migration.settings.setParameters({ "downtime-limit": 0, "max-postcopy-bandwidth": 100 });
    const before = await source.seen();
    const writtenMeanwhile = new Promise<string>((resolve) => {
      destination.runState.onChange(() => {
        destination.graph.getNode("n0").bitmaps.setDirty(130_560, 512);
        resolve(refusal(() => destination.graph.getNode("n0").bitmaps.clear("a")));
      });
    });
    source.migration.start("unix:in");
    await source.until("active");
    source.migration.startPostcopy();
    expect(await writtenMeanwhile).toBe("Bitmap 'a' is currently in use by another operation and cannot be used");
    await source.until("completed");
    await destination.until("completed");
    expect(source.events).toEqual(["setup", "active", "postcopy-active", "STOP", "completed"]);
    expect(destination.events).toEqual(["setup", "active", "postcopy-active", "RESUME", "completed"]);
    expect(await source.seen()).toEqual(before);
    expect(destination.bitmap("n0", "a").countBytes).toBe(source.bitmap("n0", "a").countBytes + 512);
    expect(destination.bitmap("n0", "a")).toMatchObject({ enabled: true, busy: false });
    expect(destination.bitmap("n0", "off")).toMatchObject({ enabled: false, busy: false });
  });

  it("refuses to begin without a migration, or without the capability", async () => {
    const { source } = await pair();
    expect(await refusal(() => source.migration.startPostcopy())).toBe(
      "Postcopy must be started after migration has been started",
    );
    source.migration.setCapabilities([{ capability: "dirty-bitmaps", state: false }]);
    expect(await refusal(() => source.migration.startPostcopy())).toBe(
      "Enable postcopy with migrate_set_capability before the start of migration",
    );
  });
});

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

describe("block-bitmap-mapping", () => {
  const prefix = "Invalid mapping given for block-bitmap-mapping: ";
  const node = (name: string, alias: string, ...bitmaps: readonly (readonly [string, string])[]): object => ({
    "node-name": name,
    alias,
    bitmaps: bitmaps.map(([one, other]) => ({ name: one, alias: other })),
  });
  const cases: readonly (readonly [string, readonly object[]])[] = [
    ["The node alias '1' is not well-formed", [node("a", "1")]],
    ["The node alias '' is not well-formed", [node("a", "")]],
    [`The node alias '${"a".repeat(256)}' is longer than 255 bytes`, [node("a", "a".repeat(256))]],
    [`The node name '${"a".repeat(32)}' is longer than 31 bytes`, [node("a".repeat(32), "a")]],
    ["The node name 'a' is mapped twice", [node("a", "x"), node("a", "x")]],
    ["The node alias 'x' is used twice", [node("a", "x"), node("b", "x")]],
    [`The bitmap alias '${"é".repeat(128)}' is longer than 255 bytes`, [node("a", "x", ["b", "é".repeat(128)])]],
    [`The bitmap name '${"b".repeat(1024)}' is longer than 1023 bytes`, [node("a", "x", ["b".repeat(1024), "y"])]],
    ["The bitmap 'a'/'b' is mapped twice", [node("a", "x", ["b", "y"], ["b", "z"])]],
    ["The bitmap alias 'x'/'y' is used twice", [node("a", "x", ["b", "y"], ["c", "y"])]],
  ];
  for (const [message, mapping] of cases) {
    it(`is refused: ${message.slice(0, 60)}`, async () => {
      const machine = await TestMachine.create({});
      const set = (): void => machine.migration.settings.setParameters({ "block-bitmap-mapping": mapping });
      expect(await refusal(set)).toBe(prefix + message);
      expect(machine.migration.settings.mapping).toBeUndefined();
    });
  }
});
