// A device that can be suspended, made of one that cannot: VIRTIO 1.4 §3.4 in front of its registers. It can break single rules.
import { Conversation, RecordedTarget } from "../../../guest/conformance/conversation.ts";
import type { SubjectFactory } from "../../../guest/conformance/subject.ts";
import type { GuestTarget } from "../../../guest/target.ts";
import type { Clock } from "../../../src/base/clock.ts";
import type { AccessWidth } from "../../../src/memory/bus.ts";

const DEVICE_FEATURES = 0x010;
const DEVICE_FEATURES_SEL = 0x014;
const DRIVER_FEATURES = 0x020;
const DRIVER_FEATURES_SEL = 0x024;
const QUEUE_NOTIFY = 0x050;
const INTERRUPT_STATUS = 0x060;
const STATUS = 0x070;
const CONFIG = 0x100;
const DRIVER_OK = 4;
const SUSPEND = 16;
const CONFIG_CHANGE = 2;
/** Feature 43, in word 1. */
const SUSPEND_FEATURE = 1 << 11;

/** The rule that a device breaks, by the requirement that says it. */
export type SuspendFault =
  | "SUSP-DEV-001"
  | "SUSP-DEV-002"
  | "SUSP-DEV-003"
  | "SUSP-DEV-004"
  | "SUSP-DEV-005"
  | "SUSP-DEV-006"
  | "SUSP-DEV-007"
  | "SUSP-DEV-008";

/** `inner`, with SUSPEND offered and kept, but for the rule of `fault`. */
export function suspendingSubjects(inner: SubjectFactory, fault?: SuspendFault): SubjectFactory {
  return {
    name: "a device that can be suspended",
    async open(options) {
      const subject = await inner.open(options);
      if ("unavailable" in subject) return subject;
      const target = new SuspendingTarget(subject.target, fault);
      const { host } = subject;
      const holdRequests = async (): Promise<() => Promise<void>> => {
        const release = await host.holdRequests!();
        target.busy = true;
        return async () => {
          await release();
          target.busy = false;
        };
      };
      return { target, host: { ...host, holdRequests }, close: () => subject.close() };
    },
  };
}

class SuspendingTarget extends RecordedTarget {
  /** Where something is to go wrong a hundred times as fast as the true one, so that the suite's patience ends soon. */
  override readonly clock: Clock;
  /** A request is under way: suspension has to wait. */
  busy = false;
  readonly #inner: GuestTarget;
  readonly #fault: SuspendFault | undefined;
  #offeredWord = 0;
  #acceptedWord = 0;
  #asked = false;
  #suspended = false;
  #notifications: number[] = [];

  constructor(inner: GuestTarget, fault: SuspendFault | undefined) {
    super(inner, new Conversation());
    const { clock } = inner;
    const speed = fault === undefined ? 1 : 100;
    this.clock = {
      nowMs: () => speed * clock.nowMs(),
      yield: () => clock.yield(),
      setTimer: (delayMs, run) => clock.setTimer(delayMs, run),
    };
    this.#inner = inner;
    this.#fault = fault;
  }

  override readRegister(offset: number, width: AccessWidth = 4): number {
    const value = this.#inner.readRegister(offset, width);
    if (offset === DEVICE_FEATURES && this.#offeredWord === 1) return (value | SUSPEND_FEATURE) >>> 0;
    const tells = this.#suspended ? this.#fault === "SUSP-DEV-004" : this.#fault !== "SUSP-DEV-005";
    if (offset === INTERRUPT_STATUS && !tells) return value & ~CONFIG_CHANGE;
    return offset === STATUS ? this.#readStatus(value) : value;
  }

  override writeRegister(offset: number, value: number, width: AccessWidth = 4): void {
    if (offset === STATUS) return this.#writeStatus(value);
    if (offset === QUEUE_NOTIFY && this.#suspended && this.#fault !== "SUSP-DEV-003") {
      this.#notifications.push(value);
      return;
    }
    if (offset >= CONFIG && this.#suspended && this.#fault !== "SUSP-DEV-002") return;
    if (offset === DEVICE_FEATURES_SEL) this.#offeredWord = value;
    if (offset === DRIVER_FEATURES_SEL) this.#acceptedWord = value;
    const own = offset === DRIVER_FEATURES && this.#acceptedWord === 1 ? SUSPEND_FEATURE : 0;
    this.#inner.writeRegister(offset, (value & ~own) >>> 0, width);
  }

  #readStatus(value: number): number {
    const waits = this.busy && this.#fault !== "SUSP-DEV-008";
    if (this.#asked && !waits && this.#fault !== "SUSP-DEV-006") {
      this.#asked = false;
      this.#suspended = true;
    }
    if (this.#suspended) return (value & ~DRIVER_OK) | SUSPEND;
    return this.#asked ? value | SUSPEND : value;
  }

  #writeStatus(value: number): void {
    if (value === 0) {
      this.#asked = false;
      this.#suspended = false;
    } else if (this.#suspended) {
      if ((value & DRIVER_OK) !== 0 && this.#fault !== "SUSP-DEV-007") this.#resume();
      return;
    } else if ((value & SUSPEND) !== 0) {
      const live = (this.#inner.readRegister(STATUS) & DRIVER_OK) !== 0;
      this.#asked = live || this.#fault === "SUSP-DEV-001";
      if (live) return;
    }
    this.#inner.writeRegister(STATUS, value & ~SUSPEND);
  }

  #resume(): void {
    this.#suspended = false;
    for (const value of this.#notifications.splice(0)) this.#inner.writeRegister(QUEUE_NOTIFY, value);
  }
}
