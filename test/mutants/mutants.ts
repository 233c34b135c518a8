// Every mutant, and those that no conformance suite can catch.
import { blockMutants } from "./block-mutants.ts";
import type { Mutant } from "./mutant.ts";
import { registerMutants } from "./register-mutants.ts";
import { ringMutants } from "./ring-mutants.ts";

export const mutants: readonly Mutant[] = [...ringMutants, ...registerMutants, ...blockMutants];

const DRIVER_BROKE_IT_FIRST =
  "the driver has broken a rule before, and the standard does not say what a device does then; test/devices looks at it";

/** Why a mutant need not be caught, by its id. */
export const harmless: ReadonlyMap<string, string> = new Map([
  ["split-avail-index-jump-followed", DRIVER_BROKE_IT_FIRST],
  ["split-head-not-checked", DRIVER_BROKE_IT_FIRST],
  ["split-next-not-checked", DRIVER_BROKE_IT_FIRST],
  ["config-change-before-driver-ok", "§2.1.2 forbids notifications of used buffers before DRIVER_OK, not these"],
  ["status-takes-any-bit-back", "drivers may not take bits of Status back (§2.1.1)"],
  [
    "legacy-offers-modern-features",
    "a legacy driver looks at the first 32 features, of which two are the device's choice",
  ],
  ["unoffered-features-accepted", "FEAT-DEV-010 tolerates a device that drops what it did not offer"],
  ["selectors-survive-a-reset", "the standard does not say what the driver's features are after a reset (§2.4)"],
  ["beyond-capacity-passed", "the block layer refuses the request with the same status"],
  ["read-only-written", "the block layer refuses the request with the same status"],
  ["flush-not-passed-on", "what is on the storage cannot be seen from outside (BLK-DEV-047)"],
  ["range-too-many-segments", "limits of segments bind the driver (§5.2.6.1)"],
  ["range-too-long", "limits of segments bind the driver (§5.2.6.1)"],
  ["length-without-status", "a device may say that it wrote less than it did (§2.7.8.2)"],
  ["config-writable-at-will", "drivers may not write other fields than writeback (§5.2.5.1)"],
  ["capacity-kept-on-resize", "BLK-DEV-035 lets the capacity change, and asks nothing"],
  ["writeback-survives-a-reset", "BLK-DEV-085 lets the cache mode after a reset be either"],
]);
