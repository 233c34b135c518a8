// `vblk machine` as a client of QEMU's meets it: command line, sockets, events, signals.
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type RunningCli, runCli, startCli, withFolder } from "../support/cli.ts";
import { QmpSocket } from "../support/qmp-socket.ts";

const MIB = 1 << 20;

/** Starts a machine with a monitor at `qmp.sock` in `folder`, and connects to it. */
async function startMachine(folder: string, args: readonly string[]): Promise<{ run: RunningCli; qmp: QmpSocket }> {
  const path = join(folder, "qmp.sock");
  const run = startCli(["machine", ...args, "-qmp", `unix:${path},server=on,wait=off`], { cwd: folder });
  let ended = false;
  void run.result.then(() => {
    ended = true;
  });
  for (;;) {
    // The socket is there a moment before somebody listens at it.
    const qmp = await QmpSocket.connect(path).catch(() => undefined);
    if (qmp !== undefined) return { run, qmp };
    if (ended) throw new Error((await run.result).stderr);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe("vblk machine", () => {
  it("answers pipelined commands without newlines between them, in their order, and quits with status 0", () =>
    withFolder(async (folder) => {
      const { run, qmp } = await startMachine(folder, ["-M", "none", "-nodefaults", "-display", "none"]);
      const greeting = await qmp.next((message) => "QMP" in message);
      expect(greeting).toMatchObject({ QMP: { version: { qemu: { major: 10, minor: 1, micro: 2 } } } });
      const names = Array.from({ length: 200 }, (_, i) => `b${i}`);
      qmp.send(
        [
          "{'execute':'qmp_capabilities'}",
          '{"execute":"blockdev-add","arguments":{"driver":"null-co","node-name":"a","size":1048576}}',
          ...names.map((name) =>
            JSON.stringify({ execute: "block-dirty-bitmap-add", arguments: { node: "a", name }, id: name }),
          ),
          '{"execute":"quit","id":"end"}',
        ].join(""),
      );
      await qmp.next((message) => message["id"] === "end");
      const ids = qmp.messages.map((message) => message["id"]).filter((id) => id !== undefined);
      expect(ids).toEqual([...names, "end"]);
      expect(qmp.messages.at(-2)).toMatchObject({ event: "SHUTDOWN", data: { guest: false, reason: "host-qmp-quit" } });
      expect(await run.result).toMatchObject({ code: 0, stderr: "" });
    }));

  it("finds the client that waits for it, and prints on several lines where it is asked to: -chardev, -mon", () =>
    withFolder(async (folder) => {
      const received = new Promise<string>((resolve) => {
        const server = createServer((socket) => {
          let text = "";
          socket.on("data", (chunk) => {
            text += chunk.toString();
          });
          socket.on("close", () => {
            server.close();
            resolve(text);
          });
          socket.write("{'execute':'qmp_capabilities'}{'execute':'query-chardev'}{'execute':'quit'}");
        });
        server.listen(join(folder, "client.sock"), () => {
          const monitor = ["-chardev", "socket,id=mon,path=client.sock", "-mon", "chardev=mon,mode=control,pretty=on"];
          void runCli(["machine", "-M", "none", ...monitor], { cwd: folder }).then(({ code }) => expect(code).toBe(0));
        });
      });
      const lines = (await received).split("\r\n");
      expect(lines).toContain('            "label": "mon",');
      expect(lines.join("")).toContain("host-qmp-quit");
    }));

  it("deletes a node and ends with status 0 though the last flush fails, as QEMU does, and says so", () =>
    withFolder(async (folder) => {
      writeFileSync(join(folder, "disk.img"), new Uint8Array(MIB));
      const nodes = ["d", "e"].flatMap((name) => {
        const image = { driver: "null-co", "node-name": `${name}-file`, size: MIB };
        const options = { driver: "blkdebug", "node-name": name, image, "inject-error": [{ event: "none" }] };
        return ["-blockdev", JSON.stringify(options)];
      });
      const { run, qmp } = await startMachine(folder, ["-M", "none", ...nodes]);
      await qmp.execute("qmp_capabilities");
      expect(await qmp.execute("blockdev-del", { "node-name": "d" })).toMatchObject({ return: {} });
      const { return: left } = await qmp.execute("query-named-block-nodes");
      expect((left as { "node-name": string }[]).map((node) => node["node-name"]).sort()).toEqual(["e", "e-file"]);
      qmp.send("{'execute':'quit'}");
      const { code, stderr } = await run.result;
      expect({ code, stderr }).toEqual({
        code: 0,
        stderr: expect.stringContaining("while closing: Input/output error"),
      });
    }));

  it("backs a drive up while it is on a device, and tells the job's events in QEMU's order", () =>
    withFolder(async (folder) => {
      writeFileSync(join(folder, "disk.img"), new Uint8Array(MIB).fill(7));
      writeFileSync(join(folder, "target.img"), new Uint8Array(MIB));
      const { run, qmp } = await startMachine(folder, [
        "-M",
        "virt",
        "-accel",
        "tcg",
        "-m",
        "16",
        "-S",
        "-qtest",
        "null",
        "-drive",
        "file=disk.img,format=raw,if=none,id=d0",
        "-blockdev",
        "driver=raw,node-name=t,file.driver=file,file.filename=target.img",
        "-device",
        "virtio-blk-device,drive=d0,id=vb0,serial=S1",
      ]);
      await qmp.execute("qmp_capabilities");
      expect(await qmp.execute("query-status")).toMatchObject({ return: { running: false, status: "prelaunch" } });
      await qmp.execute("cont");
      const from = qmp.messages.length;
      const started = await qmp.execute("blockdev-backup", { "job-id": "j", device: "d0", target: "t", sync: "full" });
      expect(started).toMatchObject({ return: {} });
      await qmp.next((message) => (message["data"] as { status?: string } | undefined)?.status === "null", from);
      const events = qmp.messages.slice(from).filter((message) => "event" in message);
      expect(events.map(({ event, data }) => (data as { status?: string }).status ?? event)).toEqual([
        "created",
        "running",
        "paused",
        "running",
        "waiting",
        "pending",
        "BLOCK_JOB_COMPLETED",
        "concluded",
        "null",
      ]);
      expect(readFileSync(join(folder, "target.img")).every((byte) => byte === 7)).toBe(true);
      run.process.kill("SIGTERM");
      expect((await run.result).code).toBe(0);
      expect(qmp.messages.at(-1)).toMatchObject({ event: "SHUTDOWN", data: { reason: "host-signal" } });
    }));

  it("serves one client and then the next, and survives bad JSON", () =>
    withFolder(async (folder) => {
      const { run, qmp } = await startMachine(folder, ["-M", "none"]);
      qmp.send("{'execute': @}");
      expect(await qmp.next((message) => "error" in message)).toMatchObject({
        error: { desc: "JSON parse error, stray '@'" },
      });
      qmp.end();
      const second = await QmpSocket.connect(join(folder, "qmp.sock"));
      await second.next((message) => "QMP" in message);
      expect(await second.execute("query-status")).toMatchObject({
        error: { class: "CommandNotFound", desc: "Expecting capabilities negotiation with 'qmp_capabilities'" },
      });
      await second.execute("qmp_capabilities");
      second.send('{"execute":"quit"}');
      expect((await run.result).code).toBe(0);
    }));

  it("answers numbers that nothing can be as large as, and lives on", () =>
    withFolder(async (folder) => {
      const { run, qmp } = await startMachine(folder, ["-M", "none"]);
      await qmp.execute("qmp_capabilities");
      await qmp.execute("blockdev-add", { driver: "memory", "node-name": "m", size: MIB });
      const refusals: [string, object, string][] = [
        ["block_resize", { "node-name": "m", size: 8e18 }, "File too large"],
        ["block_resize", { "node-name": "m", size: 2 ** 50 }, "Cannot allocate memory"],
        [
          "blockdev-add",
          { driver: "null-co", "node-name": "n", size: 2 ** 60 },
          "Could not refresh total sector count: File too large",
        ],
        [
          "blockdev-add",
          { driver: "memory", "node-name": "n", size: 2 ** 52 },
          "Could not open 'memory': Cannot allocate memory",
        ],
      ];
      for (const [command, args, desc] of refusals) {
        qmp.send(
          JSON.stringify({ execute: command, arguments: args, id: desc }).replace(
            "8000000000000000000",
            "8000000000000000001",
          ),
        );
        expect(await qmp.next((message) => message["id"] === desc)).toMatchObject({ error: { desc } });
      }
      await qmp.execute("blockdev-add", { driver: "null-co", "node-name": "big", size: 2 ** 52 });
      expect(await qmp.execute("block-dirty-bitmap-add", { node: "big", name: "b", granularity: 512 })).toMatchObject({
        error: { desc: "Too much space will be occupied by the bitmap. Use larger granularity" },
      });
      qmp.send('{"execute":"quit"}');
      expect((await run.result).code).toBe(0);
    }));

  it.each([
    [["-M", "none", "-zzz"], "vblk: -zzz: invalid option\n"],
    [
      ["-M", "none", "-blockdev", "driver=null-co"],
      "vblk: -blockdev driver=null-co: 'node-name' must be specified for the root node\n",
    ],
    [
      ["-M", "none", "-drive", "file=/nonexistent,id=d"],
      "vblk: -drive file=/nonexistent,id=d: Could not open '/nonexistent': No such file or directory\n",
    ],
    [
      ["-M", "virt", "-device", "virtio-blk-device,drive=zz"],
      "vblk: -device virtio-blk-device,drive=zz: Property 'virtio-blk-device.drive' can't find value 'zz'\n",
    ],
    [["-M", "virt", "-device", "zz"], "vblk: -device zz: 'zz' is not a valid device model name\n"],
    [
      ["-M", "none", "-qmp", "unix:/nonexistent/q"],
      "vblk: -qmp unix:/nonexistent/q: Failed to connect to '/nonexistent/q': No such file or directory\n",
    ],
  ])("refuses %j as QEMU does, with status 1", async (args, message) => {
    expect(await runCli(["machine", ...args])).toMatchObject({ code: 1, stdout: "", stderr: message });
  });

  it("prints trace points as -trace says, to a file as JSON lines, and lists their names", () =>
    withFolder(async (folder) => {
      const file = join(folder, "trace.log");
      const enable = ["-trace", `enable=qmp_*,file=${file},x-format=json`, "-trace", "-qmp_exit_*"];
      const { run, qmp } = await startMachine(folder, ["-M", "none", ...enable]);
      for (const command of ["qmp_capabilities", "query-status", "quit"]) await qmp.execute(command);
      expect((await run.result).code).toBe(0);
      const lines = readFileSync(file, "utf8").trim().split("\n");
      expect(lines.map((line) => (JSON.parse(line) as { name: string }).name)).toEqual([
        "qmp_enter_qmp_capabilities",
        "qmp_enter_query_status",
        "qmp_enter_quit",
      ]);
      const help = await runCli(["machine", "-trace", "help"]);
      expect(help.stdout.split("\n")).toEqual(expect.arrayContaining(["block_copy_process", "job_apply_verb"]));
      expect(help.code).toBe(0);
    }));
});
