// qemu-io's breakpoints for requests, and `sleep`: docs/reference/monitor.md §5.1.

import type { Clock } from "../../base/clock.ts";
import { type Errno, strerror } from "../../base/errors.ts";
import { type DebugPoints, debugPointsOf } from "../../block/debug-points.ts";
import { type IoCommand, type IoContext, IoRefusal } from "./qemu-io-command.ts";
import { parseCNumber } from "./qemu-io-options.ts";

/** How often `wait_break` looks. */
const POLL_MS = 1;
/** A longer timer is none to Node and browsers. */
const MAX_TIMER_MS = 2 ** 31 - 1;
const MAX_INT64 = (1n << 63n) - 1n;

export const breakCommand: IoCommand = {
  name: "break",
  minArguments: 2,
  maxArguments: 2,
  needs: 0,
  synopsis: "event tag",
  description: "sets a breakpoint on event and tags the stopped request as tag",
  run: (context, words) =>
    onPoints(context, "Could not set breakpoint", (points) => points.setBreakpoint(words[1]!, words[2]!)),
};

export const removeBreakCommand: IoCommand = {
  name: "remove_break",
  minArguments: 1,
  maxArguments: 1,
  needs: 0,
  synopsis: "tag",
  description: "remove a breakpoint by tag",
  run: (context, words) =>
    onPoints(context, `Could not remove breakpoint ${words[1]}`, (points) => points.removeBreakpoint(words[1]!)),
};

export const resumeCommand: IoCommand = {
  name: "resume",
  minArguments: 1,
  maxArguments: 1,
  needs: 0,
  synopsis: "tag",
  description: "resumes the request tagged as tag",
  run: (context, words) => onPoints(context, "Could not resume request", (points) => points.resume(words[1]!)),
};

/** Waits for a request to stop. Where none can it says so; QEMU would wait for ever. */
export const waitBreakCommand: IoCommand = {
  name: "wait_break",
  minArguments: 1,
  maxArguments: 1,
  needs: 0,
  synopsis: "tag",
  description: "waits for the suspension of a request",
  async run({ backend, services }, words) {
    const tag = words[1]!;
    const points = backend.root === undefined ? undefined : debugPointsOf(backend.root);
    if (points === undefined) throw new IoRefusal(`Could not wait for breakpoint ${tag}: ${strerror("ENOTSUP")}`);
    const { clock, interrupted } = services;
    while (!points.isSuspended(tag) && interrupted?.aborted !== true) await pause(clock, POLL_MS, interrupted);
  },
};

export const sleepCommand: IoCommand = {
  name: "sleep",
  minArguments: 1,
  maxArguments: 1,
  needs: 0,
  synopsis: "",
  description: "waits for the given value in milliseconds",
  async run({ services }, words) {
    const ms = parseCNumber(words[1]!);
    if (ms === undefined || ms < 0n) throw new IoRefusal(`${words[1]} is not a valid number`);
    if (ms > MAX_INT64 / 1_000_000n) return; // so long a time overflows in QEMU, and is over at once
    const { clock, interrupted } = services;
    for (let left = Number(ms); left > 0 && interrupted?.aborted !== true; left -= MAX_TIMER_MS)
      await pause(clock, Math.min(left, MAX_TIMER_MS), interrupted);
  },
};

function onPoints(
  { backend, services }: IoContext,
  failing: string,
  operation: (points: DebugPoints) => Errno | undefined,
): void {
  const points = backend.root === undefined ? undefined : debugPointsOf(backend.root);
  const errno = points === undefined ? "ENOTSUP" : operation(points);
  if (errno !== undefined) services.output(`${failing}: ${strerror(errno)}\n`);
}

function pause(clock: Clock, delayMs: number, interrupted: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      cancel();
      interrupted?.removeEventListener("abort", end);
      resolve();
    };
    const cancel = clock.setTimer(delayMs, end);
    interrupted?.addEventListener("abort", end);
  });
}
