// How a machine is called, its file with the process's number, and its iothreads: the texts are a real QEMU 7.2's.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseCommandLine } from "../../machine/command-line.ts";
import { MonitoredMachine } from "../../machine/monitored-machine.ts";
import { withFolder } from "../support/cli.ts";

const NULL_NODE = ["-blockdev", "null-co,node-name=n", "-device"];

/** Starts the board `virt` with more options, and ends it when `body` has. */
async function withMachine(
  args: readonly string[],
  body: (made: MonitoredMachine) => Promise<void> = async () => {},
): Promise<void> {
  const commandLine = parseCommandLine(["-M", "virt", "-display", "none", "-S", ...args]);
  const made = await MonitoredMachine.create(commandLine, { version: "1.2.3" });
  try {
    await body(made);
  } finally {
    made.end();
    await made.ended;
  }
}

describe("the name and the UUID of a machine", () => {
  it.each([
    [["-name", "foo,process=x"], { name: "foo" }],
    [["-name", "guest=gg,debug-threads=on"], { name: "gg" }],
    [["-name", "debug-threads=off"], {}],
    [[], {}],
  ])("%j is told by query-name", (args, name) =>
    withMachine(args, async ({ server }) => expect(await server.execute("query-name")).toEqual(name)),
  );

  it("is told by query-uuid, zeroes where none was given", async () => {
    const UUID = "1111abcd-2222-3333-4444-555555555555";
    await withMachine(["-uuid", UUID.toUpperCase()], async ({ server }) =>
      expect(await server.execute("query-uuid")).toEqual({ UUID }),
    );
    await withMachine([], async ({ server }) =>
      expect(await server.execute("query-uuid")).toEqual({ UUID: "00000000-0000-0000-0000-000000000000" }),
    );
  });

  it.each([
    [["-uuid", "zz"], "-uuid zz: failed to parse UUID string: wrong format"],
    [["-name", "a=b"], "-name a=b: Invalid parameter 'a'"],
    [["-name", "a,debug-threads=zz"], "-name a,debug-threads=zz: Parameter 'debug-threads' expects 'on' or 'off'"],
  ])("refuses %j", (args, text) => expect(() => parseCommandLine(["-M", "virt", ...args])).toThrow(text));
});

describe("the human monitor", () => {
  it("tells the name and the UUID, and what images take of the disk", () =>
    withFolder(async (folder) => {
      const path = join(folder, "a.img");
      writeFileSync(path, new Uint8Array(65536).fill(1));
      const drives = ["-drive", `if=none,id=d,format=raw,file=${path}`, "-drive", "if=none,id=n,file=null-co://"];
      await withMachine(["-name", "foo", ...drives], async ({ server }) => {
        const say = (line: string) => server.execute<string>("human-monitor-command", { "command-line": line });
        expect(await say("info name")).toBe("foo\r\n");
        expect(await say("info uuid")).toBe("00000000-0000-0000-0000-000000000000\r\n");
        const details = await say("info block -v");
        expect(details).toContain(
          `image: ${path}\r\nfile format: raw\r\nvirtual size: 64 KiB (65536 bytes)\r\ndisk size: `,
        );
        expect(details.match(/disk size: .*/g)?.map((line) => line.trim())).toEqual([
          expect.stringMatching(/^disk size: \d+ (B|KiB)$/),
          "disk size: 0 B",
        ]);
      });
    }));
});

describe("-pidfile", () => {
  it("holds the process's number while the machine is there", () =>
    withFolder(async (folder) => {
      const path = join(folder, "pid");
      await withMachine(["-pidfile", path], async () => {
        expect(readFileSync(path, "utf8")).toBe(`${process.pid}\n`);
      });
      expect(existsSync(path)).toBe(false);
    }));

  it("is an error where it cannot be written", () =>
    withFolder((folder) => {
      const path = join(folder, "no", "pid");
      const text = `cannot create PID file: Could not create '${path}': No such file or directory`;
      return expect(withMachine(["-pidfile", path])).rejects.toMatchObject({ message: text });
    }));
});

describe("iothreads", () => {
  it("are what query-iothreads lists, from the command line and from object-add", () =>
    withMachine(["-object", "iothread,id=t0", "-object", "iothread,id=t1,poll-max-ns=5"], async ({ server }) => {
      await server.execute("object-add", { "qom-type": "iothread", id: "t2", "poll-grow": 3 });
      await server.execute("object-del", { id: "t1" });
      const rest = { "poll-shrink": 0, "aio-max-batch": 0, "poll-max-ns": 32768, "thread-id": process.pid };
      expect(await server.execute("query-iothreads")).toEqual([
        { id: "t0", ...rest, "poll-grow": 0 },
        { id: "t2", ...rest, "poll-grow": 3 },
      ]);
    }));

  it("share their names with other objects, and refuse what is no number of theirs", () =>
    withMachine(["-object", "iothread,id=t", "-object", "throttle-group,id=g"], async ({ server }) => {
      const add = (type: string, id: string, more = {}) =>
        server.execute("object-add", { "qom-type": type, id, ...more }).catch((error: Error) => error.message);
      const duplicate = (id: string): string =>
        `attempt to add duplicate property '${id}' to object (type 'container')`;
      expect(await add("iothread", "t")).toBe(duplicate("t"));
      expect(await add("iothread", "g")).toBe(duplicate("g"));
      expect(await add("throttle-group", "t")).toBe(duplicate("t"));
      expect(await add("iothread", "u", { "poll-max-ns": -1 })).toBe(
        "poll-max-ns value must be in range [0, 9223372036854775807]",
      );
    }));

  it.each([
    [["-object", "iothread"], "-object iothread: Parameter 'id' is missing"],
    [["-object", "iothread,id=t", "-object", "iothread,id=t"], "-object iothread,id=t: Duplicate ID 't' for object"],
    [[...NULL_NODE, "virtio-blk-device,drive=n,iothread=zz"], "Device 'zz' not found"],
    [
      ["-object", "iothread,id=t", ...NULL_NODE, "virtio-blk-device,drive=n,iothread=t"],
      "-device virtio-blk-device,drive=n,iothread=t: ioeventfd is required for iothread",
    ],
    [[...NULL_NODE, "virtio-blk-pci,drive=n"], "No 'PCI' bus found for device 'virtio-blk-pci'"],
  ])("%j are refused", (args, text) => expect(withMachine(args)).rejects.toThrow(text));
});

describe("options of what is not here", () => {
  it("mean nothing, and neither is there a warning of them", () => {
    const args =
      "-rtc base=utc -boot order=c -overcommit mem-lock=off -msg timestamp=on -k en-us -usb -no-acpi -smp 2 -cpu max -nographic";
    expect(parseCommandLine(["-M", "virt", ...args.split(" ")])).toMatchObject({ machine: "virt", warnings: [] });
  });

  it("take virtio-blk for the block device of the board's bus", () =>
    withMachine([...NULL_NODE, "virtio-blk,drive=n,id=d"], async ({ server }) =>
      expect(await server.execute("query-block")).toMatchObject([{ qdev: "d" }]),
    ));
});
