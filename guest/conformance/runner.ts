// Runs cases on devices, one after another, each on a device of its own, and goes on whatever happens to one.

import { VIRTIO_MMIO_VERSION } from "../constants/mmio.ts";
import { TargetLostError } from "../errors.ts";
import type { ConformanceCase } from "./case.ts";
import { Conversation } from "./conversation.ts";
import { DeviceUnderTest } from "./device-under-test.ts";
import { gateIsOpen } from "./feature-gate.ts";
import type { Subject, SubjectFactory } from "./subject.ts";
import type { Variant } from "./variant.ts";
import { CaseSkippedError, type Verdict, ViolationError } from "./verdict.ts";

/** How often, and how far apart, a lost device's obituary is asked for. */
const OBITUARY_WAITS = 10;
const OBITUARY_PAUSE_MS = 20;

/** What became of a case in a variant. */
export interface CaseResult {
  readonly conformanceCase: ConformanceCase;
  readonly variant: Variant;
  readonly verdict: Verdict;
}

/** What to run, and where. */
export interface RunOptions {
  readonly factory: SubjectFactory;
  readonly cases: readonly ConformanceCase[];
  readonly variants: readonly Variant[];
  /** Called after each case. */
  readonly onResult?: (result: CaseResult) => void;
  /** Once it is aborted no further case is begun, and what the last one came to is left out. */
  readonly signal?: AbortSignal;
}

/** The pairs of a case and a variant in which its requirement can hold, in the order in which they run. */
export function plannedRuns(
  options: Pick<RunOptions, "cases" | "variants">,
): readonly { readonly conformanceCase: ConformanceCase; readonly variant: Variant }[] {
  return options.variants.flatMap((variant) =>
    options.cases
      .filter((conformanceCase) => gateIsOpen(conformanceCase.requirement.gate, variant))
      .map((conformanceCase) => ({ conformanceCase, variant })),
  );
}

/** Runs every planned pair. Never rejects for what a device does. */
export async function runCases(options: RunOptions): Promise<readonly CaseResult[]> {
  const results: CaseResult[] = [];
  const aborted = (): boolean => options.signal?.aborted === true;
  for (const { conformanceCase, variant } of plannedRuns(options)) {
    if (aborted()) break;
    const verdict = await runCase(options.factory, conformanceCase, variant);
    if (aborted()) break; // what aborts the run may have ended the device with it
    const result = { conformanceCase, variant, verdict };
    results.push(result);
    options.onResult?.(result);
  }
  return results;
}

async function runCase(factory: SubjectFactory, conformanceCase: ConformanceCase, variant: Variant): Promise<Verdict> {
  const startedMs = performance.now();
  const conversation = new Conversation();
  const end = (outcome: Verdict["outcome"], reason?: string): Verdict => ({
    outcome,
    reason,
    conversation: outcome === "pass" || outcome === "skip" ? [] : conversation.lines(),
    elapsedMs: performance.now() - startedMs,
  });
  let subject: Subject | undefined;
  try {
    const wish = { ...conformanceCase.subject, legacy: variant.legacy, packed: variant.packed };
    const opened = await factory.open(wish);
    if ("unavailable" in opened) return end("skip", opened.unavailable);
    subject = opened;
    // One of the other version; what is of neither is looked at, and found out.
    const otherVersion = variant.legacy ? 2 : 1;
    if (subject.target.readRegister(VIRTIO_MMIO_VERSION) === otherVersion)
      return end("skip", `no device of version ${3 - otherVersion}`);
    const device = new DeviceUnderTest(subject, variant, conformanceCase, conversation);
    await conformanceCase.run(device);
    return end("pass", device.remarks.length === 0 ? undefined : device.remarks.join("; "));
  } catch (error) {
    if (error instanceof ViolationError) return end("fail", error.message);
    if (error instanceof CaseSkippedError) return end("skip", error.message);
    if (error instanceof TargetLostError) return end("lost", await lossOf(subject, error));
    return end("error", error instanceof Error ? (error.stack ?? error.message) : String(error));
  } finally {
    await subject?.close();
  }
}

/** Why the device's process is lost. The news of its end may come a little later than that of its sockets. */
async function lossOf(subject: Subject | undefined, error: TargetLostError): Promise<string> {
  if (subject?.obituary === undefined) return error.message;
  for (let waits = 0; waits < OBITUARY_WAITS && subject.obituary() === undefined; waits++) {
    await new Promise<void>((resolve) => subject.target.clock.setTimer(OBITUARY_PAUSE_MS, resolve));
  }
  const obituary = subject.obituary();
  return obituary === undefined ? error.message : `${error.message}: ${obituary}`;
}
