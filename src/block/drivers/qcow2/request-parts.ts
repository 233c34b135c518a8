// A request whose parts go on beside one another.

/** A part: what fails at once fails like what fails later, so that the other parts are waited for. */
export function attempt(part: () => void | Promise<void>): void | Promise<void> {
  try {
    return part();
  } catch (error) {
    return Promise.reject(error);
  }
}

/** Done when all parts have ended, for none may go on when the request has; fails with the error of the first that failed. */
export async function allOf(parts: readonly Promise<void>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(parts)) if (outcome.status === "rejected") throw outcome.reason;
}
