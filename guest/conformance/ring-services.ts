// What the suite's rings need of the case that uses them.

import type { GuestAllocator } from "../allocator.ts";
import type { VirtioMmioRegisters } from "../registers.ts";
import type { GuestTarget } from "../target.ts";
import type { Conversation } from "./conversation.ts";

/** The target of a case, and how a ring says that the device broke it. */
export interface RingServices {
  readonly target: GuestTarget;
  readonly registers: VirtioMmioRegisters;
  readonly allocator: GuestAllocator;
  readonly conversation: Conversation;
  /** Ends the case as failed when `condition` is false. */
  check(condition: boolean, otherwise: string): void;
}
