// qtest's clock: docs/reference/monitor.md §7.

import { type QtestCommands, unsignedAt } from "./qtest-command.ts";
import type { VirtualClock } from "./virtual-clock.ts";

/** clock_step and clock_set. Both answer what time it is then, in nanoseconds. */
export function clockCommands(clock: VirtualClock): QtestCommands {
  const advanceTo = (ns: bigint): string => {
    clock.advanceTo(ns);
    return `OK ${clock.nowNs}`;
  };
  return {
    clock_step: (words) => {
      // Without a length of time: to the next timer.
      if (words.length === 1) return advanceTo(clock.nextDeadlineNs ?? clock.nowNs);
      return advanceTo(clock.nowNs + BigInt.asIntN(64, unsignedAt(words, 1)));
    },
    clock_set: (words) => advanceTo(BigInt.asIntN(64, unsignedAt(words, 1))),
  };
}
