// What a qtest conversation says, for people: `-qtest-log`. docs/reference/monitor.md §7.

import type { Clock } from "../../src/base/clock.ts";

/** Lines of `[R +t]` received, `[S +t]` sent, `[I t]` what happened; seconds since the client came. */
export class QtestLog {
  readonly #clock: Clock;
  readonly #print: (text: string) => void;
  #openedMs = 0;
  #text = "";

  constructor(clock: Clock, print: (text: string) => void) {
    this.#clock = clock;
    this.#print = print;
  }

  opened(): void {
    this.#openedMs = this.#clock.nowMs();
    this.#text += "[I 0.000000] OPENED\n";
    this.flush();
  }

  closed(): void {
    this.#text += `[I +${this.#seconds()}] CLOSED\n`;
    this.flush();
  }

  received(line: string): void {
    this.#text += `[R +${this.#seconds()}] ${line}\n`;
  }

  sent(line: string): void {
    this.#text += `[S +${this.#seconds()}] ${line}\n`;
  }

  /** Prints what has gathered. */
  flush(): void {
    if (this.#text === "") return;
    this.#print(this.#text);
    this.#text = "";
  }

  #seconds(): string {
    return ((this.#clock.nowMs() - this.#openedMs) / 1000).toFixed(6);
  }
}
