// Transactions: all or nothing, in order (docs/reference/bitmaps.md §4, corrections.md A8 and B4).
import { beforeEach, describe, expect, it } from "vitest";
import { QmpError } from "../../src/base/errors.ts";
import type { DirtyBitmap } from "../../src/bitmap/dirty-bitmap.ts";
import { BackupAction } from "../../src/job/backup-action.ts";
import type { BackupOptions } from "../../src/job/backup-options.ts";
import {
  addBitmapAction,
  clearBitmapAction,
  disableBitmapAction,
  enableBitmapAction,
  mergeBitmapsAction,
  removeBitmapAction,
} from "../../src/job/bitmap-actions.ts";
import { abortAction, type CompletionMode, runTransaction, type TransactionAction } from "../../src/job/transaction.ts";
import { CLUSTER, same } from "../support/copy-pair.ts";
import { Simulation } from "../support/simulation.ts";
import { BackupBench, NO_TRACES } from "./backup-bench.ts";
import { eventText } from "./scripted-job.ts";

const ABORTED = new QmpError("Transaction aborted using Abort action");

let simulation: Simulation;
let bench: BackupBench;
let log: string[];
beforeEach(async () => {
  simulation = new Simulation(1);
  bench = new BackupBench(simulation, { lengthBytes: 8 * CLUSTER });
  log = [];
  bench.jobs.listen((job, event) => log.push(`${job.id} ${eventText(event)}`));
  await bench.write(CLUSTER, 512, 1);
});

function run(actions: readonly TransactionAction[], completionMode: CompletionMode = "individual"): Promise<void> {
  const nodes = [bench.source, bench.target];
  return simulation.run(runTransaction({ actions, nodes, completionMode }));
}

/** Everything about the source's bitmaps. */
async function state(): Promise<unknown> {
  const one = async (b: DirtyBitmap): Promise<unknown> => [
    [b.name, b.enabled, b.busy, b.persistent, b.skipStore, b.granularityBytes, b.countBytes],
    await b.bits.sha256(),
    b.successor === undefined,
  ];
  return [await Promise.all([...bench.source.bitmaps].map(one)), bench.traces];
}

const get = (name: string) => (): DirtyBitmap => bench.source.bitmaps.get(name);
const add = (name: string, disabled = false) =>
  addBitmapAction(() => ({ list: bench.source.bitmaps, bitmap: bench.source.bitmaps.add({ name, disabled }) }));
const remove = (name: string, forget?: (found: { bitmap: DirtyBitmap }) => Promise<void>) =>
  removeBitmapAction(() => ({ list: bench.source.bitmaps, bitmap: get(name)() }), forget);
const merge = (target: string, ...sources: string[]) =>
  mergeBitmapsAction(get(target), function* () {
    for (const name of sources) yield get(name)();
  });
const backup = (options: Partial<BackupOptions> = {}) =>
  new BackupAction(
    "blockdev-backup",
    bench.jobs,
    () => ({ id: "j0", source: bench.source, target: bench.target, ...options }),
    simulation,
  );
const other = (): Partial<BackupOptions> => ({
  id: "j1",
  target: new BackupBench(simulation, { lengthBytes: 8 * CLUSTER }).target,
});

const NEVER_STARTED = ["created", "aborting", "concluded", "null"];

describe("runTransaction", () => {
  it("prepares, commits and cleans up in order, in a drained section that ends before the last", async () => {
    const action = (name: string): TransactionAction => ({
      type: name,
      prepare: () => {
        log.push(`${name} prepare`);
      },
      commit: () => log.push(`${name} commit`),
      abort: () => {
        log.push(`${name} abort`);
      },
      clean: () => log.push(`${name} clean`),
    });
    let held: Promise<unknown> = Promise.resolve();
    const writer: TransactionAction = {
      type: "writer",
      prepare() {
        held = Promise.resolve(bench.write(7 * CLUSTER, 512, 3)).then(() => log.push("written"));
      },
    };
    await run([action("a"), writer, action("b")]);
    await simulation.run(held);
    expect(log).toEqual(["a prepare", "b prepare", "a commit", "b commit", "a clean", "b clean", "written"]);
    log.length = 0;
    await expect(run([action("a"), action("b"), abortAction(), action("c")])).rejects.toEqual(ABORTED);
    expect(log).toEqual(["a prepare", "b prepare", "b abort", "a abort", "a clean", "b clean"]);
  });

  it("without actions drains, and that is all", async () => {
    const job = await bench.start({ sync: "none" });
    bench.events.length = 0;
    await run([]);
    expect(bench.events).toEqual(["paused", "running"]);
    job.job.cancel();
  });

  it("waits for what is in flight, and holds what comes, until all is decided", async () => {
    bench = new BackupBench(simulation, { lengthBytes: 8 * CLUSTER, source: { delayed: 1, maxDelayMs: 5 } });
    const early = Promise.resolve(bench.write(0, 512, 7));
    await run([
      {
        type: "look",
        prepare: () => {
          expect(bench.sourceDriver.inFlight).toEqual([]);
          expect(bench.sourceDriver.bytes[0]).toBe(7);
        },
      },
    ]);
    await simulation.run(early);
  });
});

