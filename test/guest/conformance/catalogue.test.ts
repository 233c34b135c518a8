// The catalogue of requirements, and what the suite makes of it.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { deviceCatalogue } from "../../../guest/conformance/catalogue-device.ts";
import { driverCatalogue } from "../../../guest/conformance/catalogue-driver.ts";
import { gateDemand, gateIsOpen } from "../../../guest/conformance/feature-gate.ts";
import { reasonNotExamined } from "../../../guest/conformance/not-examined.ts";
import { deviceRequirements, driverRequirements } from "../../../guest/conformance/requirement.ts";
import { conformanceCases } from "../../../guest/conformance/suite.ts";
import { variants } from "../../../guest/conformance/variant.ts";

const [modernSplit, modernPacked, legacySplit] = variants as [never, never, never];

describe("catalogue", () => {
  it("is docs/reference/virtio-conformance.tsv, row by row", () => {
    const table = readFileSync(new URL("../../../docs/reference/virtio-conformance.tsv", import.meta.url), "utf8");
    const rows = table.trimEnd().split("\n").slice(1);
    const embedded = new Set(`${deviceCatalogue}${driverCatalogue}`.trimEnd().split("\n"));
    expect(embedded).toEqual(new Set(rows));
    expect(deviceRequirements.length + driverRequirements.length).toBe(rows.length);
  });

  it("has no two rows of one id", () => {
    const ids = [...deviceRequirements, ...driverRequirements].map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });
});

describe("feature gate", () => {
  const gateOf = (id: string) => deviceRequirements.find((row) => row.id === id)!.gate;

  it("keeps cases of the modern interface from a legacy device", () => {
    expect(gateIsOpen(gateOf("STAT-DEV-001"), modernSplit)).toBe(true);
    expect(gateIsOpen(gateOf("STAT-DEV-001"), legacySplit)).toBe(false);
    expect(gateIsOpen(gateOf("STAT-DEV-005"), legacySplit)).toBe(true);
  });

  it("keeps cases of the split ring from a packed one", () => {
    expect(gateIsOpen(gateOf("SPLIT-DEV-001"), modernSplit)).toBe(true);
    expect(gateIsOpen(gateOf("SPLIT-DEV-001"), modernPacked)).toBe(false);
    expect(gateIsOpen(gateOf("PACK-DEV-001"), modernPacked)).toBe(true);
  });

  it("asks for what has to be negotiated, and tells what is missing", () => {
    const gate = gateOf("SPLIT-DEV-025"); // VIRTIO_F_IN_ORDER,!VIRTIO_F_RING_PACKED
    expect(gateDemand(gate, modernSplit, 1n << 35n)).toEqual({ wanted: [35], unwanted: [34], missing: [] });
    expect(gateDemand(gate, modernSplit, 0n)).toEqual({ wanted: [], unwanted: [34], missing: [35] });
  });

  it("takes the first feature of an alternative that is offered", () => {
    const gate = gateOf("BLK-DEV-039"); // DISCARD/WRITE_ZEROES/SECURE_ERASE
    expect(gateDemand(gate, modernSplit, (1n << 14n) | (1n << 16n)).wanted).toEqual([14]);
    expect(gateDemand(gate, modernSplit, 0n).missing).toEqual([13, 14, 16]);
  });
});

describe("suite", () => {
  it("has no two cases of one title, and each title begins with its requirement's id", () => {
    const titles = conformanceCases.map(({ title }) => title);
    expect(new Set(titles).size).toBe(titles.length);
    for (const { title, requirement } of conformanceCases) expect(title.split(" ")[0]).toBe(requirement.id);
  });

  it("has cases for every requirement on a device that can be seen from outside, or a reason why not", () => {
    const examined = new Set(conformanceCases.map(({ requirement }) => requirement.id));
    const forgotten = deviceRequirements.filter((row) => !examined.has(row.id) && reasonNotExamined(row) === undefined);
    expect(forgotten.map(({ id }) => id)).toEqual([]);
  });

  it("has no case for a requirement of which it says that it is not examined", () => {
    const excused = conformanceCases.filter(
      ({ requirement }) => requirement.observable && reasonNotExamined(requirement) !== undefined,
    );
    expect(excused.map(({ title }) => title)).toEqual([]);
  });
});
