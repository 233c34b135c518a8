// A copy of the device and the suite in a temporary folder, in which one file at a time is mutated.
import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PROJECT_ROOT } from "../support/project-files.ts";
import type { Mutant } from "./mutant.ts";

/** What the device, the suite and what makes the one a subject of the other consist of. */
const PARTS = ["package.json", "src", "devices", "guest", "machine", "test/mutants/examine.ts"];

/** Why the suite stopped: the first case that found something, or how the process ended; undefined when all is well. */
export type Outcome = { readonly by: string; readonly seen: string } | undefined;

export class MutantTree {
  readonly #folder: string = mkdtempSync(join(tmpdir(), "vblk-mutants-"));

  constructor() {
    for (const part of PARTS) cpSync(join(PROJECT_ROOT, part), join(this.#folder, part), { recursive: true });
  }

  /** The source as it stands in the project. */
  source(mutant: Mutant): string {
    return readFileSync(join(PROJECT_ROOT, "devices", mutant.file), "utf8");
  }

  /** Runs the suite on the device with `mutant`, or as it is. A run that takes longer than `limitMs` is ended. */
  async examine(mutant: Mutant | undefined, limitMs: number): Promise<Outcome> {
    if (mutant === undefined) return this.#run(limitMs);
    const path = join(this.#folder, "devices", mutant.file);
    const source = readFileSync(path, "utf8");
    if (source.split(mutant.search).length !== 2) throw new Error(`${mutant.id}: not once in ${mutant.file}`);
    writeFileSync(
      path,
      source.replace(mutant.search, () => mutant.replace),
    );
    try {
      return await this.#run(limitMs);
    } finally {
      writeFileSync(path, source);
    }
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #run(limitMs: number): Promise<Outcome> {
    const loader = ["--conditions=vblk-source", "--import", import.meta.resolve("tsx")];
    const child = spawn(process.execPath, [...loader, join(this.#folder, "test/mutants/examine.ts")], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr = (stderr + text).slice(-8192);
    });
    const limit = setTimeout(() => child.kill("SIGKILL"), limitMs);
    return new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (status, signal) => {
        clearTimeout(limit);
        if (signal === "SIGKILL") return resolve({ by: "hang", seen: `not done within ${limitMs} ms` });
        if (status !== 0 || stdout === "") {
          const [message = ""] = /^\w*Error.*$/m.exec(stderr) ?? [`exit status ${status}`];
          return resolve({ by: "crash", seen: message });
        }
        const { finding } = JSON.parse(stdout) as {
          finding: { title: string; variant: string; reason: string } | null;
        };
        resolve(finding === null ? undefined : { by: `${finding.title} (${finding.variant})`, seen: finding.reason });
      });
    });
  }
}