describe("Actions on bitmaps", () => {
  it("see the effects of those before them", async () => {
    await run([add("new"), merge("new", "b"), clearBitmapAction(get("b")), disableBitmapAction(get("new"))]);
    expect(bench.source.bitmaps.get("new")).toMatchObject({ enabled: false, countBytes: CLUSTER });
    expect(bench.dirtyBytes).toBe(0);
    await run([remove("b"), enableBitmapAction(get("new"))]);
    expect([...bench.source.bitmaps].map((bitmap) => [bitmap.name, bitmap.enabled])).toEqual([["new", true]]);
  });

  const undone: readonly [string, () => readonly TransactionAction[]][] = [
    ["add", () => [add("new"), add("newer", true)]],
    ["remove", () => [remove("b")]],
    ["clear", () => [clearBitmapAction(get("b"))]],
    ["disable", () => [disableBitmapAction(get("b"))]],
    ["disable and enable", () => [disableBitmapAction(get("b")), enableBitmapAction(get("b"))]],
    ["enable", () => [enableBitmapAction(get("b")), enableBitmapAction(get("off"))]],
    ["merge", () => [merge("off", "b"), merge("b", "off")]],
    ["clear, merge and clear", () => [clearBitmapAction(get("b")), merge("b", "off"), clearBitmapAction(get("off"))]],
    ["add, merge into it, and clear", () => [add("new"), merge("new", "b"), clearBitmapAction(get("b"))]],
    ["a backup with its bitmap", () => [backup({ sync: "bitmap", bitmap: "b", bitmapMode: "always" })]],
    [
      "add, merge, clear and backup",
      () => [
        add("new"),
        merge("new", "b"),
        clearBitmapAction(get("b")),
        backup({ sync: "incremental", bitmap: "new" }),
      ],
    ],
  ];
  it.each(undone)("leave everything as it was when a later one fails: %s", async (_what, actions) => {
    bench.source.bitmaps.add({ name: "off", disabled: true }).set(4 * CLUSTER, CLUSTER);
    const before = await state();
    await expect(run([...actions(), abortAction()])).rejects.toEqual(ABORTED);
    expect(await state()).toEqual(before);
    expect([...bench.jobs]).toEqual([]);
    await bench.write(6 * CLUSTER, 512, 1);
    expect([bench.dirtyBytes, get("off")().countBytes]).toEqual([2 * CLUSTER, CLUSTER]);
  });

  const busy = "Bitmap 'b' is currently in use by another operation and cannot be used";
  const refused: readonly [string, () => readonly TransactionAction[], string, (readonly string[])?][] = [
    ["remove twice", () => [remove("b"), remove("b")], busy],
    ["remove and clear", () => [remove("b"), clearBitmapAction(get("b"))], busy],
    ["remove and add", () => [remove("b"), add("b")], "Bitmap already exists: b"],
    ["remove and merge from it", () => [add("new"), remove("b"), merge("new", "b")], busy],
    [
      "backup and clear of its bitmap",
      () => [backup({ sync: "incremental", bitmap: "b" }), clearBitmapAction(get("b"))],
      busy,
      NEVER_STARTED,
    ],
    [
      "disable of what is not there",
      () => [clearBitmapAction(get("b")), disableBitmapAction(get("none"))],
      "Dirty bitmap 'none' not found",
    ],
    ["merge with a source that is not there", () => [merge("b", "b", "none")], "Dirty bitmap 'none' not found"],
    [
      "backup without a bitmap",
      () => [clearBitmapAction(get("b")), backup({ sync: "bitmap" })],
      "must provide a valid bitmap name for 'bitmap' sync mode",
    ],
    ["enable of a busy one", () => [remove("b"), enableBitmapAction(get("b"))], busy],
  ];
  it.each(refused)("refuse %s, and leave everything as it was", async (_what, actions, message, events = []) => {
    const before = await state();
    await expect(run(actions())).rejects.toEqual(new QmpError(message));
    expect(await state()).toEqual(before);
    expect(log).toEqual(events.map((event) => `j0 ${event}`));
  });

  it("take a stored bitmap out of its image at once", async () => {
    const forgotten: string[] = [];
    const forget = async ({ bitmap }: { bitmap: DirtyBitmap }): Promise<void> => {
      forgotten.push(bitmap.name!);
    };
    get("b")().persistent = true;
    bench.source.bitmaps.add({ name: "transient" });
    await expect(run([remove("b", forget), remove("transient", forget), abortAction()])).rejects.toEqual(ABORTED);
    expect(forgotten).toEqual(["b"]);
    expect(get("b")()).toMatchObject({ persistent: true, skipStore: false, busy: false });
    const full = new QmpError("disk full");
    const failing = remove("b", () => Promise.reject(full));
    await expect(run([failing])).rejects.toBe(full);
    expect(get("b")()).toMatchObject({ persistent: true, skipStore: false, busy: false });
  });
});

