// Raw deflate on both platforms.
import { deflateRawSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { platform as node } from "../../src/platform/node.ts";
import type { Platform } from "../../src/platform/platform.ts";
import { platform as web } from "../../src/platform/web.ts";

const data = Uint8Array.from({ length: 70_000 }, (_, i) => (i >> 6) % 251);
const noise = Uint8Array.from({ length: 4096 }, (_, i) => (i * 2654435761) >>> 13);

describe.each<[string, Platform]>([
  ["Node", node],
  ["the web", web],
])("inflateRaw on %s", (_name, platform) => {
  const packed = new Uint8Array(deflateRawSync(data));

  it("gives the first bytes of what was deflated, whatever follows", async () => {
    const followed = new Uint8Array(packed.length + 600);
    followed.set(packed);
    expect(await platform.inflateRaw(followed, data.length)).toEqual(data);
    expect(await platform.inflateRaw(packed, 1000)).toEqual(data.subarray(0, 1000));
  });

  it("gives nothing where there is less, or no deflate at all", async () => {
    expect(await platform.inflateRaw(packed, data.length + 1)).toBeUndefined();
    expect(await platform.inflateRaw(new Uint8Array(512).fill(0xff), 512)).toBeUndefined();
  });
});

describe("deflateRaw on Node", () => {
  it("makes what every reader understands, and nothing of what does not become shorter", async () => {
    const packed = await node.deflateRaw(data);
    expect(packed!.length).toBeLessThan(data.length / 10);
    expect(await node.inflateRaw(packed!, data.length)).toEqual(data);
    expect(await node.deflateRaw(noise.map((byte, i) => (byte * (i + 7)) ^ (i >> 3)).subarray(0, 64))).toBeUndefined();
  });
});
