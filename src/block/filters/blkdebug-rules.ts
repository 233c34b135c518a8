// The rules by which blkdebug injects errors: docs/reference/corrections.md E.

import type { Errno } from "../../base/errors.ts";
import { errnoOfNumber } from "./errno-numbers.ts";

/** As QMP's BlkdebugIOType. */
export type BlkdebugIoType = "read" | "write" | "write-zeroes" | "discard" | "flush" | "block-status";

/** As QMP's BlkdebugInjectErrorOptions. */
export interface InjectErrorOptions {
  readonly event: string;
  /** The machine's state in which the event makes the rule active; any by default. */
  readonly state?: number;
  /** An error number of Linux; EIO by default. */
  readonly errno?: number;
  /** The rule is for requests that touch this sector of 512 bytes; for all by default, or when it is -1. */
  readonly sector?: number;
  /** The rule goes with the first request that it fails. */
  readonly once?: boolean;
  /** The error is there before the call of the driver returns. */
  readonly immediately?: boolean;
  /** All kinds of requests by default, but not block status. */
  readonly iotype?: BlkdebugIoType;
}

/** As QMP's BlkdebugSetStateOptions. */
export interface SetStateOptions {
  readonly event: string;
  /** The state in which the event counts; any by default. */
  readonly state?: number;
  readonly new_state: number;
}

/** An error to fail a request with. */
export interface Injection {
  readonly errno: Errno;
  readonly immediately: boolean;
}

const SECTOR_BYTES = 512;
const INITIAL_STATE = 1;

/**
 * A state machine and the rules that hang on it. An event for which there are rules in the present state makes these the active
 * ones, in place of those before; then the state changes, by the first rule given for it. The event `none` happens when the node
 * is opened, and never again. A request fails by the first active rule that concerns it.
 */
export class BlkdebugRules {
  #state = INITIAL_STATE;
  #inject: readonly InjectErrorOptions[];
  readonly #setState: readonly SetStateOptions[];
  #active: readonly InjectErrorOptions[] = [];

  constructor(inject: readonly InjectErrorOptions[], setState: readonly SetStateOptions[]) {
    this.#inject = inject;
    this.#setState = setState;
    this.happen("none");
  }

  happen(event: string): void {
    const concerned = this.#inject.filter((rule) => rule.event === event && this.#holds(rule));
    if (concerned.length > 0) this.#active = concerned;
    const change = this.#setState.find((rule) => rule.event === event && this.#holds(rule));
    if (change !== undefined) this.#state = change.new_state;
  }

  /** The error that a request is to fail with. A flush has no bytes: no sector lies in it. */
  injectionFor(kind: BlkdebugIoType, offsetBytes: number, lengthBytes: number): Injection | undefined {
    const rule = this.#active.find((candidate) => concerns(candidate, kind, offsetBytes, lengthBytes));
    if (rule === undefined) return undefined;
    const errno = errnoOfNumber(rule.errno ?? 5);
    if (errno === undefined) return undefined;
    if (rule.once === true) {
      this.#active = this.#active.filter((other) => other !== rule);
      this.#inject = this.#inject.filter((other) => other !== rule);
    }
    return { errno, immediately: rule.immediately === true };
  }

  #holds({ state = 0 }: { readonly state?: number }): boolean {
    return state === 0 || state === this.#state;
  }
}

function concerns(rule: InjectErrorOptions, kind: BlkdebugIoType, offset: number, length: number): boolean {
  // A rule without a type is for requests, and asking what a range holds is none (corrections.md E; golden rnd-1040).
  if (rule.iotype === undefined ? kind === "block-status" : rule.iotype !== kind) return false;
  const { sector = -1 } = rule;
  if (sector === -1) return true;
  const at = sector * SECTOR_BYTES;
  return at >= offset && at < offset + length;
}
