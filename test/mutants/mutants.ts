// Every mutant, and those that no conformance suite can catch.
import { blockMutants } from "./block-mutants.ts";
import type { Mutant } from "./mutant.ts";
import { registerMutants } from "./register-mutants.ts";
import { ringMutants } from "./ring-mutants.ts";

export const mutants: readonly Mutant[] = [...ringMutants, ...registerMutants, ...blockMutants];

/** Why a mutant need not be caught, by its id. */
export const harmless: ReadonlyMap<string, string> = new Map([]);
