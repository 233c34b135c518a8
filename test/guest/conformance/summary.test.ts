// What a requirement's standing is, from what its cases came to.
import { describe, expect, it } from "vitest";
import { isClean, summarise } from "../../../guest/conformance/summary.ts";
import { madeUpRun } from "./support/made-up-run.ts";

function standingOf(id: string): string {
  return madeUpRun.requirements.find(({ requirement }) => requirement.id === id)!.standing;
}

describe("summarise", () => {
  it("keeps broken duties apart from advice that is not followed", () => {
    expect(standingOf("STAT-DEV-001")).toBe("violated");
    expect(standingOf("STAT-DEV-003")).toBe("deviates");
  });

  it("accuses no legacy device", () => {
    expect(standingOf("STAT-DEV-005")).toBe("differs");
  });

  it("tells of a lost device, unless it was found to break the requirement elsewhere", () => {
    expect(standingOf("STAT-DEV-008")).toBe("lost");
    expect(standingOf("MMIO-DEV-028")).toBe("violated");
  });

  it("tells a fault of the suite from one of the device", () => {
    expect(standingOf("FEAT-DEV-004")).toBe("error");
  });

  it("gives the reason of what was not looked at", () => {
    const skipped = madeUpRun.requirements.find(({ requirement }) => requirement.id === "STAT-DEV-009");
    expect(skipped).toMatchObject({ standing: "skipped", reason: "the host cannot hold requests back" });
    const unseen = madeUpRun.requirements.find(({ requirement }) => requirement.id === "FEAT-DEV-008");
    expect(unseen).toMatchObject({ standing: "not examined", reason: "cannot be seen from outside" });
  });

  it("counts every requirement once", () => {
    const sum = Object.values(madeUpRun.counts).reduce((total, count) => total + count, 0);
    expect(sum).toBe(madeUpRun.requirements.length);
    expect(madeUpRun.counts).toMatchObject({
      violated: 2,
      deviates: 1,
      differs: 1,
      lost: 1,
      error: 1,
      kept: 1,
      skipped: 2,
    });
  });
});

describe("isClean", () => {
  it("is false as soon as something was found, true for differences of legacy devices and skips", () => {
    expect(isClean(madeUpRun)).toBe(false);
    const harmless = madeUpRun.requirements.filter(({ standing }) => ["kept", "skipped", "differs"].includes(standing));
    const summary = summarise(
      "harmless",
      harmless.map(({ requirement }) => requirement),
      harmless.flatMap(({ results }) => results),
    );
    expect(summary.requirements).toHaveLength(4);
    expect(isClean(summary)).toBe(true);
  });
});
