// What moves a block driver's requests: it fills the rings, kicks, serves the interrupt, and notices a device that falls silent.

import { assert } from "../src/base/assert.ts";
import type { BlockRequest } from "./block-request.ts";
import { VIRTIO_MMIO_INTERRUPT_CONFIG_CHANGE, VIRTIO_MMIO_INTERRUPT_USED_BUFFER } from "./constants/mmio.ts";
import { GuestDriverError } from "./errors.ts";
import type { LiveConfig } from "./live-config.ts";
import type { RequestQueue } from "./request-queue.ts";
import type { SubmissionTurn } from "./submission-turn.ts";
import type { GuestTarget } from "./target.ts";
import type { VirtioMmioDriver } from "./virtio-mmio-driver.ts";
import { Watchdog } from "./watchdog.ts";

/** Data made available with one kick, at most: a device that does it all at once must not hold up everybody else. */
const MAX_KICK_BYTES = 1 << 20;
/** Interrupts acknowledged in a row, without a used buffer among them, after which the line counts as stuck. */
const MAX_IDLE_INTERRUPTS = 1000;

export interface RequestPumpOptions {
  readonly target: GuestTarget;
  readonly transport: VirtioMmioDriver;
  /** Which requests may still go in this turn of the event loop. */
  readonly turn: SubmissionTurn;
  /** How long the device may have a request. */
  readonly timeoutMs: number;
  /** The device cannot be driven any more, because of `error`. Calls `stop`. */
  readonly giveUp: (error: unknown) => void;
}

/**
 * Everything happens in `run`, which is never entered twice: it fills the ring, kicks, and serves the interrupt, until there
 * is nothing left to do. A device of the same process raises the line from within the kick; as on a CPU, the interrupt is
 * served when the store that caused it is over.
 */
export class RequestPump {
  readonly #target: GuestTarget;
  readonly #transport: VirtioMmioDriver;
  readonly #turn: SubmissionTurn;
  readonly #timeoutMs: number;
  readonly #giveUp: (error: unknown) => void;
  readonly #watchdog: Watchdog;
  /** From `start` to `stop`. */
  #requests: RequestQueue | undefined;
  #config: LiveConfig | undefined;
  #unsubscribe: (() => void) | undefined;
  #running = false;
  #plugs = 0;
  #awaitsTurn = false;

  constructor({ target, transport, turn, timeoutMs, giveUp }: RequestPumpOptions) {
    this.#target = target;
    this.#transport = transport;
    this.#turn = turn;
    this.#timeoutMs = timeoutMs;
    this.#giveUp = giveUp;
    this.#watchdog = new Watchdog(target.clock, timeoutMs, () => this.#tick());
  }

  /** The device is about to be live. */
  start(requests: RequestQueue, config: LiveConfig): void {
    this.#requests = requests;
    this.#config = config;
    this.#unsubscribe = this.#target.onInterrupt(() => this.run());
  }

  /** Nothing moves any more. */
  stop(): void {
    this.#requests = undefined;
    this.#unsubscribe?.();
    this.#watchdog.stop();
  }

  /** Takes a request in. It goes to the device now if there is room and it is not yet others' turn. */
  submit(request: BlockRequest): void {
    assert(this.#requests !== undefined, "submit: the driver is not started");
    this.#requests.push(request);
    if (this.#plugs === 0) this.run();
  }

  /** Holds requests back until `unplug`, so that they share one kick. Plugs nest. */
  plug(): void {
    this.#plugs++;
  }

  unplug(): void {
    assert(this.#plugs > 0, "unplug: not plugged");
    this.#plugs--;
    if (this.#plugs === 0) this.run();
  }

  /** Moves what can be moved. */
  run(): void {
    const requests = this.#requests;
    if (this.#running || requests === undefined) return;
    this.#running = true;
    try {
      let moved: boolean;
      do {
        moved = this.#fillRing(requests);
        requests.kick();
        // An abort may come from anywhere, also from within the kick.
        if (this.#isStopped()) break;
        moved = this.#serveInterrupt(requests) || moved;
      } while (moved && requests.hasWaiting && this.#plugs === 0 && !this.#awaitsTurn);
      if (requests.inFlight > 0 && !this.#isStopped()) this.#watchdog.start();
      else this.#watchdog.stop();
    } catch (error) {
      this.#giveUp(error);
    } finally {
      this.#running = false;
    }
  }

  /** Moves waiting requests into the ring: as many as fit, as one kick may carry, and as this turn allows. True if any. */
  #fillRing(requests: RequestQueue): boolean {
    let moved = false;
    let bytes = 0;
    while (requests.hasWaiting && this.#plugs === 0 && !this.#awaitsTurn && bytes < MAX_KICK_BYTES) {
      const othersTurn = this.#turn.next();
      if (othersTurn !== undefined) {
        this.#runAfter(othersTurn);
        break;
      }
      const submittedBytes = requests.submitFirst();
      if (submittedBytes < 0) break;
      moved = true;
      bytes += submittedBytes;
    }
    return moved;
  }

  // As a call, since the compiler takes the field for unchanged across other calls.
  #isStopped(): boolean {
    return this.#requests === undefined;
  }

  #runAfter(othersTurn: Promise<void>): void {
    this.#awaitsTurn = true;
    othersTurn.then(
      () => {
        this.#awaitsTurn = false;
        this.run();
      },
      (error: unknown) => this.#giveUp(error),
    );
  }

  /** Acknowledges and serves interrupts until the line is lowered. True when requests have ended. */
  #serveInterrupt(requests: RequestQueue): boolean {
    let ended = false;
    let idle = 0;
    while (this.#target.interruptRaised) {
      const cause = this.#transport.acknowledgeInterrupt();
      if (cause === 0) break;
      const count = (cause & VIRTIO_MMIO_INTERRUPT_USED_BUFFER) !== 0 ? requests.drain() : 0;
      if ((cause & VIRTIO_MMIO_INTERRUPT_CONFIG_CHANGE) !== 0) {
        this.#checkAlive();
        this.#config?.reread();
      }
      if (count > 0) {
        ended = true;
        idle = 0;
      } else if (++idle === MAX_IDLE_INTERRUPTS) {
        throw new GuestDriverError(
          "interrupt-stuck",
          `the line is raised after ${idle} acknowledged interrupts for nothing`,
        );
      }
    }
    return ended;
  }

  /** A device that needs a reset says so with a configuration change interrupt, if it still can: §2.1.2. */
  #checkAlive(): void {
    if (this.#transport.needsReset) {
      throw new GuestDriverError(
        "needs-reset",
        "the device has set DEVICE_NEEDS_RESET: nothing works until it is reset",
      );
    }
  }

  #tick(): void {
    const requests = this.#requests;
    if (requests === undefined) return;
    requests.tick++;
    try {
      this.#checkAlive();
      if (requests.hasSubmittedBefore(requests.tick - this.#watchdog.ticksAllowed)) {
        const lost = requests.hasUsed ? "; the device has used buffers without an interrupt" : "";
        throw new GuestDriverError("timeout", `a request has had no answer for ${this.#timeoutMs} ms${lost}`);
      }
    } catch (error) {
      this.#giveUp(error);
      return;
    }
    this.#watchdog.start();
  }
}
