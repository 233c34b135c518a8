// qtest's interrupts: docs/reference/monitor.md §7.

import type { InterceptOutcome, InterruptIntercept, InterruptTopology } from "./interrupt-intercept.ts";
import { addressAt, MalformedCommandError, type QtestCommands, unsignedAt, wordAt } from "./qtest-command.ts";

const ANSWERS: Readonly<Record<InterceptOutcome, string>> = {
  ok: "OK",
  "unknown device": "FAIL Unknown device",
  "already enabled": "FAIL IRQ intercept already enabled",
};
/** What inputs without a name are called. */
const UNNAMED = "unnamed-gpio-in";

/** irq_intercept_in, irq_intercept_out and set_irq_in. */
export function interruptCommands(intercept: InterruptIntercept, topology: InterruptTopology): QtestCommands {
  return {
    irq_intercept_in: (words) => ANSWERS[intercept.interceptIn(wordAt(words, 1))],
    irq_intercept_out: (words) => ANSWERS[intercept.interceptOut(wordAt(words, 1), words[2])],
    set_irq_in: (words) => {
      const [device, name] = [wordAt(words, 1), wordAt(words, 2)];
      const pin = addressAt(words, 3);
      const raised = unsignedAt(words, 4) !== 0n;
      const path = topology.resolve(device);
      if (path === undefined) return "FAIL Unknown device";
      if (name !== UNNAMED || !intercept.setInput(path, pin, raised)) {
        throw new MalformedCommandError(`set_irq_in: ${path} has no input ${name} ${pin}`);
      }
      return "OK";
    },
  };
}
