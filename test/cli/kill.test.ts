// Runs that are killed at random moments: nothing acknowledged is lost, and nothing stands in the way of the next run.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { runCli, startCli, withFolder } from "../support/cli.ts";

const MIB = 1 << 20;
const KILLS = process.env["VBLK_SOAK"] === "1" ? 200 : 20;
/** More than a run gets to: what one run writes tells it from the others. */
const ROUNDS = 10_000_000;
const FIRST_LIGHT = fileURLToPath(new URL("../../examples/first-light.ts", import.meta.url));
const ACKNOWLEDGE = fileURLToPath(new URL("../fixtures/scripts/acknowledge.ts", import.meta.url));

/** Lines that were written in whole: a killed process may leave half of one. */
function wholeLines(text: string): string[] {
  return text
    .slice(0, text.lastIndexOf("\n") + 1)
    .split("\n")
    .slice(0, -1);
}

describe("a run that is killed", () => {
  it(
    `has every acknowledged write in the image, ${KILLS} times, and the next run takes image, target and locks`,
    () =>
      withFolder(async (folder) => {
        const image = join(folder, "disk.img");
        const target = join(folder, "backup.img");
        const log = join(folder, "log");
        writeFileSync(image, new Uint8Array(16 * MIB));
        let acknowledged = 0;
        for (let kill = 0; kill < KILLS; kill++) {
          const run = startCli(["run", ACKNOWLEDGE, "--drive", `file=${image}`, "--quiet"], {
            env: { VBLK_TARGET: target, VBLK_LOG: log, VBLK_BASE: String((kill + 1) * ROUNDS) },
          });
          await run.waitForOutput("working");
          await new Promise((resolve) => setTimeout(resolve, (kill * 37) % 150));
          run.process.kill("SIGKILL");
          const { signal, stderr } = await run.result;
          expect(stderr).toBe("");
          expect(signal).toBe("SIGKILL");
          const last = new Map<number, number>();
          for (const line of wholeLines(readFileSync(log, "utf8"))) {
            const [block, round] = line.split(" ").map(Number);
            last.set(block!, round!);
            acknowledged++;
          }
          const bytes = readFileSync(image);
          for (const [block, round] of last) {
            // The write after the last acknowledged one may be there too; it comes by each block once in as many rounds.
            const possible = [round, round + bytes.length / 4096];
            for (const at of [0, 4092]) {
              const found = bytes.readUInt32LE(block * 4096 + at) - (kill + 1) * ROUNDS;
              expect(possible).toContain(found);
            }
          }
        }
        expect(acknowledged).toBeGreaterThan(KILLS);
      }),
    240_000,
  );

  it(
    "leaves the main job's image, backup and locks in a state that the next one takes",
    () =>
      withFolder(async (folder) => {
        writeFileSync(join(folder, "file.txt"), "some file");
        for (const delayMs of [0, 60, 150, 300]) {
          const run = startCli(["run", "--image-from", ".", FIRST_LIGHT], { cwd: folder });
          await run.waitForOutput("disk.img");
          await new Promise((resolve) => setTimeout(resolve, delayMs));
          run.process.kill("SIGKILL");
          await run.result;
        }
        const { code, stdout, stderr } = await runCli(["run", "--image-from", ".", FIRST_LIGHT], { cwd: folder });
        expect(stderr).toBe("");
        expect(stdout).not.toContain("✘");
        expect(code).toBe(0);
      }),
    120_000,
  );
});
