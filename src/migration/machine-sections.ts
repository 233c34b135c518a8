// The sections of a machine without devices but its bitmaps: docs/reference/migration-stream.md §1.2, §3.1.

import type { RunStateName } from "../base/run-state.ts";
import { orCutOff, StreamError } from "./stream-error.ts";
import {
  GLOBAL_STATE_VERSION,
  RAM_EOS,
  RAM_FLAGS_MASK,
  RAM_MEM_SIZE,
  RAM_VERSION,
  RUN_STATE_FIELD_BYTES,
  TIMER_VERSION,
} from "./stream-format.ts";
import type { SectionHandler } from "./stream-loader.ts";
import type { StreamSource } from "./stream-source.ts";

/** All that QEMU has: a machine that arrives may be in any of them. */
const RUN_STATES: readonly RunStateName[] = [
  "debug",
  "inmigrate",
  "internal-error",
  "io-error",
  "paused",
  "postmigrate",
  "prelaunch",
  "finish-migrate",
  "restore-vm",
  "running",
  "save-vm",
  "shutdown",
  "suspended",
  "watchdog",
  "guest-panicked",
  "colo",
];

/** RAM of which there is none. A source that waits sends it again and again, so this waits only for bytes that are missing. */
export const ramSection: SectionHandler = {
  version: RAM_VERSION,
  load(source) {
    for (;;) {
      const wait = source.need(8);
      if (wait !== undefined) return wait.then(() => ramSection.load(source, RAM_VERSION));
      const high = source.u32();
      const low = source.u32();
      const flags = low & RAM_FLAGS_MASK;
      if (flags === RAM_EOS) return undefined;
      if (flags !== RAM_MEM_SIZE) {
        throw new StreamError("EINVAL", `Unknown combination of migration flags: 0x${flags.toString(16)}`);
      }
      const bytes = high * 2 ** 32 + (low >>> 0) - flags;
      if (bytes !== 0) throw new StreamError("EINVAL", `RAM of ${bytes} bytes received: none is taken`);
    }
  },
};

/** QEMU's clocks, which nothing here goes by. */
export const timerSection: SectionHandler = {
  version: TIMER_VERSION,
  async load(source, version) {
    const fields = version < TIMER_VERSION ? TIMER_FIELDS.slice(0, 2) : TIMER_FIELDS;
    for (const field of fields) {
      await orCutOff(source.need(8), "EIO", `Failed to load timer:${field}`);
      source.bytes(8);
    }
  },
};

const TIMER_FIELDS = ["cpu_ticks_offset", "unused", "cpu_clock_offset"] as const;

/** Which state the machine was in; `received` is told. */
export function globalStateSection(received: (runState: RunStateName) => void): SectionHandler {
  return {
    version: GLOBAL_STATE_VERSION,
    async load(source: StreamSource) {
      await orCutOff(source.need(4), "EIO", "Failed to load globalstate:size");
      source.u32(); // says what the zero behind the name says
      await orCutOff(source.need(RUN_STATE_FIELD_BYTES), "EIO", "Failed to load globalstate:runstate");
      const field = source.bytes(RUN_STATE_FIELD_BYTES);
      const end = field.indexOf(0);
      const name = new TextDecoder().decode(field.subarray(0, end < 0 ? field.length : end));
      const runState = RUN_STATES.find((state) => state === name);
      if (runState === undefined) throw new StreamError("EINVAL", `invalid parameter value: ${name}`);
      received(runState);
    },
  };
}
