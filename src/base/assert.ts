// Assertions: a failed one is a mistake of ours, never of a guest, a user or a disk.

/** A broken invariant. Nothing catches it but the outermost edge of the program. */
export class AssertionError extends Error {
  override readonly name: string = "AssertionError";
}

/** Throws an `AssertionError` that says `message` unless `condition` holds. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** Marks a branch that the types rule out, as the `default` of an exhaustive switch. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${String(value)}`);
}
