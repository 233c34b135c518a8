// How often a copy lets others have their turn: seldom while it is alone, after each piece while a guest writes.

/**
 * Turns that are ceded after a guest's last write. A guest whose writes come over a socket, one at a time, is back after some 160 µs;
 * a piece takes 70 µs, so it is seen to be busy all the time.
 */
const CEDED_TURNS = 16;
/**
 * Of so many turns one is kept all the same, so that a guest who never rests cannot hold a copy up by more than it must. Processor
 * time of a full backup of 1 GiB, with such a guest beside alone, and its writes/s: none kept 1.56x and 4,288; of five one 1.47x and
 * 3,880; of three one 1.45x and 3,323; of two one 1.48x and 2,880.
 */
const TURNS_FOR_ONE_KEPT = 3;

/**
 * Counts turns, and no time, so that a run repeats exactly. A turn of the event loop costs 2 to 4 µs, one piece of 256 KiB 70 µs: a
 * guest that writes one block after another then waits for one piece each time and not for the milliseconds that a loop may take.
 */
export class CopyPace {
  #cededTurns = 0;
  #turns = 0;

  /** A guest wrote. */
  noteGuest(): void {
    this.#cededTurns = CEDED_TURNS;
  }

  /** True while guests write, two times of three: whoever copies in the background is to cede its turn now. */
  cede(): boolean {
    if (this.#cededTurns === 0) return false;
    this.#cededTurns--;
    this.#turns = (this.#turns + 1) % TURNS_FOR_ONE_KEPT;
    return this.#turns !== 0;
  }
}
