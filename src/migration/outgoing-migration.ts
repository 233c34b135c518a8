// The source of one migration: docs/reference/migration-stream.md §1.2, §4, §5, §6.

import { BlockError, type Errno, QmpError } from "../base/errors.ts";
import { InterruptibleSleep } from "../base/interruptible-sleep.ts";
import { RateLimit } from "../base/rate-limit.ts";
import type { RunStateName } from "../base/run-state.ts";
import { InactivationError } from "../block/activation.ts";
import { releaseBitmaps, type SelectedBitmap, selectBitmaps } from "./bitmap-selection.ts";
import { BitmapSender } from "./bitmap-sender.ts";
import type { MigrationAddress } from "./migration-address.ts";
import type { MigrationHost, MigrationStatus } from "./migration-host.ts";
import type { MigrationSettings } from "./migration-settings.ts";
import { MigrationFailure, OutgoingChannel } from "./outgoing-channel.ts";
import { type MachineState, StreamWriter } from "./stream-writer.ts";

/** How often is looked whether what is left can be sent at once; and when for the first time. */
const LOOK_EVERY_MS = 100;
const POSTCOPY_SECTION_BYTES = 16384;

const EIO = 5;
/** As Linux counts what may be wrong with an image; anything else is as an `EIO`. */
const INACTIVATION_CODES: ReadonlyMap<Errno, number> = new Map([
  ["EPERM", 1],
  ["EBUSY", 16],
  ["EINVAL", 22],
  ["EFBIG", 27],
  ["ENOSPC", 28],
]);

/** Thrown where `cancel` has been called. */
const CANCELLED = Symbol("cancelled");

/**
 *   setup ──▶ active ──▶ [pre-switchover ──▶] device ──▶ completed           (device is told only after pre-switchover)
 *     │         ├──▶ postcopy-active ──▶ completed, or postcopy-paused when the channel breaks
 *     └─────────┴──▶ failed, or cancelling ──▶ cancelled: the machine runs as before
 *
 * Bitmaps are busy from setup to the end, whichever it is, and are kept. Images are given away when the machine stands still and all
 * but its end has been sent, and taken back where the destination cannot have them.
 */
export class OutgoingMigration {
  readonly #host: MigrationHost;
  readonly #settings: MigrationSettings;
  readonly #writer: StreamWriter = new StreamWriter();
  readonly #sleep: InterruptibleSleep;
  readonly #startedMs: number;
  #status: MigrationStatus = "setup";
  #channel: OutgoingChannel | undefined;
  #sender: BitmapSender | undefined;
  #selected: readonly SelectedBitmap[] = [];
  #cancelled = false;
  #postcopyAsked = false;
  /** The destination may run already. */
  #postcopyBegan = false;
  #switchoverAllowed = false;
  #before: RunStateName | undefined;
  #pass = 0;
  #stoppedMs: number | undefined;
  #endedMs: number | undefined;
  #description: string | undefined;

  constructor(host: MigrationHost, settings: MigrationSettings) {
    this.#host = host;
    this.#settings = settings;
    this.#sleep = new InterruptibleSleep(host.clock);
    this.#startedMs = host.clock.nowMs();
  }

  get status(): MigrationStatus {
    return this.#status;
  }

