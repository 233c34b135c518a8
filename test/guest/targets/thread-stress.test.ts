// Driver and device in two threads over the same RAM: no completion and no interrupt is lost on either ring.
import { once } from "node:events";
import type { MessagePort } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { RegisterServer } from "../../../guest/index.ts";
import { startThread } from "../../../guest/targets/thread.ts";
import { systemClock } from "../../../src/base/clock.ts";
import type { IoVector } from "../../../src/base/io-vector.ts";
import { MemoryDriver } from "../../../src/block/drivers/memory.ts";
import { makeMachine } from "../../devices/support/machine.ts";
import type { ThreadGuestOptions, ThreadGuestReport } from "../support/thread-guest.ts";

const SOAK = process.env["VBLK_SOAK"] !== undefined;
const RING_MS = SOAK ? 120_000 : 8_000;
const SEED = Number(process.env["VBLK_SEED"] ?? Date.now() % 2 ** 32);

/** Completes at once, in a while, and in another order than asked, by turns. */
class UnsteadyDriver extends MemoryDriver {
  #calls = 0;

  override read(offsetBytes: number, into: IoVector): void | Promise<void> {
    return this.#sometimesLater(() => super.read(offsetBytes, into));
  }

  override write(offsetBytes: number, from: IoVector): void | Promise<void> {
    return this.#sometimesLater(() => super.write(offsetBytes, from));
  }

  #sometimesLater(act: () => void | Promise<void>): void | Promise<void> {
    const turns = (this.#calls++ * 7) % 11;
    return turns < 6 ? act() : this.#later(turns - 5, act);
  }

  async #later(turns: number, act: () => void | Promise<void>): Promise<void> {
    for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
    await act();
  }
}

describe("a driver in another thread", () => {
  it.each([
    ["split", [4, 8, 64, 256]],
    ["packed", [3, 5, 7, 64, 255]],
  ] as const)(
    "loses no completion and no interrupt on a %s ring with the event index",
    async (ringLayout, queueSizes) => {
      const { memory, bank, line } = makeMachine({
        driver: new UnsteadyDriver({ bytes: new Uint8Array(1 << 18) }),
        device: { offeredFeatures: { packed: true } },
        ramBytes: 1 << 22,
        clock: systemClock,
      });
      const server = new RegisterServer({ memory, region: bank, line });
      const { connection } = server;
      const options: ThreadGuestOptions = {
        connection,
        ringLayout,
        queueSizes,
        sliceMs: RING_MS / queueSizes.length,
        seed: SEED,
      };
      const thread = startThread(import.meta.url, "../support/thread-guest", options, [connection.port as MessagePort]);
      const failed = once(thread, "error").then(([error]) => {
        throw new Error(`seed ${SEED}`, { cause: error });
      });
      const [reports] = (await Promise.race([once(thread, "message"), failed])) as [ThreadGuestReport[]];
      server.close();
      await thread.terminate();
      expect(reports.map(({ queueSize }) => queueSize)).toEqual(queueSizes);
      for (const report of reports) {
        expect(report, `seed ${SEED}`).toMatchObject({
          completions: report.requests,
          mismatches: 0,
          negotiated: [true, ringLayout === "packed"],
        });
        expect(report.requests).toBeGreaterThan(500);
      }
      if (SOAK) console.log(ringLayout, reports);
    },
    RING_MS + 60_000,
  );
});
