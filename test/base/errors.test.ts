// The errors that cross a part's border, and assertions, which are none of them.
import { openSync } from "node:fs";
import { tmpdir } from "node:os";
import { describe, expect, it } from "vitest";
import { AssertionError, assert, unreachable } from "../../src/base/assert.ts";
import { BlockError, QmpError, strerror } from "../../src/base/errors.ts";

/** An error as Node throws it for a failed system call. */
function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: something`), { code });
}

describe("BlockError", () => {
  it("says what the C library says", () => {
    expect(new BlockError("ENOSPC")).toMatchObject({ errno: "ENOSPC", message: "No space left on device" });
    expect(new BlockError("EIO").message).toBe("Input/output error");
    expect(new BlockError("EPERM", "Block node is read-only").message).toBe("Block node is read-only");
    expect(strerror("EINVAL")).toBe("Invalid argument");
    expect(strerror("ENOTSUP")).toBe("Operation not supported");
  });

  it("takes over what the operating system reports", () => {
    for (const errno of ["ENOSPC", "EIO", "EDQUOT", "EACCES", "EFBIG", "ENOENT"] as const) {
      const error = BlockError.from(systemError(errno), "write");
      expect(error).toMatchObject({ errno, message: `write: ${strerror(errno)}` });
      expect(error.cause).toBeInstanceOf(Error);
    }
    let real: unknown;
    try {
      openSync(`${tmpdir()}/no/such/file`, "r");
    } catch (error) {
      real = error;
    }
    expect(BlockError.from(real, "open")).toMatchObject({
      errno: "ENOENT",
      message: "open: No such file or directory",
    });
  });

  it("counts what it does not know as EIO, whatever it is called", () => {
    for (const code of ["EWHATEVER", "toString", "constructor", "__proto__", ""]) {
      expect(BlockError.from(systemError(code), "read").errno, code).toBe("EIO");
    }
    expect(BlockError.from(undefined, "read")).toMatchObject({ errno: "EIO", message: "read: Input/output error" });
    expect(BlockError.from("a string", "read").errno).toBe("EIO");
  });

  it("leaves one of its own as it is", () => {
    const error = new BlockError("ENOSPC");
    expect(BlockError.from(error, "write")).toBe(error);
  });

  it("never hides a failed assertion", () => {
    expect(() => BlockError.from(new AssertionError("ours"), "write")).toThrow(AssertionError);
  });
});

describe("QmpError", () => {
  it("is a GenericError unless it says otherwise", () => {
    expect(new QmpError("no").errorClass).toBe("GenericError");
    expect(new QmpError("no", "DeviceNotFound")).toMatchObject({ errorClass: "DeviceNotFound", name: "QmpError" });
  });
});

describe("assert", () => {
  it("throws what it says where its condition does not hold", () => {
    assert(true, "fine");
    expect(() => assert(false, "broken")).toThrow(new AssertionError("broken"));
    expect(() => unreachable("a value" as never)).toThrow("unreachable: a value");
  });
});
