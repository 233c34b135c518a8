// A case: one look at one requirement.

import type { DeviceUnderTest } from "./device-under-test.ts";
import { type Requirement, requirement } from "./requirement.ts";
import type { SubjectOptions } from "./subject.ts";

/** The disk that a case gets unless it wants another: 4 MiB. */
const DEFAULT_CAPACITY_SECTORS = 8192;

/** One look at one requirement; more may look at the same one. */
export interface ConformanceCase {
  /** The requirement's id first: `STAT-DEV-001 uses no buffer before DRIVER_OK`. Unique within the suite. */
  readonly title: string;
  readonly requirement: Requirement;
  /** The device that it needs, but for the interface and the layout of the ring, which are the variant's. */
  readonly subject: Omit<SubjectOptions, "legacy" | "packed">;
  /** Throws a `ViolationError` or a `CaseSkippedError` through the methods of `DeviceUnderTest`; returns when all is well. */
  run(device: DeviceUnderTest): Promise<void> | void;
}

/** What a case wants of its device; the rest is as `DEFAULT`: 4 MiB, writable, one queue. */
export type SubjectWish = Partial<ConformanceCase["subject"]>;

const DEFAULT: ConformanceCase["subject"] = {
  capacitySectors: DEFAULT_CAPACITY_SECTORS,
  readOnly: false,
  queues: 1,
  bigEndian: false,
};

/** Makes a case of the requirement `id`; `promise` goes on with the title. */
export function conformanceCase(
  id: string,
  promise: string,
  run: ConformanceCase["run"],
  subject: SubjectWish = {},
): ConformanceCase {
  return { title: `${id} ${promise}`, requirement: requirement(id), subject: { ...DEFAULT, ...subject }, run };
}
