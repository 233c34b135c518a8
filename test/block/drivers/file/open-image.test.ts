// What a file driver refuses to open or to make, and how it says so; a failed open changes nothing.
import {
  chmodSync,
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { BlockError } from "../../../../src/base/errors.ts";
import { IoVector } from "../../../../src/base/io-vector.ts";
import { createImageFile, FileDriver } from "../../../../src/block/drivers/file/file-driver.ts";
import { FaultyFileIo } from "./support/faulty-file-io.ts";
import { runWell } from "./support/processes.ts";
import { useTemporaryFolder } from "./support/temporary-folder.ts";

const NOBODY = 65_534;

async function failureOf(promise: Promise<unknown>): Promise<BlockError> {
  const error = await promise.then(
    () => expect.fail("succeeds"),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(BlockError);
  return error as BlockError;
}

describe("opening an image", () => {
  const inFolder = useTemporaryFolder();

  it.each([
    ["that is missing", "missing.img", "ENOENT", "No such file or directory"],
    ["in a folder that is missing", "nowhere/a.img", "ENOENT", "No such file or directory"],
    ["below a file", "file.img/a.img", "ENOTDIR", "Not a directory"],
    ["that is a folder", "folder", "EISDIR", "Is a directory"],
    ["with a name that is too long", "a".repeat(300), "ENAMETOOLONG", "File name too long"],
    ["that is a link to itself", "loop", "ELOOP", "Too many levels of symbolic links"],
    ["that is a link to nothing", "dangling", "ENOENT", "No such file or directory"],
    ["with a zero byte in its name", "a\0b", "EINVAL", "Invalid argument"],
  ])("%s fails in one line, for reading and for writing", async (_what, name, errno, text) => {
    writeFileSync(inFolder("file.img"), "x");
    mkdirSync(inFolder("folder"));
    symlinkSync("loop", inFolder("loop"));
    symlinkSync("nothing", inFolder("dangling"));
    const before = readdirSync(dirname(inFolder("x")));
    for (const readOnly of [true, false]) {
      const error = await failureOf(FileDriver.open({ path: inFolder(name), readOnly }));
      expect(error.errno).toBe(errno);
      expect(error.message).toBe(`Could not open '${inFolder(name)}': ${text}`);
    }
    expect(readdirSync(dirname(inFolder("x")))).toEqual(before);
  });

  it("with an empty path fails", async () => {
    const error = await failureOf(FileDriver.open({ path: "" }));
    expect(error.message).toBe("Could not open '': No such file or directory");
  });

  it.runIf(process.platform !== "win32")("that is a FIFO does not wait for its other end", async () => {
    runWell("mkfifo", inFolder("fifo"));
    for (const readOnly of [true, false]) {
      const error = await failureOf(FileDriver.open({ path: inFolder("fifo"), readOnly }));
      expect(error.message).toBe(`'file' driver requires '${inFolder("fifo")}' to be a regular file`);
      expect(error.errno).toBe("EINVAL");
    }
  });

  it.runIf(process.platform !== "win32")("that is a device fails, directly and through a link", async () => {
    symlinkSync("/dev/zero", inFolder("zero"));
    for (const path of ["/dev/null", "/dev/zero", inFolder("zero")]) {
      const error = await failureOf(FileDriver.open({ path }));
      expect(error.message).toBe(`'file' driver requires '${path}' to be a regular file`);
    }
  });

  it.runIf(process.platform !== "win32")("that is a socket fails", async () => {
    const server = createServer().listen(inFolder("socket"));
    await new Promise((resolve) => server.once("listening", resolve));
    const error = await failureOf(FileDriver.open({ path: inFolder("socket") }));
    expect(error.message).toBe(`'file' driver requires '${inFolder("socket")}' to be a regular file`);
    await new Promise((resolve) => server.close(resolve));
  });

  it.runIf(process.platform === "linux")("of more bytes than offsets can count fails", async () => {
    // Only a file system in memory takes files of that length.
    const folder = mkdtempSync("/dev/shm/vblk-file-");
    try {
      const path = join(folder, "huge.img");
      closeSync(openSync(path, "w"));
      truncateSync(path, 2 ** 53 - 511);
      const error = await failureOf(FileDriver.open({ path }));
      expect([error.errno, error.message]).toEqual(["EFBIG", `Could not open '${path}': File too large`]);
      truncateSync(path, 2 ** 53 - 512);
      const driver = await FileDriver.open({ path });
      expect(driver.lengthBytes).toBe(2 ** 53 - 512);
      await driver.write(2 ** 53 - 1024, IoVector.of(new Uint8Array(512).fill(7)));
      const buffer = new Uint8Array(1024);
      await driver.read(2 ** 53 - 1536, IoVector.of(buffer));
      expect([buffer[511], buffer[512], buffer[1023]]).toEqual([0, 7, 7]);
      await driver.close();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("through a symbolic link opens what it points to", async () => {
    writeFileSync(inFolder("a.img"), new Uint8Array(1024));
    symlinkSync("a.img", inFolder("link"));
    const driver = await FileDriver.open({ path: inFolder("link") });
    await driver.write(0, IoVector.of(new Uint8Array(512).fill(1)));
    await driver.close();
    expect(readFileSync(inFolder("a.img"))[0]).toBe(1);
    expect(lstatSync(inFolder("link")).isSymbolicLink()).toBe(true);
  });

  it("writes nothing, whatever the file", async () => {
    writeFileSync(inFolder("a.img"), "abc");
    const driver = await FileDriver.open({ path: inFolder("a.img") });
    const refused = await failureOf(FileDriver.open({ path: inFolder("a.img") }));
    expect(refused.errno).toBe("EAGAIN");
    await driver.close();
    expect(readFileSync(inFolder("a.img"), "latin1")).toBe("abc");
    expect(readdirSync(dirname(inFolder("a.img")))).toEqual(["a.img"]);
  });

  it.runIf(process.platform === "linux")("leaves no file open behind it when it fails", async () => {
    const openFiles = (): number => readdirSync("/proc/self/fd").length;
    writeFileSync(inFolder("a.img"), "abc");
    const driver = await FileDriver.open({ path: inFolder("a.img") });
    await failureOf(FileDriver.open({ path: inFolder("a.img") }));
    const before = openFiles();
    for (let i = 0; i < 3; i++) {
      await failureOf(FileDriver.open({ path: inFolder("a.img") }));
      await failureOf(FileDriver.open({ path: "/dev/null" }));
      await failureOf(createImageFile({ path: inFolder("a.img"), lengthBytes: 512 }));
    }
    expect(openFiles()).toBe(before);
    await driver.close();
    expect(openFiles()).toBe(before - 1);
  });

  it.runIf(process.platform !== "win32")("that may not be read, or not be written, fails", async () => {
    writeFileSync(inFolder("secret.img"), "abc");
    writeFileSync(inFolder("protected.img"), "abc");
    chmodSync(inFolder("secret.img"), 0o000);
    chmodSync(inFolder("protected.img"), 0o444);
    await asOrdinaryUser(dirname(inFolder("x")), async () => {
      const unreadable = await failureOf(FileDriver.open({ path: inFolder("secret.img"), readOnly: true }));
      expect(unreadable.message).toBe(`Could not open '${inFolder("secret.img")}': Permission denied`);
      const unwritable = await failureOf(FileDriver.open({ path: inFolder("protected.img") }));
      expect(unwritable.message).toBe(`Could not open '${inFolder("protected.img")}': Permission denied`);
      const driver = await FileDriver.open({ path: inFolder("protected.img"), readOnly: true });
      expect(driver.lengthBytes).toBe(512);
      await driver.close();
    });
  });
});

describe("making an image", () => {
  const inFolder = useTemporaryFolder();
  const opened: FileDriver[] = [];
  afterEach(async () => {
    for (const driver of opened.splice(0)) await driver.close();
  });

  it("gives a file of zeroes without blocks, to the byte as long as asked for", async () => {
    await createImageFile({ path: inFolder("a.img"), lengthBytes: 1_000_001 });
    const { size, blocks, mode } = statSync(inFolder("a.img"));
    expect([size, blocks, mode & 0o777 & ~0o644]).toEqual([1_000_001, 0, 0]);
  });

  it("takes the contents from a file that is there and that nobody uses", async () => {
    writeFileSync(inFolder("a.img"), new Uint8Array(8192).fill(1));
    await createImageFile({ path: inFolder("a.img"), lengthBytes: 4096 });
    expect(readFileSync(inFolder("a.img")).equals(Buffer.alloc(4096))).toBe(true);
  });

  it("leaves a file as it is that anybody has open, this process included", async () => {
    writeFileSync(inFolder("a.img"), "precious");
    for (const readOnly of [false, true]) {
      const driver = await FileDriver.open({ path: inFolder("a.img"), readOnly });
      const error = await failureOf(createImageFile({ path: inFolder("a.img"), lengthBytes: 4096 }));
      expect([error.errno, error.message]).toEqual(["EAGAIN", 'Failed to get "write" lock']);
      expect(error.hint).toContain(`Is another process using the image [${inFolder("a.img")}]?`);
      await driver.close();
      expect(readFileSync(inFolder("a.img"), "latin1")).toBe("precious");
    }
  });

  it("with `exclusive` leaves a file as it is that is there", async () => {
    writeFileSync(inFolder("a.img"), "precious");
    const error = await failureOf(createImageFile({ path: inFolder("a.img"), lengthBytes: 1, exclusive: true }));
    expect([error.errno, error.message]).toEqual(["EEXIST", `Could not create '${inFolder("a.img")}': File exists`]);
    expect(readFileSync(inFolder("a.img"), "latin1")).toBe("precious");
    await createImageFile({ path: inFolder("b.img"), lengthBytes: 1, exclusive: true });
    expect(statSync(inFolder("b.img")).size).toBe(1);
  });

  it.each([
    ["a folder", "folder", "EISDIR", "Is a directory"],
    ["a file in a folder that is missing", "nowhere/a.img", "ENOENT", "No such file or directory"],
    ["a file behind a link to nothing", "dangling", "ENOENT", "No such file or directory"],
    ["a file with a zero byte in its name", "a\0b", "EINVAL", "Invalid argument"],
  ])("of %s fails", async (_what, name, errno, text) => {
    mkdirSync(inFolder("folder"));
    symlinkSync("nowhere/x", inFolder("dangling"));
    const error = await failureOf(createImageFile({ path: inFolder(name), lengthBytes: 512 }));
    expect([error.errno, error.message]).toEqual([errno, `Could not create '${inFolder(name)}': ${text}`]);
  });

  it("of a device or a FIFO fails", async () => {
    runWell("mkfifo", inFolder("fifo"));
    for (const path of ["/dev/null", inFolder("fifo")]) {
      const error = await failureOf(createImageFile({ path, lengthBytes: 512 }));
      expect(error.message).toBe(`'file' driver requires '${path}' to be a regular file`);
    }
  });

  it("too long for offsets fails, and so does one too long for the file system; neither leaves a file", async () => {
    const error = await failureOf(createImageFile({ path: inFolder("a.img"), lengthBytes: 2 ** 53 - 511 }));
    expect([error.errno, error.message]).toEqual(["EFBIG", `Could not create '${inFolder("a.img")}': File too large`]);
    const io = new FaultyFileIo(({ position }) => (position === 4096 ? { code: "EFBIG" } : undefined));
    const refused = await failureOf(createImageFile({ path: inFolder("a.img"), lengthBytes: 4096 }, { io }));
    expect([refused.errno, refused.message]).toEqual([
      "EFBIG",
      `Could not create '${inFolder("a.img")}': File too large`,
    ]);
    expect(readdirSync(dirname(inFolder("a.img")))).toEqual([]);
  });

  it("opens it for the one who makes it, and knows it to be zero", async () => {
    const driver = await FileDriver.create({ path: inFolder("a.img"), lengthBytes: 1000 });
    opened.push(driver);
    expect(driver.lengthBytes).toBe(1024);
    expect(driver.readOnly).toBe(false);
    expect(driver.blockStatus(0, 1024)).toEqual({ lengthBytes: 1024, allocated: true, data: false, zero: true });
    expect((await failureOf(FileDriver.open({ path: inFolder("a.img") }))).errno).toBe("EAGAIN");
    expect(existsSync(inFolder("a.img"))).toBe(true);
  });
});

/** Runs `body` without the superuser's rights, which no permission bits bind. */
async function asOrdinaryUser(folder: string, body: () => Promise<void>): Promise<void> {
  if (process.geteuid?.() !== 0) return body();
  chmodSync(folder, 0o755);
  process.seteuid!(NOBODY);
  try {
    await body();
  } finally {
    process.seteuid!(0);
  }
}
