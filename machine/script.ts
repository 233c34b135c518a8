// Guest scripts: what one is given, and how a machine runs one from start to orderly end.

import { Guest } from "../guest/guest.ts";
import { InProcessTarget } from "../guest/targets/in-process.ts";
import { MachineControl } from "./control.ts";
import type { Machine } from "./machine.ts";

const HEAP_ALIGNMENT_BYTES = 4096;

/** Where a script's news goes: a terminal, a log, a test. */
export interface ScriptReporter {
  /** A line for people. */
  log(line: string): void;
  /** How far the script is: `done` of `total` of whatever it counts. */
  progress(done: number, total: number): void;
  /** A claim and whether it holds. A run in which one does not hold has failed. */
  check(claim: string, holds: boolean, detail?: string): void;
}

/** What a guest script gets: the guest's side, the host's side, and a way to tell what it does. */
export interface ScriptContext extends ScriptReporter {
  /** The guest of the first drive. */
  readonly guest: Guest;
  /** One for each drive, in their order. */
  readonly guests: readonly Guest[];
  /** QMP's commands and events, and short cuts for backups and bitmaps. */
  readonly control: MachineControl;
  /** Aborted when the run is to end early. What a script awaits then rejects; it need not watch this. */
  readonly signal: AbortSignal;
}

/** A guest script's `main`. */
export type ScriptMain = (context: ScriptContext) => Promise<void> | void;

export interface RunScriptOptions {
  readonly machine: Machine;
  readonly main: ScriptMain;
  readonly reporter: ScriptReporter;
  /** Ends the run early; `runScript` then rejects with its reason. */
  readonly signal?: AbortSignal;
  /** Called with the control handle before the script starts. */
  readonly onStart?: (control: MachineControl) => void;
}

/**
 * Runs a script on a machine until it, or the command `quit`, ends the run, and then, however it ended, shuts down in order: guests are closed, jobs cancelled, devices reset,
 * images flushed and closed. Rejects with what the script threw, the abort's reason, or what went wrong while shutting down.
 */
export async function runScript(options: RunScriptOptions): Promise<void> {
  const { machine, main, reporter, signal = new AbortController().signal, onStart } = options;
  const control = new MachineControl(machine);
  const guests = makeGuests(machine, signal);
  const failures: unknown[] = [];
  try {
    onStart?.(control);
    const context: ScriptContext = {
      guest: guests[0]!,
      guests,
      control,
      signal,
      log: (line) => reporter.log(line),
      progress: (done, total) => reporter.progress(done, total),
      check: (claim, holds, detail) => reporter.check(claim, holds, detail),
    };
    await Promise.race([Promise.resolve().then(() => main(context)), rejectWhenAborted(signal), machine.quit]);
  } catch (error) {
    failures.push(error);
  }
  for (const shutDown of [() => closeAll(guests), () => control.close(), () => machine.close()]) {
    try {
      await shutDown();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}

/** A guest for each device; they share the RAM, in equal parts. */
function makeGuests(machine: Machine, signal: AbortSignal): Guest[] {
  const { memory, clock, disks } = machine;
  const lengthBytes = Math.floor(memory.sizeBytes / disks.length / HEAP_ALIGNMENT_BYTES) * HEAP_ALIGNMENT_BYTES;
  return disks.map(({ region, line }, i) => {
    const heap = { address: memory.baseAddress + i * lengthBytes, lengthBytes };
    return new Guest(new InProcessTarget({ memory, region, line, clock }), { signal, heap });
  });
}

async function closeAll(guests: readonly Guest[]): Promise<void> {
  for (const guest of guests) await guest.close();
}

function rejectWhenAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
