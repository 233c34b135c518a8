// The monitor's events, for a script to take one after the other or to wait for.

import { QmpError } from "../src/base/errors.ts";
import type { MachineEvent, QmpEventName, QmpEventOf } from "./qmp-types.ts";

/** A stream whose reader lets so many events lie is given up: nobody reads it. */
const MAX_UNREAD = 1 << 20;

/**
 * Keeps every event from its making on until it is taken or the stream closed, so that none is missed between a command and the wait
 * for what comes of it:
 *
 *     using events = control.events();
 *     await control.qmp("blockdev-backup", { … });
 *     await events.until("BLOCK_JOB_COMPLETED");
 *     for await (const { event, data } of events) …
 */
export class EventStream implements AsyncIterable<MachineEvent>, Disposable {
  readonly #unread: MachineEvent[] = [];
  readonly #waiters: ((event: MachineEvent | undefined) => void)[] = [];
  readonly #stop: () => void;
  #closed = false;
  #overrun = false;

  /** `listen` begins to hear events, and returns what ends it. */
  constructor(listen: (hear: (event: MachineEvent) => void) => () => void) {
    this.#stop = listen((event) => this.#hear(event));
  }

  /** Takes the next event; `undefined` when the stream is closed. A `QmpError` if so many were left unread that some were dropped. */
  async next(): Promise<MachineEvent | undefined> {
    if (this.#overrun) throw new QmpError(`More than ${MAX_UNREAD} events were left unread`);
    const event = this.#unread.shift();
    if (event !== undefined || this.#closed) return event;
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  /** Takes events up to the first of that name that `matches`, and resolves with it. A `QmpError` when the stream is closed before. */
  async until<Name extends QmpEventName>(
    name: Name,
    matches: (data: QmpEventOf<Name>["data"]) => boolean = () => true,
  ): Promise<QmpEventOf<Name>> {
    for (;;) {
      const next = await this.next();
      if (next === undefined) throw new QmpError(`No event ${name} until the stream was closed`);
      const event = next as QmpEventOf<Name>;
      if (next.event === name && matches(event.data)) return event;
    }
  }

  /** Hears no more. Events that were not taken are gone; who waits for one is told that there is none. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stop();
    this.#unread.length = 0;
    for (const tell of this.#waiters.splice(0)) tell(undefined);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<MachineEvent, void, undefined> {
    for (let event = await this.next(); event !== undefined; event = await this.next()) yield event;
  }

  #hear(event: MachineEvent): void {
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) waiter(event);
    else if (this.#unread.length < MAX_UNREAD) this.#unread.push(event);
    else this.#overrun = true;
  }
}
