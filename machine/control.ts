// The host's side of a running machine, for scripts in the same process: QMP's commands and events, and short cuts for some.

import { assert } from "../src/base/assert.ts";
import { QmpError } from "../src/base/errors.ts";
import type { JobList } from "../src/job/job-list.ts";
import { addBitmap } from "../src/qmp/commands/bitmap.ts";
import type { QmpEvent } from "../src/qmp/events.ts";
import { BackupHandle, type BackupInfo, type StartBackupOptions } from "./backup-handle.ts";
import { BackupTarget } from "./backup-target.ts";
import { type BitmapInfo, type ByteRange, bitmapInfo, dirtyAreas } from "./bitmap-info.ts";
import type { Drive } from "./drive.ts";
import { EventStream } from "./event-stream.ts";
import type { Machine } from "./machine.ts";
import type { ArgumentsIfAny, MachineEvent, QmpCommandName, QmpReturn } from "./qmp-types.ts";

export type { BackupInfo, StartBackupOptions } from "./backup-handle.ts";
export type { BitmapInfo, ByteRange } from "./bitmap-info.ts";

/** A drive, as the host sees it. */
export interface DriveInfo {
  readonly id: string;
  /** The image file; undefined for a drive without one. */
  readonly path: string | undefined;
  readonly lengthBytes: number;
  readonly readOnly: boolean;
}

/** Which bitmap: `drive` is the first one by default. */
export interface BitmapName {
  readonly drive?: string;
  readonly name: string;
}

/**
 * What a host does to a machine while its guest runs. `qmp` and `events` are the monitor, as a client at a socket has it; the rest
 * are short cuts to the same. Mistakes are `QmpError`s with QEMU's texts where QEMU has the case, and have changed nothing.
 */
export class MachineControl {
  readonly #machine: Machine;
  readonly #backups: BackupHandle[] = [];
  readonly #streams = new Set<EventStream>();
  #lastBitmaps: readonly BitmapInfo[] = [];
  #closed = false;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /**
   * Runs a command of the monitor when those before it are done, whoever gave them, and resolves with what it returns. Drives and
   * nodes have the names that `query-block` tells; a member that is `undefined` counts as absent. A `QmpError` or `BlockError` has the
   * class and the text of the error reply. Events that the command causes have been told by then.
   */
  qmp<Name extends QmpCommandName>(name: Name, ...args: ArgumentsIfAny<Name>): Promise<QmpReturn<Name>>;
  /** A command of which the compiler knows nothing. */
  qmp<Name extends string>(name: Name extends QmpCommandName ? never : Name, args?: object): Promise<unknown>;
  qmp(name: string, args?: object): Promise<unknown> {
    return this.#machine.monitor.execute(name, args ?? {});
  }