  /** Something is under way: no other migration may begin. */
  get running(): boolean {
    return !["completed", "failed", "cancelled"].includes(this.#status);
  }

  /** Why it failed, where there is a text. */
  get description(): string | undefined {
    return this.#description;
  }

  get passes(): number {
    return this.#pass;
  }

  get transferredBytes(): number {
    return this.#channel?.transferredBytes ?? 0;
  }

  get totalMs(): number {
    return Math.round((this.#endedMs ?? this.#host.clock.nowMs()) - this.#startedMs);
  }

  /** How long the machine has stood still. */
  get downtimeMs(): number {
    return this.#stoppedMs === undefined
      ? 0
      : Math.round((this.#endedMs ?? this.#host.clock.nowMs()) - this.#stoppedMs);
  }

  /** Resolves when it has ended, however. */
  async run(address: MigrationAddress): Promise<void> {
    try {
      this.#setStatus("setup");
      await this.#connect(address);
      await this.#setUp();
      const way = await this.#converge();
      if (way === "postcopy") await this.#postcopy();
      else await this.#precopy();
      this.#endedMs = this.#host.clock.nowMs();
      this.#release();
      this.#host.runState.restate("postmigrate");
      this.#setStatus("completed");
    } catch (error) {
      await this.#fail(error);
    } finally {
      this.#channel?.close();
    }
  }

  /** migrate_cancel; and when the machine goes. */
  cancel(): void {
    if (!this.running || this.#cancelled) return;
    const lost = this.#status === "postcopy-paused";
    this.#setStatus("cancelling");
    this.#cancelled = true;
    if (lost) {
      this.#host.runState.restate("postmigrate");
      this.#setStatus("cancelled");
    }
    this.#sleep.wake();
    this.#channel?.close();
  }

  /** migrate-start-postcopy */
  startPostcopy(): void {
    this.#postcopyAsked = true;
    if (this.#status === "active") this.#sleep.wake();
  }

  /** migrate-continue */
  continue(): void {
    this.#switchoverAllowed = true;
    this.#sleep.wake();
  }

  async #connect(address: MigrationAddress): Promise<void> {
    const connecting = this.#host.channels.connect(address);
    let connected = false;
    void connecting.then(
      ({ stream }) => {
        connected = true;
        if (this.#cancelled) stream.close();
        this.#sleep.wake();
      },
      () => {
        connected = true;
        this.#sleep.wake();
      },
    );
    while (!connected && !this.#cancelled) await this.#sleep.sleep();
    this.#check();
    const channel = await connecting.catch((error: unknown) => {
      throw error instanceof QmpError || error instanceof BlockError ? new MigrationFailure(error.message) : error;
    });
    this.#channel = new OutgoingChannel(channel, () => this.#sleep.wake());
  }

  async #setUp(): Promise<void> {
    const { graph, clock } = this.#host;
    const { mapping } = this.#settings;
    const writer = this.#writer;
    const [postcopyRam, bitmaps] = [this.#settings.has("postcopy-ram"), this.#settings.has("dirty-bitmaps")];
    writer.header(this.#host.machine);
    if (this.#hasReturnPath) writer.openReturnPath();
    if (postcopyRam || bitmaps) writer.postcopyAdvise(postcopyRam);
    writer.ramStart();
    this.#nextPass();
    let refusal: QmpError | undefined;
    try {
      if (bitmaps) this.#selected = selectBitmaps(graph, mapping);
    } catch (error) {
      if (!(error instanceof QmpError)) throw error;
      refusal = error;
    }
    this.#sender = new BitmapSender({ bitmaps: this.#selected, writer, channel: this.#channel!, clock });
    if (this.#selected.length > 0) this.#sender.start();
    this.#setStatus("active");
    if (refusal !== undefined) {
      // QEMU tells of this on its standard error alone.
      this.#host.report(refusal.message);
      throw new MigrationFailure(undefined);
    }
    await this.#send();
  }

  /** Waits until what is left is little enough, or somebody asks for the other way. */
  async #converge(): Promise<"precopy" | "postcopy"> {
    if (this.#sender!.pendingBytes === 0) {
      this.#nextPass();
      return "precopy";
    }
    for (let looks = 0; ; looks++) {
      if (!this.#postcopyAsked) await this.#sleep.sleep(LOOK_EVERY_MS);
      this.#check();
      if (looks === 0) this.#nextPass();
      if (this.#postcopyAsked) return "postcopy";
      if (this.#sender!.pendingBytes < this.#settings.downtimeBytes) return "precopy";
      this.#writer.ramPart();
      await this.#send();
    }
  }

  async #precopy(): Promise<void> {
    const writer = this.#writer;
    await this.#stopMachine();
    if (this.#settings.has("pause-before-switchover")) {
      this.#setStatus("pre-switchover");
      while (!this.#switchoverAllowed) {
        await this.#sleep.sleep();
        this.#check();
      }
      this.#setStatus("device");
    }
    writer.ramEnd();
    if (this.#sender!.bitmaps.length > 0) await this.#sender!.end();
    await this.#inactivate();
    writer.machineState(this.#machineState());
    writer.end();
    writer.description();
    this.#nextPass();
    await this.#finish();
  }

  async #postcopy(): Promise<void> {
    const { clock } = this.#host;
    const writer = this.#writer;
    const sender = this.#sender!;
    this.#setStatus("postcopy-active");
    await this.#stopMachine();
    await this.#inactivate();
    writer.ramEnd();
    writer.postcopyPackage(this.#machineState());
    this.#postcopyBegan = true;
    await this.#send();
    const limit = new RateLimit(clock);
    while (sender.part(POSTCOPY_SECTION_BYTES)) {
      limit.bytesPerSecond = this.#settings.postcopyBytesPerSecond;
      for (let delay = limit.delayMs(); delay > 0; delay = limit.delayMs()) {
        await this.#sleep.sleep(delay);
        this.#check();
      }
      limit.charge(writer.out.length);
      await this.#send();
    }
    if (sender.bitmaps.length > 0) await sender.end();
    writer.end();
    this.#nextPass();
    await this.#finish();
  }

  async #stopMachine(): Promise<void> {
    const { runState, clock } = this.#host;
    this.#before = runState.state;
    this.#stoppedMs = clock.nowMs();
    await this.#host.stop("finish-migrate");
    this.#check();
  }

  async #inactivate(): Promise<void> {
    try {
      await this.#host.inactivate();
    } catch (error) {
      if (!(error instanceof InactivationError)) throw error;
      const code = INACTIVATION_CODES.get(error.errno) ?? EIO;
      this.#host.report(`qemu_savevm_state_complete_precopy_non_iterable: bdrv_inactivate_all() failed (-${code})`);
      throw new MigrationFailure("Block inactivate failed during switchover");
    }
    this.#check();
  }

  /** The guest's clocks stand for nothing that anybody reads. */
  #machineState(): MachineState {
    const ns = Math.floor(this.#host.clock.nowMs()) * 1_000_000;
    return { runState: this.#before!, cpuTicksOffset: ns, cpuClockOffsetNs: ns };
  }

  async #finish(): Promise<void> {
    await this.#send();
    if (this.#hasReturnPath) {
      await this.#channel!.untilShut((line) => {
        if (!this.#cancelled) this.#host.report(line);
      });
      this.#check();
    }
    await this.#channel!.finish();
    this.#check();
  }

  async #send(): Promise<void> {
    this.#check();
    await this.#channel!.send(this.#writer.out);
    this.#check();
  }

  get #hasReturnPath(): boolean {
    return this.#settings.has("return-path") || this.#settings.has("postcopy-ram");
  }

  #check(): void {
    if (this.#cancelled) throw CANCELLED;
    this.#channel?.check();
  }

  /** Everything is as before, but for what a destination may have taken over already. */
  async #fail(error: unknown): Promise<void> {
    const { runState } = this.#host;
    const description = error instanceof MigrationFailure ? error.description : undefined;
    this.#endedMs = this.#host.clock.nowMs();
    this.#release();
    if (this.#cancelled) {
      if (this.#postcopyBegan) runState.restate("postmigrate");
      else await this.#takeBack();
      this.#setStatus("cancelled");
      return;
    }
    if (!(error instanceof MigrationFailure)) throw error; // a mistake of ours
    this.#description = description;
    if (description !== undefined) this.#host.report(description);
    if (this.#postcopyBegan) {
      this.#host.report("Detected IO failure for postcopy. Migration paused.");
      this.#setStatus("postcopy-paused");
      return;
    }
    this.#setStatus("failed");
    await this.#takeBack();
  }

  async #takeBack(): Promise<void> {
    if (this.#before !== undefined) await this.#host.takeBack(this.#before);
  }

  #release(): void {
    releaseBitmaps(this.#selected, (line) => this.#host.report(line));
    this.#selected = [];
  }

  #nextPass(): void {
    this.#host.onPass(++this.#pass);
  }

  #setStatus(status: MigrationStatus): void {
    this.#status = status;
    this.#host.onStatus(status);
  }
}
