// What a qtest channel and its thread share.

/** Room for the answers to one batch. */
export const ANSWER_BYTES: number = 4 << 20;

/** Indices into the control words. */
export const CONTROL_STATE = 0;
/** Bytes of the answers, or of the reason of a loss. */
export const CONTROL_LENGTH = 1;
/** The level of the interrupt that is watched. */
export const CONTROL_INTERRUPT = 2;
export const CONTROL_WORDS = 3;

/**
 * `CONTROL_STATE` is a state and the number of the exchange that it is the state of, so that what comes late of one that the
 * owner has given up is not taken for the answer to the next: under way, answered, or the socket is lost for good.
 */
export const STATE_PENDING = 0;
export const STATE_ANSWERED = 1;
export const STATE_LOST = 2;

const STATES = 4;
const MAX_EXCHANGES = 2 ** 28;

/** The number of the exchange after `exchange`. */
export function exchangeAfter(exchange: number): number {
  return (exchange + 1) % MAX_EXCHANGES;
}

/** What `CONTROL_STATE` holds. */
export function stateOf(exchange: number, state: number): number {
  return exchange * STATES + state;
}

/** Shared memory of both sides. */
export interface ChannelBuffers {
  readonly control: Int32Array<SharedArrayBuffer>;
  readonly answers: Uint8Array<SharedArrayBuffer>;
}

/** What the owner asks of the thread. `connect` and `commands` are answered through the shared memory. */
export type ChannelRequest =
  | { readonly kind: "connect"; readonly exchange: number; readonly path: string }
  | { readonly kind: "commands"; readonly exchange: number; readonly text: string; readonly count: number }
  | { readonly kind: "watch"; readonly interrupt: number }
  | { readonly kind: "disconnect" };