  /**
   * The monitor's events from now on. Begin before the command whose events matter; `close` it, or let `using` do so. It ends when the
   * script is over.
   */
  events(): EventStream {
    assert(!this.#closed, "control: events after close");
    const stream = new EventStream((hear) => {
      const stop = this.onEvent(hear);
      return () => {
        stop();
        this.#streams.delete(stream);
      };
    });
    this.#streams.add(stream);
    return stream;
  }

  /** Calls `listener` for every event, within what caused it. The function returned ends it. */
  onEvent(listener: (event: MachineEvent) => void): () => void {
    return this.#machine.monitor.events.listen(listener as (event: QmpEvent) => void);
  }

  get jobs(): JobList {
    return this.#machine.system.jobs;
  }

  get drives(): readonly DriveInfo[] {
    return this.#machine.disks.map(({ drive }) => ({
      id: drive.id,
      path: drive.options.driver === "file" ? drive.options.path : undefined,
      lengthBytes: drive.backend.lengthBytes,
      readOnly: drive.backend.readOnly,
    }));
  }

  /** Every backup that was started, oldest first, also those that have ended. */
  get backups(): readonly BackupInfo[] {
    return this.#backups.map((backup) => backup.info);
  }

  /** All bitmaps of all drives, newest first for each. After `close`, as they were then. */
  get bitmaps(): readonly BitmapInfo[] {
    if (this.#closed) return this.#lastBitmaps;
    return this.#machine.disks.flatMap(({ drive }) =>
      [...drive.node.bitmaps].map((bitmap) => bitmapInfo(drive.id, bitmap)),
    );
  }

  /**
   * Starts a full backup of a drive as it is at this moment, T0, to a raw image at `target`. Resolves once it runs: what the
   * guest writes from then on is not in the backup. A target that is there already is overwritten, unless somebody uses it.
   */
  async startBackup(options: StartBackupOptions): Promise<BackupHandle> {
    const { system } = this.#machine;
    const drive = this.#drive(options.drive);
    const id = options.id ?? drive.id;
    this.jobs.checkId(id);
    const { target: path, existing = false } = options;
    const target = await BackupTarget.open(
      system.graph,
      { path, existing, lengthBytes: drive.node.lengthBytes },
      this.drives,
    );
    try {
      const handle = await BackupHandle.start(system, drive, target, { ...options, id });
      this.#backups.push(handle);
      return handle;
    } catch (error) {
      await target.close();
      throw error;
    }
  }

  /** Adds a bitmap that records what changes from now on; `granularityBytes` is 65536 by default. */
  addBitmap(options: BitmapName & { readonly granularityBytes?: number; readonly disabled?: boolean }): void {
    const { name, granularityBytes, disabled = false } = options;
    const node = this.#drive(options.drive).id;
    const granularity = granularityBytes === undefined ? {} : { granularity: granularityBytes };
    addBitmap(this.#machine.system.graph, { node, name, disabled, ...granularity });
  }

  removeBitmap(bitmap: BitmapName): void {
    this.#drive(bitmap.drive).node.bitmaps.remove(bitmap.name);
  }

  /** Makes a bitmap clean. */
  clearBitmap(bitmap: BitmapName): void {
    this.#drive(bitmap.drive).node.bitmaps.clear(bitmap.name);
  }

  enableBitmap(bitmap: BitmapName): void {
    this.#drive(bitmap.drive).node.bitmaps.enable(bitmap.name);
  }

  disableBitmap(bitmap: BitmapName): void {
    this.#drive(bitmap.drive).node.bitmaps.disable(bitmap.name);
  }

  /** The dirty areas of a bitmap, in order, in whole granules but for the disk's end. */
  dirtyAreas(bitmap: BitmapName): Iterable<ByteRange> {
    return dirtyAreas(this.#drive(bitmap.drive).node.bitmaps.get(bitmap.name));
  }

  /** Changes the length of a drive, a multiple of 512; the guest is told. Bitmaps follow. */
  async resize(lengthBytes: number, drive?: string): Promise<void> {
    if (!Number.isSafeInteger(lengthBytes) || lengthBytes < 0) throw new QmpError("Parameter 'size' expects a >0 size");
    await this.#machine.system.graph.resize(this.#drive(drive).id, undefined, lengthBytes);
  }

  /** Cancels what jobs are left, waits for their ends, and ends the streams of events. Called by whoever made the control handle. */
  async close(): Promise<void> {
    assert(!this.#closed, "control: closed twice");
    await this.jobs.cancelAll();
    for (const backup of this.#backups) await backup.ended;
    for (const stream of this.#streams) stream.close();
    this.#lastBitmaps = this.bitmaps;
    this.#closed = true;
  }

  #drive(id: string | undefined): Drive {
    const { disks } = this.#machine;
    const found = id === undefined ? disks[0] : disks.find(({ drive }) => drive.id === id);
    if (found === undefined) throw new QmpError(`Cannot find device='${id ?? ""}' nor node-name='${id ?? ""}'`);
    return found.drive;
  }
}
