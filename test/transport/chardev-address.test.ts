// The shorthand of -qmp: what it means, and QEMU's words where it means nothing.

import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { parseChardevAddress } from "../../src/transport/chardev-address.ts";
import { describeWithTools } from "../support/tools.ts";

const unix = (path: string, server = false, wait?: boolean) => ({ backend: "unix", path, socket: { server, wait } });
const tcp = (host: string, port: string, server = false, wait?: boolean) => ({
  backend: "tcp",
  host,
  port,
  socket: { server, wait },
});

/** What is refused, and the lines that say so. */
const REFUSED: readonly [text: string, ...lines: string[]][] = [
  ["zz", "'zz' is not a valid char driver", "parse error: zz"],
  ["", "'' is not a valid char driver", "parse error: "],
  ["none", "'none' is not a valid char driver", "parse error: none"],
  ["stdio:", "'stdio:' is not a valid char driver", "parse error: stdio:"],
  ["stdio,foo", "'stdio,foo' is not a valid char driver", "parse error: stdio,foo"],
  ["null,foo=1", "'null,foo=1' is not a valid char driver", "parse error: null,foo=1"],
  ["tcp:", "parse error: tcp:"],
  ["tcp:x", "parse error: tcp:x"],
  ["tcp:127.0.0.1:", "parse error: tcp:127.0.0.1:"],
  ["tcp:127.0.0.1:,server=on", "parse error: tcp:127.0.0.1:,server=on"],
  ["tcp:127.0.0.1:1,foo=1", "Invalid parameter 'foo'", "parse error: tcp:127.0.0.1:1,foo=1"],
  ["tcp:127.0.0.1:1,,", "Invalid parameter ''", "parse error: tcp:127.0.0.1:1,,"],
  ["unix:/x,foo=1", "Invalid parameter 'foo'", "parse error: unix:/x,foo=1"],
  ["unix:/x,server,nowait,foo", "Invalid parameter 'foo'", "parse error: unix:/x,server,nowait,foo"],
  ["unix:/x,nowai", "Invalid parameter 'wai'", "parse error: unix:/x,nowai"],
  ["unix:/x,=,server=on", "Invalid parameter ''", "parse error: unix:/x,=,server=on"],
  ["unix:/x,server=x", "Parameter 'server' expects 'on' or 'off'", "parse error: unix:/x,server=x"],
  ["unix:/x,server=", "Parameter 'server' expects 'on' or 'off'", "parse error: unix:/x,server="],
  ["unix:/x,server=1", "Parameter 'server' expects 'on' or 'off'", "parse error: unix:/x,server=1"],
];

function linesOf(parse: () => unknown): string[] {
  try {
    parse();
  } catch (error) {
    return (error as Error).message.split("\n");
  }
  return [];
}

describe("parseChardevAddress", () => {
  it.each([
    ["stdio", { backend: "stdio" }],
    ["null", { backend: "null" }],
    ["chardev:mon0", { backend: "chardev", id: "mon0" }],
    ["unix:/run/vm.qmp", unix("/run/vm.qmp")],
    ["unix:vm.qmp,server=on,wait=off", unix("vm.qmp", true, false)],
    ["unix:vm.qmp,server,nowait", unix("vm.qmp", true, false)],
    ["unix:vm.qmp,server", unix("vm.qmp", true)],
    ["unix:vm.qmp,server=yes,wait=y", unix("vm.qmp", true, true)],
    ["unix:vm.qmp,server=on,server=off", unix("vm.qmp")],
    ["unix:vm.qmp,noserver", unix("vm.qmp")],
    ["unix:a,,b,,,server", unix("a,b,", true)],
    ["unix:,server=on", unix("", true)],
    ["unix:vm.qmp,", unix("vm.qmp")],
    ["tcp:localhost:4444", tcp("localhost", "4444")],
    ["tcp::4444,server=on,wait=off,ipv6,nodelay", tcp("", "4444", true, false)],
    ["tcp:1.2.3.4:5:6", tcp("1.2.3.4", "5:6")],
  ])("takes %s", (text, address) => {
    expect(parseChardevAddress(text)).toEqual(address);
  });

  it.each(REFUSED)("refuses '%s'", (text, ...lines) => {
    expect(linesOf(() => parseChardevAddress(text))).toEqual(lines);
  });

  it("refuses what QEMU's sockets can and these cannot, rather than leave it undone", () => {
    expect(linesOf(() => parseChardevAddress("tcp:127.0.0.1:1,telnet=on"))).toEqual([
      "Parameter 'telnet' is not supported here",
      "parse error: tcp:127.0.0.1:1,telnet=on",
    ]);
  });
});

describeWithTools(["qemu-system-aarch64"], "parseChardevAddress beside QEMU", () => {
  it.each(REFUSED)("refuses '%s' in the same words", (text, ...lines) => {
    const { status, stderr } = spawnSync("qemu-system-aarch64", ["-M", "none", "-display", "none", "-qmp", text], {
      encoding: "utf8",
    });
    expect(status).toBe(1);
    expect(stderr).toBe(lines.map((line) => `qemu-system-aarch64: -qmp ${text}: ${line}\n`).join(""));
  });
});
