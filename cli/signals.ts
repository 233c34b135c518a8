// Ctrl-C, SIGTERM and whatever a script left uncaught: the run ends in order; a second signal ends it at once.

import { constants } from "node:os";
import { SignalError } from "./exit.ts";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Aborted by the first signal or uncaught error; `stop` gives both back to Node. */
export interface Ending {
  readonly signal: AbortSignal;
  stop(): void;
}

export function endOnSignals(): Ending {
  const controller = new AbortController();
  const onSignal = (name: NodeJS.Signals): void => {
    const error = new SignalError(name, constants.signals[name]);
    if (controller.signal.aborted) process.exit(error.exitCode);
    controller.abort(error);
  };
  const onUncaught = (error: unknown): void => {
    if (!controller.signal.aborted) controller.abort(error);
  };
  for (const name of SIGNALS) process.on(name, onSignal);
  process.on("uncaughtException", onUncaught);
  process.on("unhandledRejection", onUncaught);
  return {
    signal: controller.signal,
    stop: () => {
      for (const name of SIGNALS) process.off(name, onSignal);
      process.off("uncaughtException", onUncaught);
      process.off("unhandledRejection", onUncaught);
    },
  };
}
