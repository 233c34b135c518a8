// One row of the catalogue: a requirement of VIRTIO 1.4, in the words of docs/reference/virtio-conformance.tsv.

import { assert } from "../../src/base/assert.ts";
import { deviceCatalogue } from "./catalogue-device.ts";
import { driverCatalogue } from "./catalogue-driver.ts";
import { type FeatureGate, parseFeatureGate } from "./feature-gate.ts";

/** How binding a requirement is, by RFC 2119; the standard's SHALL is MUST. */
export type RequirementLevel = "MUST" | "MUST NOT" | "SHOULD" | "SHOULD NOT" | "MAY";

/** A requirement on a device or on a driver. */
export interface Requirement {
  /** Such as `STAT-DEV-001`. */
  readonly id: string;
  /** Number and title of the section; `[text]` where the standard describes without a normative block. */
  readonly section: string;
  readonly actor: "device" | "driver";
  readonly level: RequirementLevel;
  /** When it holds. */
  readonly gate: FeatureGate;
  /** A guest can see a violation (of a device), or a recording device can (of a driver). */
  readonly observable: boolean;
  /** A paraphrase. */
  readonly text: string;
  /** How one would look for a violation. */
  readonly howToCheck: string;
}

/** Every requirement on a device, in the order of the standard. */
export const deviceRequirements: readonly Requirement[] = parseCatalogue(deviceCatalogue);
/** Every requirement on a driver, in the order of the standard. */
export const driverRequirements: readonly Requirement[] = parseCatalogue(driverCatalogue);

const byId = new Map([...deviceRequirements, ...driverRequirements].map((row) => [row.id, row]));

/** The requirement of this id, which there must be. */
export function requirement(id: string): Requirement {
  const row = byId.get(id);
  assert(row !== undefined, `no requirement ${id} in the catalogue`);
  return row;
}

/** Whether a violation is one of a duty: MUST or MUST NOT. */
export function isMandatory(level: RequirementLevel): boolean {
  return level === "MUST" || level === "MUST NOT";
}

function parseCatalogue(table: string): readonly Requirement[] {
  return table.trimEnd().split("\n").map(parseRow);
}

function parseRow(line: string): Requirement {
  const [id = "", section = "", actor = "", level = "", gate = "", observable = "", text = "", howToCheck = ""] =
    line.split("\t");
  assert(actor === "device" || actor === "driver", `${id}: actor is '${actor}'`);
  return {
    id,
    section,
    actor,
    level: parseLevel(id, level),
    gate: parseFeatureGate(gate),
    observable: observable === "yes",
    text,
    howToCheck,
  };
}

function parseLevel(id: string, level: string): RequirementLevel {
  switch (level) {
    case "MUST":
    case "MUST NOT":
    case "SHOULD":
    case "SHOULD NOT":
    case "MAY":
      return level;
    default:
      throw new Error(`${id}: level is '${level}'`);
  }
}
