// How much of a stream is kept, and what of it is waited for.
import { describe, expect, it } from "vitest";
import { EndOfStreamError } from "../../src/migration/stream-error.ts";
import { StreamSource } from "../../src/migration/stream-source.ts";

class CountedFlow {
  paused = false;

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }
}

describe("StreamSource", () => {
  it("holds its sender back while 64 KiB wait, and lets it go on when they are read", async () => {
    const flow = new CountedFlow();
    const source = new StreamSource(flow);
    let sent = 0;
    while (!flow.paused) {
      source.onData(new Uint8Array(4096));
      sent += 4096;
    }
    expect(sent).toBe(65536 + 4096);
    const skipping = source.skip(sent);
    await new Promise((resolve) => setImmediate(resolve));
    expect(flow.paused).toBe(false);
    await skipping;
    expect(source.position).toBe(sent);
  });

  it("waits for nothing that is there", async () => {
    const source = new StreamSource(new CountedFlow());
    source.onData(Uint8Array.of(1, 2, 3, 4, 5));
    await source.need(1);
    expect(source.u8()).toBe(1);
    expect(source.need(4)).toBeUndefined();
    expect(source.u32()).toBe(0x02030405);
  });

  it("reads numbers across parts, and tells an end within one", async () => {
    const source = new StreamSource(new CountedFlow());
    for (const byte of [0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 9]) source.onData(Uint8Array.of(byte));
    await source.need(8);
    expect(source.u64()).toBe(2 ** 53 - 1);
    expect(await source.atEnd()).toBe(false);
    source.onEnd();
    await expect(source.need(2)).rejects.toThrow(EndOfStreamError);
    await source.need(1);
    expect(source.u8()).toBe(9);
    expect(await source.atEnd()).toBe(true);
  });

  it("reads nothing past its limit, whatever has arrived", async () => {
    const source = new StreamSource(new CountedFlow());
    source.onData(new Uint8Array(100));
    source.limit = 10;
    await source.need(10);
    expect(() => source.need(11)).toThrow("Packaged data end within an item");
    expect(source.has(11)).toBe(false);
    source.limit = Number.POSITIVE_INFINITY;
    expect(source.has(11)).toBe(true);
  });
});
