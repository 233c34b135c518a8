// What `-device virtio-blk-device` offers by its properties; texts as QEMU 7.2 prints them: docs/reference/monitor.md §6.
import { describe, expect, it } from "vitest";
import { parseDeviceOptions } from "../../machine/device-options.ts";

function properties(text: string): NonNullable<ReturnType<typeof parseDeviceOptions>["properties"]> {
  return parseDeviceOptions(`virtio-blk-device,drive=d${text}`).properties!;
}

describe("properties of a block device", () => {
  it("are QEMU's when nothing is said", () => {
    expect(properties("")).toEqual({
      queues: 1,
      blockFeatures: { geometry: true, sizeMax: false },
      limits: {
        discard: { maxSectors: 4194303, maxSegments: 1, alignmentSectors: 1 },
        writeZeroes: { maxSectors: 4194303, maxSegments: 1 },
      },
      geometry: undefined,
      minIoBytes: 0,
      optIoBytes: 0,
    });
  });

  it("offer and withhold features, and set limits", () => {
    const given = properties(
      ",num-queues=4,discard=off,write-zeroes=off,config-wce=off,scsi=on,seg-max-adjust=off,max-discard-sectors=8,max-write-zeroes-sectors=9,discard_granularity=4096,cyls=2,heads=3,secs=4,min_io_size=4096,opt_io_size=1M",
    );
    expect(given.queues).toBe(4);
    expect(given.blockFeatures).toEqual({
      geometry: true,
      sizeMax: false,
      discard: false,
      writeZeroes: false,
      configWce: false,
      scsi: true,
    });
    expect(given.limits).toEqual({
      segMax: 126,
      discard: { maxSectors: 8, maxSegments: 1, alignmentSectors: 8 },
      writeZeroes: { maxSectors: 9, maxSegments: 1 },
    });
    expect([given.geometry, given.minIoBytes, given.optIoBytes]).toEqual([
      { cylinders: 2, heads: 3, sectors: 4 },
      4096,
      1 << 20,
    ]);
  });

  it("tell logical blocks as the granularity of discards, unless another is given and reported", () => {
    const alignment = (text: string): number | undefined => properties(text).limits.discard?.alignmentSectors;
    const block = ",logical_block_size=4096,physical_block_size=4096";
    expect([alignment(block), alignment(`${block},discard_granularity=64k`)]).toEqual([8, 128]);
    expect(alignment(`${block},discard_granularity=64k,report-discard-granularity=off`)).toBe(8);
  });

  it("are refused in QEMU's words", () => {
    const cases: [string, string][] = [
      ["num-queues=0", "num-queues property must be larger than 0"],
      ["num-queues=zz", "Parameter 'num-queues' expects integer"],
      ["num-queues=1025", "num-queues property must be at most 1024"],
      ["max-discard-sectors=0", "invalid max-discard-sectors property (0), must be between 1 and 4194303"],
      [
        "max-write-zeroes-sectors=99999999",
        "invalid max-write-zeroes-sectors property (99999999), must be between 1 and 4194303",
      ],
      ["seg-max-adjust=zz", "Parameter 'seg-max-adjust' expects 'on' or 'off'"],
      ["config-wce=zz", "Parameter 'config-wce' expects 'on' or 'off'"],
      ["cyls=1", "heads must be between 1 and 255"],
      ["max-segments=3", "Property 'virtio-blk-device.max-segments' not found"],
    ];
    for (const [text, message] of cases) expect(() => properties(`,${text}`), text).toThrow(message);
  });
});
