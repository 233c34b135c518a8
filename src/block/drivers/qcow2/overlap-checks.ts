// Which tables of a qcow2 image no data may be written to: QMP's Qcow2OverlapChecks.

import type { OptionValue } from "../../graph-options.ts";

/** True for what is guarded. */
export interface OverlapChecks {
  readonly mainHeader: boolean;
  readonly activeL1: boolean;
  readonly activeL2: boolean;
  readonly refcountTable: boolean;
  readonly refcountBlock: boolean;
  readonly snapshotTable: boolean;
  readonly inactiveL1: boolean;
  readonly inactiveL2: boolean;
  readonly bitmapDirectory: boolean;
}

/** What can be checked in constant time, with what is in memory anyway, and with tables that are read for the purpose. */
const TEMPLATES = ["none", "constant", "cached", "all"];
const DEFAULT_TEMPLATE = "cached";

/** The member of QMP's that says it, and the first template that has it. */
const SECTIONS: Readonly<Record<keyof OverlapChecks, readonly [member: string, template: string]>> = {
  mainHeader: ["main-header", "constant"],
  activeL1: ["active-l1", "constant"],
  activeL2: ["active-l2", "cached"],
  refcountTable: ["refcount-table", "constant"],
  refcountBlock: ["refcount-block", "cached"],
  snapshotTable: ["snapshot-table", "constant"],
  inactiveL1: ["inactive-l1", "cached"],
  inactiveL2: ["inactive-l2", "all"],
  bitmapDirectory: ["bitmap-directory", "constant"],
};

/** Of a template's name, or of a template with exceptions; `cached` by default. The schema has checked the option. */
export function overlapChecksOf(option: OptionValue | undefined): OverlapChecks {
  const given = (typeof option === "object" && option !== null ? option : { template: option }) as Record<
    string,
    OptionValue | undefined
  >;
  const most = TEMPLATES.indexOf((given["template"] as string | undefined) ?? DEFAULT_TEMPLATE);
  const checks = Object.entries(SECTIONS).map(([name, [member, template]]) => [
    name,
    given[member] ?? TEMPLATES.indexOf(template) <= most,
  ]);
  return Object.fromEntries(checks) as unknown as OverlapChecks;
}
