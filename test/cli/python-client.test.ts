// A client of another language over a real socket: Python's, with a session of its own. The same session is held with a real QEMU.
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { withFolder } from "../support/cli.ts";
import { SystemProcess, systemProgram } from "../support/system-process.ts";
import { describeWithTools } from "../support/tools.ts";

const SESSION = fileURLToPath(new URL("../fixtures/clients/qmp-session.py", import.meta.url));
const MIB = 1 << 20;

/** Lets Python talk to `program`, and resolves with the number of messages that it got. */
function holdSession(program: readonly string[]): Promise<number> {
  return withFolder(async (folder) => {
    writeFileSync(join(folder, "a.img"), new Uint8Array(MIB));
    const node = { driver: "raw", "node-name": "a", file: { driver: "file", filename: "a.img" } };
    const args = ["-M", "none", "-nodefaults", "-display", "none", "-blockdev", JSON.stringify(node)];
    const system = new SystemProcess(folder, args, program);
    try {
      const { stdout } = await promisify(execFile)("python3", [SESSION, system.socketPath, join(folder, "a.img")]);
      expect(await system.ended).toBe(0);
      return Number(stdout);
    } finally {
      system.kill();
    }
  });
}

describeWithTools(["python3"], "A session with a Python client", () => {
  it("is held by virtio-blk-system: pipelined, in pieces, with garbage between, every message in its order", async () => {
    expect(await holdSession(systemProgram({}))).toBeGreaterThan(500);
  });
});

describeWithTools(["python3", "qemu-system-aarch64"], "The Python client's session", () => {
  it("is held by a real QEMU as well", async () => {
    expect(await holdSession(systemProgram({ VBLK_GOLDEN_QEMU: "qemu-system-aarch64" }))).toBeGreaterThan(500);
  });
});
