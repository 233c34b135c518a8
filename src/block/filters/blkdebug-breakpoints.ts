// Requests that stop at an event until they are told to go on: docs/reference/monitor.md §5.1.

import type { Errno } from "../../base/errors.ts";
import { tracePoint } from "../../base/trace.ts";
import type { DebugPoints } from "../debug-points.ts";

const suspendRequest = tracePoint("blkdebug_suspend_request");
const resumeRequest = tracePoint("blkdebug_resume_request");

interface Breakpoint {
  readonly event: string;
  readonly tag: string;
}

/** One stop of one request. */
interface Suspended {
  readonly tag: string;
  readonly resume: () => void;
}

/**
 * A breakpoint stops one request and is then gone. A request that meets several at one event stops for each of them. In a
 * drained section nothing stops, and what has stopped goes on: QEMU would wait for it for ever there.
 */
export class Breakpoints implements DebugPoints {
  readonly #events: readonly string[];
  /** Newest first. */
  #breakpoints: Breakpoint[] = [];
  /** Newest first. */
  #suspended: Suspended[] = [];
  #drained = false;

  readonly #print: (text: string) => void;

  /** `events` are those that requests can come to. What stops and what goes on is told by `print`, in QEMU's words. */
  constructor(events: readonly string[], print: (text: string) => void = () => {}) {
    this.#events = events;
    this.#print = print;
  }

  setBreakpoint(event: string, tag: string): Errno | undefined {
    if (!this.#events.includes(event)) return "ENOENT";
    this.#breakpoints.unshift({ event, tag });
    return undefined;
  }

  removeBreakpoint(tag: string): Errno | undefined {
    const before = this.#breakpoints.length;
    this.#breakpoints = this.#breakpoints.filter((breakpoint) => breakpoint.tag !== tag);
    this.#resumeAll((suspended) => suspended.tag === tag);
    return this.#breakpoints.length < before ? undefined : "ENOENT";
  }

  resume(tag: string): Errno | undefined {
    const index = this.#suspended.findIndex((suspended) => suspended.tag === tag);
    if (index < 0) return "ENOENT";
    const [suspended] = this.#suspended.splice(index, 1);
    this.#goOn(suspended!);
    return undefined;
  }

  isSuspended(tag: string): boolean {
    return this.#suspended.some((suspended) => suspended.tag === tag);
  }

  /** A request has come to `event`; a promise makes it stop. */
  stopAt(event: string): void | Promise<void> {
    if (this.#breakpoints.length === 0 || this.#drained) return;
    const met = this.#breakpoints.filter((breakpoint) => breakpoint.event === event);
    if (met.length === 0) return;
    this.#breakpoints = this.#breakpoints.filter((breakpoint) => breakpoint.event !== event);
    return this.#stopFor(met);
  }

  beginDrain(): void {
    this.#drained = true;
    this.#resumeAll(() => true);
  }

  endDrain(): void {
    this.#drained = false;
  }

  async #stopFor(met: readonly Breakpoint[]): Promise<void> {
    await Promise.all(met.map(({ tag }) => this.#suspend(tag)));
  }

  #suspend(tag: string): Promise<void> {
    if (suspendRequest.enabled) suspendRequest.emit({ tag });
    this.#print(`blkdebug: Suspended request '${tag}'\n`);
    return new Promise((resume) => this.#suspended.unshift({ tag, resume }));
  }

  #resumeAll(which: (suspended: Suspended) => boolean): void {
    const resumed = this.#suspended.filter(which);
    this.#suspended = this.#suspended.filter((suspended) => !which(suspended));
    for (const each of resumed) this.#goOn(each);
  }

  #goOn({ tag, resume }: Suspended): void {
    if (resumeRequest.enabled) resumeRequest.emit({ tag });
    this.#print(`blkdebug: Resuming request '${tag}'\n`);
    resume();
  }
}
