// Drives as the command line says them: QEMU's option strings.
import { describe, expect, it } from "vitest";
import { parseDriveOptions } from "../../machine/drive-options.ts";
import { parseOptionString, parseSize } from "../../machine/option-string.ts";
import { QmpError } from "../../src/base/errors.ts";

describe("parseOptionString", () => {
  it("takes keys and values apart, a doubled comma for one within a value", () => {
    expect([...parseOptionString("file=a,,b.img,readonly")]).toEqual([
      ["file", "a,b.img"],
      ["readonly", "on"],
    ]);
  });

  it("lets the last of two equal keys win, as QEMU does", () => {
    expect(parseOptionString("id=a,id=b").get("id")).toBe("b");
  });

  it.each(["", "=x", "a=1,,,=2"])("refuses '%s', where an option has no name", (text) => {
    expect(() => parseOptionString(text)).toThrow(QmpError);
  });
});

describe("parseSize", () => {
  it.each([
    ["512", 512],
    ["1k", 1024],
    ["1K", 1024],
    ["64M", 67_108_864],
    ["1.5G", 1_610_612_736],
    ["2T", 2_199_023_255_552],
    ["7b", 7],
  ])("reads %s", (text, bytes) => expect(parseSize("size", text)).toBe(bytes));

  it.each(["", "M", "-1", "1x", "1e3", "0x10", "9E", "99999999999999999999", " 1"])("refuses '%s'", (text) => {
    expect(() => parseSize("size", text)).toThrow("Parameter 'size' expects a size");
  });
});

describe("parseDriveOptions", () => {
  it("reads a file drive", () => {
    expect(
      parseDriveOptions("file=x.img,readonly=on,cache=writethrough,serial=S,x-io=threads,aio=threads,id=d"),
    ).toEqual({
      driver: "file",
      path: "x.img",
      id: "d",
      readOnly: true,
      cache: "writethrough",
      serial: "S",
      xIo: "threads",
    });
  });

  it("reads a drive without a file", () => {
    expect(parseDriveOptions("driver=null-co,size=1G,discard=ignore")).toEqual({
      driver: "null-co",
      sizeBytes: 1_073_741_824,
      discard: "ignore",
    });
  });

  it.each([
    ["readonly=on", "says no file; try file=PATH"],
    ["file=", "says no file"],
    ["file=a,colour=red", "no option 'colour'; there are file, "],
    ["file=a,format=vmdk", "Parameter 'format' does not accept value 'vmdk'"],
    ["file=a,readonly=maybe", "Parameter 'readonly' expects 'on' or 'off'"],
    ["driver=memory", "needs size="],
    ["driver=memory,size=0", "needs size="],
    ["driver=memory,size=1000", "needs size=, a multiple of 512"],
    ["driver=tape,size=1M", "does not accept value 'tape'"],
  ])("refuses '%s'", (text, message) => expect(() => parseDriveOptions(text)).toThrow(message));
});
