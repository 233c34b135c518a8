// A guest target whose device is in another thread: RAM is shared, registers are asked for, the interrupt is a word.

import type { Clock } from "../../src/base/clock.ts";
import type { AccessWidth } from "../../src/memory/bus.ts";
import { GuestMemory } from "../../src/memory/guest-memory.ts";
import { VIRTIO_MMIO_QUEUE_NOTIFY } from "../constants/mmio.ts";
import { TargetLostError } from "../errors.ts";
import { checkRegister, cutToWidth, LocalRamTarget } from "./local-ram-target.ts";
import {
  KIND_READ,
  KIND_WRITE,
  type RegisterConnection,
  STATE_ANSWERED,
  STATE_ASKED,
  STATE_CLOSED,
  WORD_INTERRUPT,
  WORD_KIND,
  WORD_NEWS,
  WORD_OFFSET,
  WORD_STATE,
  WORD_VALUE,
  WORD_WIDTH,
} from "./register-connection.ts";

/** How to reach the device. */
export interface ThreadTargetOptions {
  /** How long one access may take before the device's thread counts as lost: 10,000 by default. */
  readonly timeoutMs?: number;
  /** Time; the system's by default. */
  readonly clock?: Clock;
}

const DEFAULT_TIMEOUT_MS = 10_000;

/**
 * The guest's end of a `RegisterServer`. Driver and device touch the rings at the same time, as a CPU and a real device do. An
 * access to a register blocks this thread until the device's has answered, but for a store to QueueNotify, which is on its way
 * when it returns, ahead of every later access: a bus posts writes like that.
 *
 * A thread that must not block, such as a browser's main one, cannot have a `ThreadTarget`. Accesses throw a `TargetLostError`
 * once the server is closed, does not answer in time, or its device has thrown. `close` lets this thread end.
 */
export class ThreadTarget extends LocalRamTarget {
  readonly #connection: RegisterConnection;
  readonly #timeoutMs: number;
  readonly #listeners = new Set<() => void>();
  #lost: string | undefined;

  constructor(connection: RegisterConnection, options: ThreadTargetOptions = {}) {
    const { ram: buffer, ramOffsetBytes: byteOffset, ramBase: baseAddress, ramSizeBytes: sizeBytes, port } = connection;
    super(new GuestMemory({ baseAddress, sizeBytes, buffer, byteOffset }), options.clock);
    this.#connection = connection;
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    port.addEventListener("message", () => this.#takeNews());
    port.start();
  }

  override readRegister(offset: number, width: AccessWidth = 4): number {
    checkRegister(offset, width, this.#connection.bankBytes);
    this.#ask(KIND_READ, offset, width, 0);
    return this.#connection.words[WORD_VALUE]! >>> 0;
  }

  override writeRegister(offset: number, value: number, width: AccessWidth = 4): void {
    checkRegister(offset, width, this.#connection.bankBytes);
    if (offset === VIRTIO_MMIO_QUEUE_NOTIFY && width === 4) {
      this.#checkThere();
      this.#connection.port.postMessage(value >>> 0);
      return;
    }
    this.#ask(KIND_WRITE, offset, width, cutToWidth(value, width));
  }

  override get interruptRaised(): boolean {
    return Atomics.load(this.#connection.words, WORD_INTERRUPT) !== 0;
  }

  override onInterrupt(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Lets go of the device, which stays as it is. */
  close(): void {
    this.#lost ??= "the target was closed";
    this.#listeners.clear();
    this.#connection.port.close();
  }

  #ask(kind: number, offset: number, width: AccessWidth, value: number): void {
    this.#checkThere();
    const { words, port } = this.#connection;
    words[WORD_KIND] = kind;
    words[WORD_OFFSET] = offset;
    words[WORD_WIDTH] = width;
    words[WORD_VALUE] = value;
    // Not over a server that is closing meanwhile.
    if (Atomics.compareExchange(words, WORD_STATE, STATE_ANSWERED, STATE_ASKED) === STATE_ANSWERED) {
      port.postMessage("access");
      // Woken, but still not answered: the notification was that of the access before, whose answer needed no waiting for.
      while (Atomics.load(words, WORD_STATE) === STATE_ASKED) {
        if (Atomics.wait(words, WORD_STATE, STATE_ASKED, this.#timeoutMs) !== "timed-out") continue;
        this.#lost = `no answer from the device's thread within ${this.#timeoutMs} ms`;
        break;
      }
    }
    const state = Atomics.load(words, WORD_STATE);
    if (state !== STATE_ANSWERED) {
      this.#lost ??= state === STATE_CLOSED ? "the register server was closed" : "the device threw";
    }
    this.#checkThere();
  }

  #checkThere(): void {
    if (this.#lost !== undefined) throw new TargetLostError(this.#lost);
  }

  /** News of a raised line. The level decides: what was served meanwhile needs no listener any more. */
  #takeNews(): void {
    Atomics.store(this.#connection.words, WORD_NEWS, 0);
    if (!this.interruptRaised) return;
    for (const listener of [...this.#listeners]) listener();
  }
}
