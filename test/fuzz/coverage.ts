// Which blocks of the device's code have run: V8's own coverage, so that no tool rewrites what is tested.

import { Session } from "node:inspector/promises";

/** Counts blocks of the sources below a folder that have run for the first time. */
export class BlockCoverage {
  readonly #session = new Session();
  readonly #folder: string;
  readonly #seen = new Set<string>();

  /** `folder` as it stands in the addresses of its modules, such as `/devices/`. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  get blocks(): number {
    return this.#seen.size;
  }

  async start(): Promise<void> {
    this.#session.connect();
    await this.#session.post("Profiler.enable");
    await this.#session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  }

  /** Blocks that ran since the last call, at that order of magnitude, and never before. */
  async takeNew(): Promise<number> {
    const { result } = await this.#session.post("Profiler.takePreciseCoverage");
    const before = this.#seen.size;
    for (const { url, functions } of result) {
      if (!url.includes(this.#folder) || url.includes("/test/")) continue;
      for (const { ranges } of functions) {
        for (const { startOffset, endOffset, count } of ranges) {
          // How often counts too, roughly: a loop run a hundred times is not one run once.
          if (count > 0) this.#seen.add(`${url}:${startOffset}-${endOffset}:${Math.floor(Math.log2(count))}`);
        }
      }
    }
    return this.#seen.size - before;
  }

  stop(): void {
    this.#session.disconnect();
  }
}
