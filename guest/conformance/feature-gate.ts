// When a requirement holds: the column feature-gate of docs/reference/virtio-conformance.tsv.

import { assert } from "../../src/base/assert.ts";
import { type FeatureSet, hasFeature } from "../constants/features.ts";
import { featureNumber } from "./feature-names.ts";

/** `LEGACY` as a feature number: not a feature, but whether the device is used through the legacy interface. */
const LEGACY = -1;

/** One word of a gate: a feature that is to be negotiated, or not. */
interface GateTerm {
  readonly feature: number;
  readonly wanted: boolean;
}

/** All clauses must hold; a clause holds when one of its terms does. The gate `-` has none. */
export interface FeatureGate {
  readonly text: string;
  readonly clauses: readonly (readonly GateTerm[])[];
}

/** Parses `-`, `A`, `!A`, `A,B` (both), `A/B` (either). */
export function parseFeatureGate(text: string): FeatureGate {
  if (text === "-") return { text, clauses: [] };
  const clauses = text.split(",").map((clause) => clause.split("/").map(parseTerm));
  return { text, clauses };
}

function parseTerm(word: string): GateTerm {
  const wanted = !word.startsWith("!");
  const name = wanted ? word : word.slice(1);
  const feature = name === "LEGACY" ? LEGACY : featureNumber(name);
  assert(feature !== undefined, `no feature ${name}`);
  return { feature, wanted };
}

/** How a device is used: the interface, and the features among which a choice has been made before any case runs. */
export interface GateContext {
  readonly legacy: boolean;
  /** Features that are negotiated, or left alone, whatever a case wants: those of the ring's layout. */
  readonly settled: ReadonlyMap<number, boolean>;
}

/** Whether the gate can hold at all in `context`, whatever else is negotiated. */
export function gateIsOpen(gate: FeatureGate, context: GateContext): boolean {
  return gate.clauses.every((clause) =>
    clause.some(({ feature, wanted }) => {
      if (feature === LEGACY) return context.legacy === wanted;
      const settled = context.settled.get(feature);
      return settled === undefined || settled === wanted;
    }),
  );
}

/** What a gate asks of negotiation with a device that offers some set of features. */
export interface GateDemand {
  /** To be accepted. */
  readonly wanted: readonly number[];
  /** Not to be accepted. */
  readonly unwanted: readonly number[];
  /** What makes the gate shut with this device: features that it lacks. */
  readonly missing: readonly number[];
}

/** What has to be negotiated so that the gate holds. Of a clause of several terms the first that can hold is taken. */
export function gateDemand(gate: FeatureGate, context: GateContext, offered: FeatureSet): GateDemand {
  const wanted: number[] = [];
  const unwanted: number[] = [];
  const missing: number[] = [];
  for (const clause of gate.clauses) {
    if (clause.some(({ feature, wanted: value }) => feature === LEGACY && context.legacy === value)) continue;
    const terms = clause.filter(({ feature }) => feature !== LEGACY);
    const possible = terms.filter(({ feature, wanted: value }) => !value || hasFeature(offered, feature));
    const term = possible[0];
    if (term === undefined) missing.push(...terms.map(({ feature }) => feature));
    else (term.wanted ? wanted : unwanted).push(term.feature);
  }
  return { wanted, unwanted, missing };
}
