// The suite: every chapter's cases, in the order of the standard.

import type { ConformanceCase } from "./case.ts";
import { statusCases } from "./chapters/status.ts";

/** A group of cases, as reports show them. */
export interface Chapter {
  readonly title: string;
  readonly cases: readonly ConformanceCase[];
}

/** Every chapter. */
export const chapters: readonly Chapter[] = [{ title: "2.1 Device status field", cases: statusCases }];

/** Every case. */
export const conformanceCases: readonly ConformanceCase[] = chapters.flatMap(({ cases }) => cases);
