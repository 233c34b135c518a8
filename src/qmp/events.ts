// Events: what the machine tells on its own, to everyone who listens, in one order: docs/reference/monitor.md §1, §3.

import { assert } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import { type TracePoint, tracePoint } from "../base/trace.ts";
import { EventThrottle, type ThrottleRule } from "./event-throttle.ts";
import { printJson } from "./json/print-json.ts";
import type { DescribedEvent } from "./schema/introspection.ts";
import type { StructType } from "./schema/types.ts";

const eventQueued: TracePoint = tracePoint("monitor_protocol_event_queue");
const eventEmitted: TracePoint = tracePoint("monitor_protocol_event_emit");

/** An event that can happen, with data of type T. */
export interface EventDefinition<T> extends DescribedEvent {
  readonly data: StructType<T> | undefined;
  readonly throttle: ThrottleRule<T> | undefined;
}

/** An event, as it is sent. */
export interface QmpEvent {
  readonly timestamp: { readonly seconds: number; readonly microseconds: number };
  readonly event: string;
  readonly data?: unknown;
}

export type EventListener = (event: QmpEvent) => void;

/** The time of day, for timestamps: milliseconds since 1970. */
export interface WallClock {
  nowMs(): number;
}

export const systemWallClock: WallClock = { nowMs: () => Date.now() };

/** An event without data, one with, one that comes at most so often. */
export function defineEvent(name: string): EventDefinition<void>;
export function defineEvent<T>(
  name: string,
  data: StructType<T>,
  throttle?: ThrottleRule<NoInfer<T>>,
): EventDefinition<T>;
export function defineEvent<T>(
  name: string,
  data?: StructType<T>,
  throttle?: ThrottleRule<NoInfer<T>>,
): EventDefinition<T> {
  return { name, data, throttle };
}

export interface EventQueueOptions {
  readonly clock: Clock;
  readonly wallClock: WallClock;
}

/**
 * Hands events to all listeners in the order in which they happened. An event has reached everyone when `emit` returns, unless it
 * happened within a listener or is throttled; so it precedes the reply of the command that caused it.
 */
export class EventQueue {
  readonly #wallClock: WallClock;
  readonly #throttle: EventThrottle;
  readonly #definitions = new Map<string, EventDefinition<unknown>>();
  readonly #listeners = new Set<EventListener>();
  readonly #undelivered: QmpEvent[] = [];
  #delivering = false;

  constructor({ clock, wallClock }: EventQueueOptions) {
    this.#wallClock = wallClock;
    this.#throttle = new EventThrottle(clock, (event) => this.#deliver(event));
  }

  /** The events that have been declared, for the schema. */
  [Symbol.iterator](): Iterator<DescribedEvent> {
    return this.#definitions.values();
  }

  /** Says which events there are. Only these are emitted. */
  declare(...definitions: readonly EventDefinition<unknown>[]): void {
    for (const definition of definitions) {
      assert(!this.#definitions.has(definition.name), `there is an event ${definition.name} already`);
      this.#definitions.set(definition.name, definition);
    }
  }

  /** Calls `listener` for every event from now on. The function returned ends it. */
  listen(listener: EventListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Says that something has happened. */
  emit<T>(definition: EventDefinition<T>, ...[data]: T extends void ? [] : [data: T]): void {
    assert(this.#definitions.get(definition.name) === definition, `the event ${definition.name} is not declared`);
    const nowMs = this.#wallClock.nowMs();
    const seconds = Math.floor(nowMs / 1000);
    const timestamp = { seconds, microseconds: Math.floor((nowMs - seconds * 1000) * 1000) };
    const event: QmpEvent = { timestamp, event: definition.name, ...(data === undefined ? {} : { data }) };
    const { throttle } = definition;
    if (eventQueued.enabled)
      eventQueued.emit({ event: definition.name, data: printData(data), rate: throttle?.periodMs ?? 0 });
    if (throttle === undefined || data === undefined) this.#deliver(event);
    else this.#throttle.add(event, throttle.periodMs, throttle.key(data));
  }

  /** Delivers no more throttled events, and waits for none. */
  close(): void {
    this.#throttle.close();
  }

  #deliver(event: QmpEvent): void {
    if (eventEmitted.enabled) eventEmitted.emit({ event: event.event, data: printData(event.data) });
    this.#undelivered.push(event);
    if (this.#delivering) return;
    this.#delivering = true;
    try {
      for (let next = this.#undelivered.shift(); next !== undefined; next = this.#undelivered.shift())
        for (const listener of [...this.#listeners]) listener(next);
    } finally {
      this.#delivering = false;
    }
  }
}

function printData(data: unknown): string {
  return data === undefined ? "" : printJson(data);
}
