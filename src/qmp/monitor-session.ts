// One client of the monitor: greeting, negotiation, commands in their order, events between them. docs/reference/monitor.md §1.

import { type Clock, Pacer } from "../base/clock.ts";
import { BlockError, QmpError } from "../base/errors.ts";
import { type TracePoint, tracePoint } from "../base/trace.ts";
import type { ByteStream, ByteStreamListener } from "../transport/byte-stream.ts";
import type { CapabilitySession } from "./command.ts";
import type { EventQueue, QmpEvent } from "./events.ts";
import type { CommandExecutor } from "./executor.ts";
import { type JsonItem, JsonStream } from "./json/json-stream.ts";
import { printJson } from "./json/print-json.ts";
import type { JsonValue } from "./json/value.ts";
import { MonitorOutput } from "./monitor-output.ts";
import { parseRequest, requestId } from "./request.ts";
import type { VersionInfo } from "./version.ts";

/** Requests that wait. While there are so many nothing more is read. */
const MAX_QUEUED_REQUESTS = 8;
/** No command of a client who has so much still to read is run. */
const MAX_REPLY_BACKLOG_BYTES = 1 << 20;
/**
 * A client who has so much still to read is cut off. Events cannot be held up, and one that is left out would be missed without a
 * trace; QEMU keeps them all until memory ends.
 */
const MAX_EVENT_BACKLOG_BYTES = 64 << 20;

const CAPABILITIES = ["oob"] as const;

const commandBegins: TracePoint = tracePoint("handle_qmp_command");
const responded: TracePoint = tracePoint("monitor_qmp_respond");
const enqueued: TracePoint = tracePoint("monitor_qmp_in_band_enqueue");
const dequeued: TracePoint = tracePoint("monitor_qmp_in_band_dequeue");
const commandInBand: TracePoint = tracePoint("monitor_qmp_cmd_in_band");
const errorInBand: TracePoint = tracePoint("monitor_qmp_err_in_band");
const suspended: TracePoint = tracePoint("monitor_suspend");
const clientTooSlow: TracePoint = tracePoint("monitor_qmp_client_too_slow");

/** What a session needs of the monitor. */
export interface SessionServices {
  readonly executor: CommandExecutor;
  readonly events: EventQueue;
  readonly version: VersionInfo;
  readonly clock: Clock;
}

export interface SessionOptions {
  /** Messages over several lines: `-mon pretty=on`. */
  readonly pretty?: boolean;
}

/**
 * A conversation with one client, from the greeting to the end of the stream.
 *
 *   negotiating ──qmp_capabilities──▶ commands
 *
 * Requests are answered in their order, each when the one before it is done, also what is no request at all. Events go to a client who
 * has negotiated. When the client sends no more, what it has sent is still answered.
 */
export class MonitorSession implements ByteStreamListener, CapabilitySession {
  readonly #stream: ByteStream;
  readonly #services: SessionServices;
  readonly #pretty: boolean;
  readonly #output: MonitorOutput;
  readonly #json = new JsonStream();
  readonly #queue: JsonItem[] = [];
  readonly #stopListening: () => void;
  #negotiated = false;
  #oob = false;
  #running = false;
  #paused = false;
  #ended = false;
  #closed = false;

  constructor(stream: ByteStream, services: SessionServices, { pretty = false }: SessionOptions = {}) {
    this.#stream = stream;
    this.#services = services;
    this.#pretty = pretty;
    this.#output = new MonitorOutput(stream);
    this.#send({ QMP: { version: services.version, capabilities: CAPABILITIES } });
    this.#stopListening = services.events.listen((event) => this.#hear(event));
    stream.attach(this);
  }

