// Programs that failed once: each stands as `npm run fuzz` wrote it, and passes.
import { readdirSync, readFileSync } from "node:fs";
import { describe, it } from "vitest";
import { runProgram } from "./fuzz-run.ts";
import { parseProgram } from "./program.ts";

const FOLDER = new URL("findings/", import.meta.url);
const FILES = readdirSync(FOLDER).filter((name) => name.endsWith(".json"));

describe("a program that failed once", () => {
  it.each(FILES)("passes: %s", async (name) => {
    await runProgram(parseProgram(readFileSync(new URL(name, FOLDER), "utf8")));
  });
});
