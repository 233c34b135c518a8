// A qtest socket that can be spoken to synchronously: a thread has the socket, and the caller waits for it. docs/reference/monitor.md §7.

import type { Worker } from "node:worker_threads";
import { TargetLostError } from "../errors.ts";
import {
  ANSWER_BYTES,
  type ChannelBuffers,
  type ChannelRequest,
  CONTROL_INTERRUPT,
  CONTROL_LENGTH,
  CONTROL_STATE,
  CONTROL_WORDS,
  exchangeAfter,
  STATE_LOST,
  STATE_PENDING,
  stateOf,
} from "./qtest-channel-protocol.ts";
import { startThread } from "./thread.ts";

const DEFAULT_TIMEOUT_MS = 5_000;
/** The first connection waits for the thread to start. */
const MIN_CONNECT_TIMEOUT_MS = 10_000;

/** One connection at a time; the thread is kept from one to the next. `close` ends both. */
export class QtestChannel {
  readonly #worker: Worker;
  readonly #buffers: ChannelBuffers;
  readonly #timeoutMs: number;
  readonly #raisedListeners = new Set<() => void>();
  #lost: string | undefined = "not connected";
  #queue = "";
  #queued = 0;
  #exchangeNumber = 0;

  /** `timeoutMs`: how long an answer may take before the other end counts as hung. */
  constructor(options: { readonly timeoutMs?: number } = {}) {
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.#buffers = {
      control: new Int32Array(new SharedArrayBuffer(4 * CONTROL_WORDS)),
      answers: new Uint8Array(new SharedArrayBuffer(ANSWER_BYTES)),
    };
    this.#worker = startThread(import.meta.url, "./qtest-worker", this.#buffers);
    this.#worker.on("message", () => {
      for (const listener of this.#raisedListeners) listener();
    });
  }

  /** Connects to the server at the unix socket `path`, whatever the channel was connected to before. */
  connect(path: string): void {
    this.#lost = undefined;
    this.#queue = "";
    this.#queued = 0;
    this.#exchange(
      (exchange) => ({ kind: "connect", exchange, path }),
      Math.max(this.#timeoutMs, MIN_CONNECT_TIMEOUT_MS),
    );
  }

  /** Drops the connection. */
  disconnect(): void {
    this.#lost = "disconnected";
    this.#post({ kind: "disconnect" });
  }

  async close(): Promise<void> {
    this.#lost = "closed";
    await this.#worker.terminate();
  }

  /** The interrupt whose level `interruptRaised` tells; it must be intercepted. */
  watchInterrupt(interrupt: number): void {
    this.#post({ kind: "watch", interrupt });
  }

  get interruptRaised(): boolean {
    return Atomics.load(this.#buffers.control, CONTROL_INTERRUPT) === 1;
  }

  /** Calls `listener` when the interrupt has been raised; the function returned ends that. */
  onRaised(listener: () => void): () => void {
    this.#raisedListeners.add(listener);
    return () => this.#raisedListeners.delete(listener);
  }

  /** Sends a command whose answer is of no interest but that it must be OK: together with the next one that is waited for. */
  send(command: string): void {
    this.#queue += `${command}\n`;
    this.#queued++;
    if (this.#queued === 1024) this.flush();
  }

  /** Sends a command and returns what stands behind `OK ` in the answer. Any other answer is a loss. */
  ask(command: string): string {
    this.send(command);
    return this.flush();
  }

  /** Waits until everything sent is answered; what stands behind `OK ` in the last answer. */
  flush(): string {
    if (this.#queued === 0) return "";
    const commands = this.#queue;
    const count = this.#queued;
    this.#queue = "";
    this.#queued = 0;
    const lines = this.#exchange((exchange) => ({ kind: "commands", exchange, text: commands, count })).split("\n");
    const wrong = lines.findIndex((line) => !line.startsWith("OK"));
    if (wrong >= 0) return this.misunderstood(commands.split("\n")[wrong]!, lines[wrong]!);
    return lines.at(-1)!.slice(3);
  }

  /** Throws: what answers like this is no qtest server, or none any more. */
  misunderstood(command: string, answer: string): never {
    this.#lost = `qtest: '${command.slice(0, 80)}' was answered '${answer.slice(0, 80)}'`;
    this.#post({ kind: "disconnect" });
    throw new TargetLostError(this.#lost);
  }

  #exchange(request: (exchange: number) => ChannelRequest, timeoutMs: number = this.#timeoutMs): string {
    if (this.#lost !== undefined) throw new TargetLostError(this.#lost);
    const { control, answers } = this.#buffers;
    this.#exchangeNumber = exchangeAfter(this.#exchangeNumber);
    const exchange = this.#exchangeNumber;
    const pending = stateOf(exchange, STATE_PENDING);
    Atomics.store(control, CONTROL_STATE, pending);
    this.#post(request(exchange));
    if (Atomics.wait(control, CONTROL_STATE, pending, timeoutMs) === "timed-out") {
      this.#lost = `no answer within ${timeoutMs} ms`;
      this.#post({ kind: "disconnect" });
      throw new TargetLostError(this.#lost);
    }
    const text = new TextDecoder().decode(answers.slice(0, Atomics.load(control, CONTROL_LENGTH)));
    if (Atomics.load(control, CONTROL_STATE) === stateOf(exchange, STATE_LOST)) {
      this.#lost = text;
      throw new TargetLostError(text);
    }
    return text;
  }

  #post(request: ChannelRequest): void {
    this.#worker.postMessage(request);
  }
}
