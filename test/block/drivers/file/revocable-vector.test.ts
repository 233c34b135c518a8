// Vectors whose owner may take the bytes back while libuv's pool works on the request: a guest that resets its device.
import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { IoVector } from "../../../../src/base/io-vector.ts";
import { FileDriver } from "../../../../src/block/drivers/file/file-driver.ts";
import { useTemporaryFolder } from "./support/temporary-folder.ts";

const MIB = 1 << 20;

function revocable(bytes: Uint8Array): IoVector {
  const vector = IoVector.of(bytes);
  vector.revocable = true;
  return vector;
}

describe("FileDriver with x-io=threads", () => {
  const inFolder = useTemporaryFolder();

  it("puts nothing into a buffer that was taken back while it read", async () => {
    const path = inFolder("a.img");
    writeFileSync(path, new Uint8Array(3 * MIB).fill(7));
    const driver = await FileDriver.open({ path, xIo: "threads", locking: "off" });
    const buffer = new Uint8Array(3 * MIB);
    const vector = revocable(buffer);
    const pending = driver.read(0, vector);
    vector.abandon();
    await pending;
    expect(buffer.every((byte) => byte === 0)).toBe(true);
    await driver.close();
  });

  it("writes what the buffer held when asked to, not what its next owner puts there", async () => {
    const path = inFolder("a.img");
    writeFileSync(path, new Uint8Array(MIB));
    const driver = await FileDriver.open({ path, xIo: "threads", locking: "off" });
    const buffer = new Uint8Array(MIB).fill(7);
    const vector = revocable(buffer);
    const pending = driver.write(0, vector);
    vector.abandon();
    buffer.fill(9);
    await pending;
    expect(readFileSync(path).every((byte) => byte === 7)).toBe(true);
    await driver.close();
  });

  it("ends a long write at the piece in which its buffer was taken back", async () => {
    const path = inFolder("a.img");
    writeFileSync(path, new Uint8Array(4 * MIB));
    const driver = await FileDriver.open({ path, xIo: "threads", locking: "off" });
    const vector = revocable(new Uint8Array(4 * MIB).fill(7));
    const pending = driver.write(0, vector);
    vector.abandon();
    await expect(pending).rejects.toMatchObject({ errno: "ECANCELED" });
    const after = readFileSync(path);
    expect(after.subarray(0, MIB).every((byte) => byte === 7)).toBe(true);
    expect(after.subarray(MIB).every((byte) => byte === 0)).toBe(true);
    await driver.close();
  });
});
