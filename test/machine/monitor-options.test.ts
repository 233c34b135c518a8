// `-chardev` and `-mon`: docs/reference/monitor.md §6; the texts are those of QEMU 7.2.
import { describe, expect, it } from "vitest";
import { MonitorChardevs } from "../../machine/monitor-chardevs.ts";
import { parseChardevOptions, parseMonitorOptions } from "../../machine/monitor-options.ts";
import { QmpServer } from "../../src/qmp/qmp-server.ts";
import { ManualClock } from "../guest/support/manual-clock.ts";

describe("-chardev", () => {
  it("takes sockets of both kinds, the standard streams, and nothing", () => {
    expect(parseChardevOptions("socket,id=c,path=/run/a,,b,server=on,wait=off")).toEqual({
      id: "c",
      address: { backend: "unix", path: "/run/a,b", socket: { server: true, wait: false } },
    });
    expect(parseChardevOptions("backend=socket,id=c,host=::1,port=4444")).toEqual({
      id: "c",
      address: { backend: "tcp", host: "::1", port: "4444", socket: { server: false, wait: undefined } },
    });
    expect(parseChardevOptions("stdio,id=c").address).toEqual({ backend: "stdio" });
    expect(parseChardevOptions("null,id=c").address).toEqual({ backend: "null" });
  });

  it.each([
    ["zz,id=a", "'zz' is not a valid char driver name"],
    ["socket,path=x", "chardev: no id specified"],
    ["id=c", 'chardev: "c" missing backend'],
    ["null,id=c,zz=1", "Invalid parameter 'zz'"],
    ["null,id=c,path=x", "Invalid parameter 'path'"],
    ["socket,id=c", "Unable to parse FD number "],
    ["socket,id=c,host=x", "chardev: socket: no port given"],
    ["socket,id=c,path=x,server=zz", "Parameter 'server' expects 'on' or 'off'"],
    [
      "null,id=1c",
      "Parameter 'id' expects an identifier\nIdentifiers consist of letters, digits, '-', '.', '_', starting with a letter.",
    ],
  ])("refuses %s", (text, message) => {
    expect(() => parseChardevOptions(text)).toThrow(message);
  });
});

describe("-mon", () => {
  it("takes a monitor for programs, by its key or by the id alone", () => {
    expect(parseMonitorOptions("chardev=c,mode=control")).toEqual({ chardev: "c", pretty: false });
    expect(parseMonitorOptions("c,mode=control,pretty=on")).toEqual({ chardev: "c", pretty: true });
  });

  it.each([
    ["mode=control", "Parameter 'chardev' is missing"],
    ["c,mode=zz", "Parameter 'mode' does not accept value 'zz'"],
    ["c,zz=1", "Invalid parameter 'zz'"],
    ["c,pretty=on", "'pretty' is not compatible with HMP monitors"],
    ["c", "only mode=control is supported by this machine"],
  ])("refuses %s", (text, message) => {
    expect(() => parseMonitorOptions(text)).toThrow(message);
  });
});

describe("MonitorChardevs", () => {
  const make = (): { chardevs: MonitorChardevs; server: QmpServer } => {
    const server = new QmpServer({ clock: new ManualClock(), wallClock: { nowMs: () => 0 }, version: "0" });
    return { chardevs: new MonitorChardevs(server), server };
  };

  it("gives a character device to one monitor, and to none that is not there", () => {
    const { chardevs } = make();
    chardevs.addChardev("null,id=c");
    expect(() => chardevs.addChardev("stdio,id=c")).toThrow("Duplicate ID 'c' for chardev");
    expect(() => chardevs.addMonitor("zz,mode=control")).toThrow('chardev "zz" not found');
    chardevs.addMonitor("c,mode=control");
    expect(() => chardevs.addMonitor("c,mode=control")).toThrow("Device 'c' is in use");
    expect(() => chardevs.addQmp("chardev:c")).toThrow("Device 'c' is in use");
  });

  it("tells of all of them by their labels", async () => {
    const { chardevs, server } = make();
    const open = [chardevs.addChardev("null,id=c0"), chardevs.addChardev("null,id=c1"), chardevs.addQmp("null")];
    chardevs.addMonitor("c1,mode=control");
    for (const opener of open) await opener?.();
    expect(await server.execute("query-chardev")).toEqual([
      { label: "c0", filename: "null", "frontend-open": false },
      { label: "c1", filename: "null", "frontend-open": true },
      { label: "compat_monitor0", filename: "null", "frontend-open": true },
    ]);
    await chardevs.close();
  });
});