  /** Ends the conversation. Resolves when all that was said has been sent. */
  async end(): Promise<void> {
    if (this.#closed) return;
    const ended = this.#output.end();
    this.#close();
    await ended;
  }

  negotiate(capabilities: readonly string[]): void {
    if (this.#negotiated)
      throw new QmpError("Capabilities negotiation is already complete, command ignored", "CommandNotFound");
    this.#negotiated = true;
    this.#oob = capabilities.includes("oob");
  }

  onData(bytes: Uint8Array): void {
    this.#json.push(bytes);
    this.#read();
  }

  onDrain(): void {
    this.#output.drained();
  }

  onEnd(): void {
    this.#ended = true;
    if (!this.#running) void this.end();
  }

  onClose(): void {
    this.#close();
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopListening();
    this.#queue.length = 0;
    this.#output.closed();
  }

  /** Takes as many requests from what has arrived as may wait; the rest waits unread. */
  #read(): void {
    while (this.#queue.length < MAX_QUEUED_REQUESTS) {
      const item = this.#json.next();
      if (item === undefined) {
        const wasPaused = this.#paused;
        this.#paused = false;
        if (wasPaused) this.#resume();
        break;
      }
      if (enqueued.enabled) enqueued.emit({ mon: this.#stream.name, len: this.#queue.length });
      this.#queue.push(item);
    }
    if (this.#queue.length === MAX_QUEUED_REQUESTS && !this.#paused) {
      this.#paused = true;
      if (suspended.enabled) suspended.emit({ mon: this.#stream.name, cnt: 1 });
      this.#stream.pause();
    }
    if (!this.#running && this.#queue.length > 0) void this.#run();
  }

  async #run(): Promise<void> {
    this.#running = true;
    const { executor, clock } = this.#services;
    const pacer = new Pacer(clock);
    for (let item = this.#queue.shift(); item !== undefined; item = this.#queue.shift()) {
      await this.#output.untilBelow(MAX_REPLY_BACKLOG_BYTES);
      if (dequeued.enabled) dequeued.emit({ mon: this.#stream.name, len: this.#queue.length });
      const next = item;
      await executor.inTurn(async () => {
        // Who has left is not waited for, and what it asked is not done.
        if (!this.#closed) this.#send(await this.#answer(next));
      });
      if (this.#closed || executor.stopped) break;
      this.#read();
      if (pacer.step()) await pacer.yield();
    }
    this.#running = false;
    if (this.#ended && !executor.stopped) await this.end();
  }

  /** The reply to a request, or to what is none. */
  async #answer(item: JsonItem): Promise<object> {
    if ("error" in item) {
      if (errorInBand.enabled) errorInBand.emit({ desc: item.error });
      return errorReply(new QmpError(item.error), undefined);
    }
    if (commandBegins.enabled) commandBegins.emit({ mon: this.#stream.name, req: printJson(item.value) });
    const id = requestId(item.value);
    if (commandInBand.enabled) commandInBand.emit({ id: id === undefined ? "" : printJson(id) });
    try {
      const result = await this.#execute(item.value);
      return { return: result, id };
    } catch (error) {
      if (error instanceof QmpError || error instanceof BlockError) return errorReply(error, id);
      throw error;
    }
  }

  async #execute(value: JsonValue): Promise<unknown> {
    const { executor } = this.#services;
    const request = parseRequest(value, this.#oob);
    if (!this.#negotiated && request.name !== "qmp_capabilities")
      throw new QmpError("Expecting capabilities negotiation with 'qmp_capabilities'", "CommandNotFound");
    // There is no command that may be run past others.
    if (request.outOfBand && executor.has(request.name))
      throw new QmpError(`The command ${request.name} does not support OOB`);
    return await executor.execute(request.name, request.arguments, { session: this });
  }

  #hear(event: QmpEvent): void {
    if (!this.#negotiated || this.#closed) return;
    this.#send(event);
    if (this.#output.backlogBytes <= MAX_EVENT_BACKLOG_BYTES) return;
    if (clientTooSlow.enabled) clientTooSlow.emit({ mon: this.#stream.name, backlogBytes: this.#output.backlogBytes });
    this.#stream.close();
  }

  #resume(): void {
    if (suspended.enabled) suspended.emit({ mon: this.#stream.name, cnt: -1 });
    this.#stream.resume();
  }

  #send(message: object): void {
    if (responded.enabled) responded.emit({ mon: this.#stream.name, resp: printJson(message) });
    this.#output.send(`${printJson(message, { pretty: this.#pretty })}\r\n`);
  }
}

/** With an id it comes first, where a result has it last: so QEMU prints them. */
function errorReply(error: QmpError | BlockError, id: JsonValue | undefined): object {
  const errorClass = error instanceof QmpError ? error.errorClass : "GenericError";
  return { id, error: { class: errorClass, desc: error.message } };
}
