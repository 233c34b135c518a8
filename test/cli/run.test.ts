// `vblk run` as a user meets it: output, exit statuses, bad input, signals.
import { chmodSync, copyFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { runCli, startCli, withFolder } from "../support/cli.ts";

const MIB = 1 << 20;
const EXAMPLES = fileURLToPath(new URL("../../examples", import.meta.url));
const SCRIPTS = fileURLToPath(new URL("../fixtures/scripts", import.meta.url));

function writeScript(folder: string, body: string): string {
  const path = join(folder, "script.ts");
  writeFileSync(path, `export async function main({ guest, control, check, log }: any): Promise<void> {\n${body}\n}\n`);
  return path;
}

describe("vblk", () => {
  it("shows examples in its help", async () => {
    const { code, stdout } = await runCli(["--help"]);
    expect(code).toBe(0);
    expect(stdout).toContain("$ vblk run script.ts --drive file=disk.img");
    const help = await runCli(["run", "--help"]);
    expect(help.code).toBe(0);
    expect(help.stdout).toContain("Exit status: 0 all is well");
  });

  it.each([
    [["walk"], "unknown command 'walk'"],
    [["run"], "missing required argument 'script'"],
    [["run", "x.ts", "--colour"], "unknown option '--colour'"],
    [["run", "x.ts", "--drive", "format=raw"], "says no file"],
    [["run", "x.ts", "--memory", "1k"], "RAM is from 1M to 4G"],
  ])("refuses %j with status 2 and says why", async (args, message) => {
    const { code, stderr } = await runCli(args);
    expect(stderr).toContain(message);
    expect(code).toBe(2);
  });
});

describe("vblk run", () => {
  it("proves the main job on an image of the user's", () =>
    withFolder(async (folder) => {
      const image = join(folder, "disk.img");
      const past = new Uint8Array(3 * MIB + 1000).map((_, i) => (i * 31) >> 7);
      writeFileSync(image, past);
      const { code, stdout, stderr } = await runCli(
        ["run", join(EXAMPLES, "first-light.ts"), "--drive", `file=${image}`],
        { cwd: folder },
      );
      expect(stderr).toBe("");
      expect(stdout).toContain("✔ the backup is the image as it was when the backup began");
      expect(stdout).toContain("✔ the image holds exactly what the guest wrote");
      expect(stdout).toContain("✔ every changed cluster is dirty in the bitmap, and no other");
      expect(code).toBe(0);
      const backup = readFileSync(join(folder, "vblk-demo/backup.img"));
      expect(backup.subarray(0, past.length).equals(past)).toBe(true);
      expect(readFileSync(image).subarray(0, past.length).equals(past)).toBe(false);
    }));

  it("makes an image of real files when asked, which tar can list", () =>
    withFolder(async (folder) => {
      const { execFileSync } = await import("node:child_process");
      mkdirSync(join(folder, "things/node_modules"), { recursive: true });
      writeFileSync(join(folder, "things/one.txt"), "one");
      writeFileSync(join(folder, "things/node_modules/two.txt"), "two");
      const run = await runCli(["run", "--image-from", "things", join(EXAMPLES, "first-light.ts"), "--json"], {
        cwd: folder,
      });
      const summary = JSON.parse(run.stdout) as Record<string, unknown>;
      expect(summary).toMatchObject({ ok: true, bitmaps: [{ name: "changes" }], backups: [{ hasEnded: true }] });
      expect(run.code).toBe(0);
      const list = execFileSync("tar", ["-tf", join(folder, "vblk-demo/backup.img")], { encoding: "utf8" });
      expect(list).toContain("one.txt");
      expect(list).not.toContain("two.txt");
    }));

  it.each(["incremental-backup.ts", "load-generator.ts", "rule-breaker.ts", "from-registers-up.ts"])(
    "runs the example %s",
    async (name) => {
      const { code, stdout, stderr } = await runCli(["run", join(EXAMPLES, name)], { env: { VBLK_REQUESTS: "2000" } });
      expect(stderr).toBe("");
      expect(stdout).not.toContain("✘");
      expect(stdout).toContain("✔");
      expect(code).toBe(0);
    },
  );

  it("runs the example of an emulator's bus, which is a program of its own", async () => {
    const { execFileSync } = await import("node:child_process");
    const args = [
      "--conditions=vblk-source",
      "--import",
      import.meta.resolve("tsx"),
      join(EXAMPLES, "attach-to-a-bus.ts"),
    ];
    const output = execFileSync(process.execPath, args, { encoding: "utf8" });
    expect(output).toBe("status 0, used 1, sector 0 begins with 'hello from the disk'\n");
  });

  it("prints trace points that match a pattern, as text or as JSON lines", () =>
    withFolder(async (folder) => {
      const script = writeScript(folder, "const disk = await guest.probe(); await disk.read(512, 1024);");
      const text = await runCli([
        "run",
        script,
        "--quiet",
        "--trace",
        "virtio_blk_handle_*",
        "--trace",
        "virtio_set_status",
      ]);
      expect(text.stderr).toMatch(/^ +\d+\.\d{3} virtio_blk_handle_read head=\d+ type=0 sector=1 bytes=1024$/m);
      expect(text.stderr).toContain(" virtio_set_status value=15");
      expect(text.stderr).not.toContain("virtio_mmio_read");
      const json = await runCli([
        "run",
        script,
        "--quiet",
        "--trace",
        "virtio_blk_handle_read",
        "--trace-format",
        "json",
      ]);
      const lines = json.stderr
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as object);
      expect(lines).toMatchObject([{ name: "virtio_blk_handle_read", sector: 1, bytes: 1024 }]);
    }));

  it("fails with status 1 when a claim of the script does not hold", () =>
    withFolder(async (folder) => {
      const script = writeScript(folder, 'check("the sky is green", false, "look up");');
      const { code, stdout } = await runCli(["run", script]);
      expect(stdout).toContain("✘ the sky is green  look up");
      expect(code).toBe(1);
    }));

  it.each([
    ["throws", 'throw new Error("the script\'s own");', "the script's own"],
    [
      "leaves a rejection to nobody",
      'void Promise.reject(new Error("left alone")); await new Promise(() => {});',
      "left alone",
    ],
    [
      "throws from a timer",
      'setTimeout(() => { throw new Error("from a timer"); }); await new Promise(() => {});',
      "from a timer",
    ],
  ])("shows the stack and fails with status 1 when the script %s, its image flushed and free", (_, body, message) =>
    withFolder(async (folder) => {
      const image = join(folder, "disk.img");
      writeFileSync(image, new Uint8Array(MIB));
      const script = writeScript(
        folder,
        `
        const disk = await guest.probe();
        await disk.write(0, new Uint8Array(512).fill(0x77));
        await control.startBackup({ target: ${JSON.stringify(join(folder, "backup.img"))} });
        ${body}`,
      );
      const { code, stderr } = await runCli(["run", script, "--drive", `file=${image}`]);
      expect(stderr).toContain(message);
      expect(stderr).toContain("script.ts:");
      expect(code).toBe(1);
      expect(readFileSync(image)[0]).toBe(0x77);
      const again = await runCli(["run", writeScript(folder, "await guest.probe();"), "--drive", `file=${image}`]);
      expect(again.code).toBe(0);
    }),
  );

  it.each([
    ["that is missing", "missing.ts", "Could not load"],
    ["without a main", "nothing.mjs", "exports no function main()"],
  ])("says in one line what is wrong with a script %s", (_, name, message) =>
    withFolder(async (folder) => {
      writeFileSync(join(folder, "nothing.mjs"), "export const nothing = 0;\n");
      const { code, stderr } = await runCli(["run", join(folder, name)]);
      expect(stderr).toContain(message);
      expect(stderr.trim().split("\n")).toHaveLength(1);
      expect(code).toBe(1);
    }),
  );

  it.each(["missing.img", "folder", "empty.img", "unreadable.img"])(
    "refuses %s in one line, status 1, and writes nothing",
    (name) =>
      withFolder(async (folder) => {
        mkdirSync(join(folder, "folder"));
        writeFileSync(join(folder, "empty.img"), "");
        writeFileSync(join(folder, "unreadable.img"), "x");
        chmodSync(join(folder, "unreadable.img"), 0);
        const script = writeScript(
          folder,
          "const disk = await guest.probe(); await disk.write(0, new Uint8Array(512));",
        );
        if (name === "unreadable.img" && process.getuid?.() === 0) chmodSync(join(folder, name), 0o644); // root reads all
        const { code, stderr } = await runCli(["run", script, "--drive", `file=${join(folder, name)}`]);
        if (name === "unreadable.img" && process.getuid?.() === 0) return expect(code).toBe(0);
        expect(stderr.trim().split("\n")).toHaveLength(1);
        expect(stderr).toMatch(/^vblk: Could not (open|use) '/);
        expect(code).toBe(1);
        expect(statSync(join(folder, "empty.img")).size).toBe(0);
      }),
  );

  it("ends in order at Ctrl-C beside a guest that never pauses: 130, timers had their turn, the image is whole and free", () =>
    withFolder(async (folder) => {
      const image = join(folder, "disk.img");
      writeFileSync(image, new Uint8Array(64 * MIB));
      const run = startCli(["run", join(SCRIPTS, "endless.ts"), "--drive", `file=${image}`], {
        env: { VBLK_TARGET: join(folder, "backup.img") },
      });
      await run.waitForOutput("timer");
      run.process.kill("SIGINT");
      const { code, stderr } = await run.result;
      expect(stderr).toContain("ended by SIGINT");
      expect(code).toBe(130);
      expect(readFileSync(image)[0]).toBe(0x5a);
      const script = writeScript(folder, "await guest.probe();");
      for (const name of ["disk.img", "backup.img"]) {
        expect((await runCli(["run", script, "--drive", `file=${join(folder, name)}`])).code).toBe(0);
      }
    }));

  it("refuses an image that another run has open, and leaves it alone", () =>
    withFolder(async (folder) => {
      const image = join(folder, "disk.img");
      writeFileSync(image, new Uint8Array(MIB));
      const first = startCli(["run", join(SCRIPTS, "endless.ts"), "--drive", `file=${image}`]);
      await first.waitForOutput("timer");
      copyFileSync(image, join(folder, "copy.img"));
      const second = await runCli(["run", join(EXAMPLES, "first-light.ts"), "--drive", `file=${image}`], {
        cwd: folder,
      });
      expect(second.code).toBe(1);
      expect(second.stderr).toContain("lock");
      expect(readFileSync(image).equals(readFileSync(join(folder, "copy.img")))).toBe(true);
      first.process.kill("SIGTERM");
      expect((await first.result).code).toBe(143);
    }));
});