describe("Backups as actions", () => {
  it("begin in list order, at one moment", async () => {
    const jobs = [backup(), backup(other())];
    await run([...jobs, clearBitmapAction(get("b"))]);
    expect(log).toEqual([
      "j0 created",
      "j1 created",
      "j0 running",
      "j0 paused",
      "j1 running",
      "j1 paused",
      "j0 running",
      "j1 running",
    ]);
    const t0 = bench.sourceDriver.bytes.slice();
    expect(bench.dirtyBytes).toBe(0);
    await bench.write(0, 512, 9);
    await simulation.run(Promise.all(jobs.map(({ backup: made }) => made!.job.untilConcluded())));
    expect(same(bench.targetDriver.bytes, t0)).toBe(true);
    expect(bench.traces).toEqual(NO_TRACES);
  });

  it.each(["individual", "grouped"] as const)("that never begin are gone, the last first (%s)", async (mode) => {
    await expect(run([backup(), backup(other()), abortAction()], mode)).rejects.toEqual(ABORTED);
    expect(log).toEqual([
      "j0 created",
      "j1 created",
      ...["j1", "j0"].flatMap((id) => [`${id} aborting`, `${id} concluded`, `${id} null`]),
    ]);
    expect(bench.traces).toEqual(NO_TRACES);
    expect(await simulation.run(Promise.resolve(bench.write(0, 512, 1)))).toBeUndefined();
  });

  it.each(["individual", "grouped"] as const)("share an error when they are grouped (%s)", async (mode) => {
    const grouped = mode === "grouped";
    const jobs = [backup({ sync: "bitmap", bitmap: "b", bitmapMode: "on-success" }), backup(other())];
    jobs[1] = backup({
      ...other(),
      target: new BackupBench(simulation, { lengthBytes: 8 * CLUSTER, target: { delayed: 1, fault: () => "EIO" } })
        .target,
    });
    await run(jobs, mode);
    const outcomes = await simulation.run(Promise.all(jobs.map(({ backup: made }) => made!.job.untilConcluded())));
    expect(outcomes.map(({ kind }) => kind)).toEqual([grouped ? "cancelled" : "completed", "failed"]);
    expect(bench.dirtyBytes).toBe(grouped ? CLUSTER : 0);
    expect(bench.traces).toEqual(NO_TRACES);
  });

  it("all wait for one finalize when they are grouped", async () => {
    await run([backup({ autoFinalize: false }), backup(other())], "grouped");
    await simulation.run(simulation.after(100));
    expect([...bench.jobs].map((job) => job.status)).toEqual(["pending", "pending"]);
    bench.jobs.get("j1")!.finalize();
    expect([...bench.jobs]).toEqual([]);
    expect(log.filter((entry) => entry.endsWith("COMPLETED"))).toEqual(["j1 COMPLETED", "j0 COMPLETED"]);
  });

  it("refuse others beside them in a group, when it is their turn, but for abort", async () => {
    const message = "Action 'block-dirty-bitmap-clear' does not support Transaction property completion-mode = grouped";
    const before = await state();
    await expect(run([backup(), clearBitmapAction(get("b"))], "grouped")).rejects.toEqual(new QmpError(message));
    expect(log).toEqual(NEVER_STARTED.map((event) => `j0 ${event}`));
    expect(await state()).toEqual(before);
    await expect(run([abortAction()], "grouped")).rejects.toEqual(ABORTED);
  });

  it("that cannot be made leave nothing", async () => {
    const before = await state();
    const gone = new QmpError("Cannot find device='x' nor node-name='x'");
    const lost = new BackupAction("blockdev-backup", bench.jobs, () => Promise.reject(gone), simulation);
    await expect(run([backup(), lost])).rejects.toBe(gone);
    await expect(run([backup(), backup({ ...other(), id: "j0" })])).rejects.toEqual(
      new QmpError("Job ID 'j0' already in use"),
    );
    expect(await state()).toEqual(before);
    expect([...bench.jobs]).toEqual([]);
  });
});
