// What a user is told who has asked for nothing: warnings that go to a program's standard error.

import { subscribeTrace, tracePoint } from "./trace.ts";

const warnReport = tracePoint("warn_report");

/** Tells of something that went wrong and is not the answer to a command. QEMU's text, without the program's name; `bare`: for good. */
export function warn(message: string, { bare = false }: { readonly bare?: boolean } = {}): void {
  if (warnReport.enabled) warnReport.emit({ message, bare });
}

/** Calls `listener` for each warning. The function returned ends it. */
export function onWarning(listener: (message: string, bare: boolean) => void): () => void {
  return subscribeTrace("warn_report", (_name, { message, bare }) => listener(String(message), bare === true));
}
