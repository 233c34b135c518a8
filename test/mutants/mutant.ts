// One rule of the device, broken: what the conformance suite has to find out.

/** An edit of one place of a source file. */
export interface Mutant {
  /** Kebab-case; unique. */
  readonly id: string;
  /** What the device does wrong with it. */
  readonly wrong: string;
  /** Below `devices/`. */
  readonly file: string;
  /** Occurs once in the file. */
  readonly search: string;
  readonly replace: string;
}

/** A row of a list of mutants of one file. */
export type MutantRow = readonly [id: string, wrong: string, search: string, replace: string];

/** Mutants of `file`. */
export function mutantsOf(file: string, rows: readonly MutantRow[]): readonly Mutant[] {
  return rows.map(([id, wrong, search, replace]) => ({ id, wrong, file, search, replace }));
}
