// Bitmaps on their way from one machine to another: docs/reference/persistence-migration.md §5, migration-stream.md §3 to §5.
import { describe, expect, it } from "vitest";
import { QmpError } from "../../src/base/errors.ts";
import { EMPTY, NODES, pair } from "./machine-pair.ts";
import { settle, TestMachine } from "./test-machine.ts";

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
