// Standard input and output as a stream, in a process of its own.
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { useTemporaryFolder } from "../block/drivers/file/support/temporary-folder.ts";

const ECHO = fileURLToPath(new URL("support/echo-stdio.ts", import.meta.url));
const ARGUMENTS = ["--conditions=vblk-source", "--import", import.meta.resolve("tsx"), ECHO];
const path = useTemporaryFolder();

function start(): ChildProcessByStdio<Writable, Readable, Readable> {
  return spawn(process.execPath, ARGUMENTS, { stdio: ["pipe", "pipe", "pipe"] });
}

function textUntil(stream: Readable, enough: (text: string) => boolean): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const hear = (chunk: Buffer): void => {
      text += chunk.toString("latin1");
      if (!enough(text)) return;
      stream.off("data", hear);
      stream.pause();
      resolve(text);
    };
    stream.on("data", hear).resume();
    stream.once("end", () => reject(new Error(`ended after ${text.slice(0, 200)}`)));
  });
}

describe("openStdio", () => {
  it("is for one user, answers over pipes, and survives the end of its input", async () => {
    const child = start();
    await textUntil(child.stdout, (text) => text === "cannot use stdio by multiple character devices\n");
    child.stdin.write("hello");
    await textUntil(child.stdout, (text) => text === "HELLO");
    child.stdin.end();
    await textUntil(child.stdout, (text) => text === "after the end\n");
  });

  it("does not stop the process when the reader stops", async () => {
    const child = start();
    child.stdin.write("flood");
    expect(await textUntil(child.stderr, (text) => text.endsWith("\n"))).toBe("still alive\n");
    await textUntil(child.stdout, (text) => text.length >= 1 << 22);
    child.kill();
  });

  it("closes when it is told to, and lets the process end", async () => {
    const child = start();
    child.stdin.write("bye");
    expect(await textUntil(child.stderr, (text) => text.endsWith("\n"))).toBe("closed\n");
    expect(await new Promise((resolve) => child.once("exit", resolve))).toBe(0);
  });

  it("writes to a file as well", async () => {
    const output = openSync(path("output"), "w");
    const child = spawn(process.execPath, ARGUMENTS, { stdio: ["pipe", output, "inherit"] });
    closeSync(output);
    child.stdin?.end("x");
    await new Promise((resolve) => child.once("exit", resolve));
    expect(readFileSync(path("output"), "utf8")).toBe(
      "cannot use stdio by multiple character devices\nXafter the end\n",
    );
  });
});
