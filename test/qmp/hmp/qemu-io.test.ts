// qemu-io in the monitor: the texts are those of QEMU 7.2 for the same lines, docs/reference/monitor.md §5.1.
import { beforeEach, describe, expect, it } from "vitest";
import { KIB, MIB, Rig } from "./rig.ts";

const READ = "read [-abCqv] [-P pattern [-s off] [-l len]] off len -- reads a number of bytes at a specified offset";
const WRITE =
  "write [-bcCfnquz] [-P pattern | -s source_file] off len -- writes a number of bytes at a specified offset";
const AIO_WRITE = "aio_write [-Cfiquz] [-P pattern] off len [len..] -- asynchronously writes a number of bytes";

let rig: Rig;
let bytes: Uint8Array;
beforeEach(async () => {
  rig = new Rig();
  bytes = await rig.addDrive("d0", 64 * KIB + MIB, { discard: "unmap" });
  bytes.fill(7, 0, 64 * KIB);
});

/** The report on a request: 1 ms has passed. */
function report(verb: string, length: number, offset: number, size: string, rate: string): string {
  return `out: ${verb} ${length}/${length} bytes at offset ${offset}\n${size}, 1 ops; 00.00 sec (${rate}/sec and 1000.0000 ops/sec)\n`;
}

describe("qemu-io's commands", () => {
  it.each([
    ["", ""],
    ["   ", ""],
    ["zzz 1", 'err: command "zzz" not found\n'],
    ["ReaD 0 1", 'err: command "ReaD" not found\n'],
    ["quit", 'err: command "quit" not found\n'],
    ["read", "err: bad argument count 0 to read, expected at least 2 arguments\n"],
    ["r 0", "err: bad argument count 1 to r, expected at least 2 arguments\n"],
    ["aio_flush 1", "err: bad argument count 1 to aio_flush, expected 0 arguments\n"],
    ["sleep", "err: bad argument count 0 to sleep, expected 1 arguments\n"],
    ["break x", "err: bad argument count 1 to break, expected 2 arguments\n"],
    ["alloc", "err: bad argument count 0 to alloc, expected between 1 and 2 arguments\n"],
    ["truncate 1 2 3 4", "err: bad argument count 4 to truncate, expected between 1 and 3 arguments\n"],
    ["help a b", "err: bad argument count 2 to help, expected between 0 and 1 arguments\n"],
    ["help zzz", "out: command zzz not found\n"],
    ["help length", "out: length -- gets the length of the current file\n"],
    ["help d", "out: d [-Cq] off len -- discards a number of bytes at a specified offset\n"],
    ["read 0 1 2", `out: ${READ}\n`],
    ["read -Z 0 512", `out: ${READ}\nerr: read: invalid option -- 'Z'\n`],
    ["read -1 512", `out: ${READ}\nerr: read: invalid option -- '1'\n`],
    ["read 0 512 -P", `out: ${READ}\nerr: read: option requires an argument -- 'P'\n`],
    ["read -s 16 0 64k", `out: ${READ}\n`],
    ["read -l 16 0 64k", `out: ${READ}\n`],
    ["read -l x 0", "out: Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- x\n"],
    ["read -P 7 -s -P 0", "out: Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- -P\n"],
    ["read -P 256 -Z 0", "out: 256 is not a valid pattern byte\n"],
    ["read -P -1 0 64k", "out: -1 is not a valid pattern byte\n"],
    ["read -P 7q 0 64k", "out: 7q is not a valid pattern byte\n"],
    ["read -- -1 512", "out: Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- -1\n"],
    ["read 1.5 1", "out: Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- 1.5\n"],
    ["read .5k 1", "out: Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- .5k\n"],
    ["read 1e3 1", "out: Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- 1e3\n"],
    ["read 0x 1", "out: Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- 0x\n"],
    ["read 1kB 1", "out: Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- 1kB\n"],
    ["read 8E 512", "out: Parsing error: argument too large -- 8E\n"],
    ["read 9223372036854775808 1", "out: Parsing error: argument too large -- 9223372036854775808\n"],
    ["read 9223372036854775807 1", "out: read failed: Input/output error\n"],
    ["read 7E 1", "out: read failed: Input/output error\n"],
    ["read 0 3G", "out: length cannot exceed 2147483136, given 3G\n"],
    ["read 0 2147483136", "out: read failed: Input/output error\n"],
    ["read 2M 0", "out: read failed: Input/output error\n"],
    ["read -b 0 512", "out: read failed: Operation not supported\n"],
    ["read -b 1 512", "out: 1 is not a sector-aligned value for 'offset'\n"],
    ["read -b 512 1", "out: 1 is not a sector-aligned value for 'count'\n"],
    ["read -P 7 -s 65530 -l 16 0 64k", "out: pattern verification range exceeds end of read data\n"],
    ["read -P 8 -s 70000 0 64k", "out: pattern verification range exceeds end of read data\n"],
    ["write 0 1 2", `out: ${WRITE}\n`],
    ["write 0 -512", `out: ${WRITE}\nerr: write: invalid option -- '5'\n`],
    ["write -u 0 512", "out: -u requires -z to be specified\n"],
    ["write -n -u x y", "out: -n requires -z to be specified\n"],
    ["write -z -P 1 0 512", "out: Only one of -z, -P, and -s can be specified at the same time\n"],
    ["write -s f -P 1 0 512", "out: Only one of -z, -P, and -s can be specified at the same time\n"],
    ["write -b -f -z x y", "out: -b and -z cannot be specified at the same time\n"],
    ["write -fc 0 512", "out: -f and -b or -c cannot be specified at the same time\n"],
    ["write -b 0 512", "out: write failed: Operation not supported\n"],
    ["write -c 0 512", "out: write failed: Operation not supported\n"],
    ["write -c 512 1", "out: 1 is not a sector-aligned value for 'count'\n"],
    ["write 0 3G", "out: length cannot exceed 2147483136 without -n, given 3G\n"],
    ["write -zn 0 3G", "out: write failed: Input/output error\n"],
    ["write 10M 512", "out: write failed: Input/output error\n"],
    ["write -s nope.bin 0 10", "err: nope.bin: No such file or directory\n"],
    ["aio_read 0 512 x", "out: Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- x\n"],
    ["aio_read -i 0 512", "out: injecting invalid read request\n"],
    ["aio_read -q 10M 512", "out: readv failed: Input/output error\n"],
    ["aio_write -i -z 0 512", "out: injecting invalid write request\n"],
    ["aio_write 0 2G 2G", "out: Argument '2G' exceeds maximum size 2147483136\n"],
    ["aio_write -z 0 512 512", "out: -z supports only a single length parameter\n"],
    ["aio_write -u 0 512", "out: -u requires -z to be specified\n"],
    ["aio_write 10M 512", "out: aio_write failed: Input/output error\n"],
    ["aio_write -z 0 3G", "out: aio_write failed: Input/output error\n"],
    ["aio_write -n 0 512", `out: ${AIO_WRITE}\nerr: aio_write: invalid option -- 'n'\n`],
    ["readv 0 2147483136 1k", "out: The total number of bytes exceed the maximum size 2147483136\n"],
    ["readv 10M 512", "out: readv failed: Input/output error\n"],
    ["writev 10M 512", "out: writev failed: Input/output error\n"],
    ["discard 0 512 512", "out: discard [-Cq] off len -- discards a number of bytes at a specified offset\n"],
    ["discard 0 2G", "out: length cannot exceed 2147483136, given 2G\n"],
    ["discard 10M 512", "out: discard failed: Input/output error\n"],
    ["discard 2M 0", "out: discard failed: Input/output error\n"],
    ["flush", ""],
    ["aio_flush", ""],
    ["length", "out: 1.062 MiB\n"],
    ["map", "out: 1.062 MiB (0x110000) bytes     allocated at offset 0 bytes (0x0)\n"],
    ["alloc 0", "out: 512/512 bytes allocated at offset 0 bytes\n"],
    ["alloc 66000 2M", "out: 1048112/1048112 bytes allocated at offset 64.453 KiB\n"],
    ["alloc 2M 512", "out: 0/0 bytes allocated at offset 2 MiB\n"],
    ["alloc -1", "out: Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- -1\n"],
    ["info", "out: format name: memory\ncluster size: 0 bytes\nvm state offset: 0 bytes\n"],
    ["truncate x", "out: Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- x\n"],
    ["truncate -m foo x", "Invalid preallocation mode 'foo'\r\n"],
    ["truncate -m off", "out: truncate [-m prealloc_mode] off -- truncates the current file at the given offset\n"],
    ["sleep x", "out: x is not a valid number\n"],
    ["sleep -1", "out: -1 is not a valid number\n"],
    ["sleep 1.5", "out: 1.5 is not a valid number\n"],
    ["sleep 99999999999999999999999", ""],
    ["break read_aio A", "out: Could not set breakpoint: Operation not supported\n"],
    ["resume A", "out: Could not resume request: Operation not supported\n"],
    ["remove_break A", "out: Could not remove breakpoint A: Operation not supported\n"],
    ["wait_break A", "out: Could not wait for breakpoint A: Operation not supported\n"],
  ])("%j prints what QEMU prints", async (command, text) => {
    const before = bytes.slice();
    expect(await rig.io("d0", command)).toBe(text);
    expect(Buffer.compare(bytes, before)).toBe(0);
  });

  it("sleep waits for the milliseconds given", async () => {
    expect(await rig.io("d0", "sleep 0x1f4")).toBe("");
    expect(rig.clock.now).toBe(500);
  });

  it("truncate changes the length, and says why it cannot", async () => {
    expect(await rig.io("d0", "truncate 1500")).toBe("");
    expect(await rig.io("d0", "length")).toBe("out: 1.500 KiB\n");
    await rig.graph.add({ driver: "null-co", "node-name": "nn", size: MIB });
    expect(await rig.io("nn", "truncate 2M")).toBe("Image format driver does not support resize\r\n");
  });

  it("a drive without a medium fails as in QEMU", async () => {
    rig.graph.addBackend({ name: "e0" });
    const expected = {
      "read 0 512": "out: read failed: No medium found\n",
      "write 0 512": "out: write failed: No medium found\n",
      "discard 0 512": "out: discard failed: No medium found\n",
      length: "out: getlength: No medium found\n",
      map: "Failed to query image length: No medium found\r\n",
      "truncate 1M": "No medium inserted\r\n",
      "break a b": "out: Could not set breakpoint: Operation not supported\n",
      flush: "",
    };
    for (const [command, text] of Object.entries(expected)) expect(await rig.io("e0", command)).toBe(text);
  });
});

describe("qemu-io's read", () => {
  it.each([
    ["read 0 512", report("read", 512, 0, "512 bytes", "500 KiB")],
    ["r -P7 1.5k 1k", report("read", 1024, 1536, "1 KiB", "1000 KiB")],
    ["read 010 1", report("read", 1, 10, "1 bytes", "1000 bytes")],
    ["read 0x1E 0X2", report("read", 2, 30, "2 bytes", "1.953 KiB")],
    ["read -p 0 100000", report("read", 100000, 0, "97.656 KiB", "95.367 MiB")],
    ["read 0 0", report("read", 0, 0, "0 bytes", "0 bytes")],
    ["readv -P 07 0 512 512", report("read", 1024, 0, "1 KiB", "1000 KiB")],
    ["aio_read -P 7 1 513", report("read", 513, 1, "513 bytes", "500.977 KiB")],
    ["read -C 0 512", "out: 512,1,0:00:00.00,512000.000,1000.000\n"],
    ["read -qvC 0 512", ""],
    ["r 0 512 -q", ""],
    ["read -q -P 8 0 64k", "out: Pattern verification failed at offset 0, 65536 bytes\n"],
    ["read -q -P 8 -s 16 -l 16 512 64k", "out: Pattern verification failed at offset 528, 16 bytes\n"],
    ["read -q -P 7 -s 16 0 65552", "out: Pattern verification failed at offset 16, 65536 bytes\n"],
    ["read -q -P 7 -l 64k 0 65552", ""],
    ["read -q -P 8 -s 65535 -l 0 0 64k", ""],
    ["read -q -P 7 -P 8 0 1", "out: Pattern verification failed at offset 0, 1 bytes\n"],
    [
      "read -C -P 7 -v 65527 20",
      "out: Pattern verification failed at offset 65527, 20 bytes\n" +
        "0000fff7:  07 07 07 07 07 07 07 07 07 00 00 00 00 00 00 00  ................\n" +
        "00010007:  00 00 00 00  ....\n20,1,0:00:00.00,20000.000,1000.000\n",
    ],
  ])("%j reports what it has read", async (command, text) => {
    expect(await rig.io("d0", command)).toBe(text);
  });

  it("shows letters and digits beside the bytes", async () => {
    bytes.set(new TextEncoder().encode("aZ09 ~/:@[`{"));
    const text = await rig.io("d0", "read -v 0 12");
    expect(text.split("\n")[0]).toBe("out: 00000000:  61 5a 30 39 20 7e 2f 3a 40 5b 60 7b  aZ09........");
  });

  it("tells long times in hours and minutes", async () => {
    const slow = new Rig({ stepMs: 7445000 + 30 });
    await slow.addDrive("d0", MIB);
    expect(await slow.io("d0", "read 0 512")).toBe(
      "out: read 512/512 bytes at offset 0\n512 bytes, 1 ops; 2:04:05.03 (0.068771 bytes/sec and 0.0001 ops/sec)\n",
    );
  });

  it("reads the longest request with bounded memory", async () => {
    await rig.graph.add({ driver: "null-co", "node-name": "big", size: 2 ** 31, "read-zeroes": true });
    const before = process.memoryUsage().arrayBuffers;
    expect(await rig.io("big", "read -C 0 2147483136")).toMatch(/^out: 2147483136,1,/);
    expect(await rig.io("big", "write -C 0 2147483136")).toMatch(/^out: 2147483136,1,/);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 * MIB);
  });

  it("compares more than it holds at once", async () => {
    await rig.graph.add({ driver: "null-co", "node-name": "big", size: 2 ** 28, "read-zeroes": true });
    expect(await rig.io("big", "read -q -P 0 0 130M")).toBe("");
    expect(await rig.io("big", "read -q -P 1 -s 129M -l 16 0 130M")).toBe(
      "out: Pattern verification failed at offset 135266304, 16 bytes\n",
    );
  });
});

describe("qemu-io's write", () => {
  it.each([
    ["write 1M 512", report("wrote", 512, MIB, "512 bytes", "500 KiB"), 0xcd],
    ["w -P 0x41 1M 512", report("wrote", 512, MIB, "512 bytes", "500 KiB"), 0x41],
    ["writev -P 3 1M 256 256", report("wrote", 512, MIB, "512 bytes", "500 KiB"), 3],
    ["aio_write -P 4 1M 256 256", report("wrote", 512, MIB, "512 bytes", "500 KiB"), 4],
    ["write -f -C -P 9 1M 512", "out: 512,1,0:00:00.00,512000.000,1000.000\n", 9],
    ["write -q -P 010 1M 512", "", 8],
    ["write -q -z 1M 512", "", 0],
    ["write -q -zuf 1M 512", "", 0],
    ["aio_write -q -zu -P 4 1M 512", "", 0],
    ["discard 1M 512", report("discard", 512, MIB, "512 bytes", "500 KiB"), 0],
    ["d -q 1M 512", "", 0],
  ])("%j writes exactly its range", async (command, text, byte) => {
    bytes.fill(0xff, MIB - 512);
    expect(await rig.io("d0", command)).toBe(text);
    const around = new Uint8Array(1536).fill(0xff).fill(byte, 512, 1024);
    expect(bytes.slice(MIB - 512, MIB + 1024)).toEqual(around);
  });

  it("repeats the contents of a file", async () => {
    rig.files.set("pat.bin", new TextEncoder().encode("abc"));
    expect(await rig.io("d0", "write -q -s pat.bin 1M 10")).toBe("");
    expect(new TextDecoder().decode(bytes.slice(MIB, MIB + 11))).toBe("abcabcabca\0");
    rig.files.set("empty.bin", new Uint8Array(0));
    expect(await rig.io("d0", "write -s empty.bin 1M 10")).toBe("err: empty.bin: file is empty\n");
  });

  it("keeps the rhythm of a pattern beyond the buffer that it is repeated from", async () => {
    const big = await rig.addDrive("big", 4 * MIB);
    rig.files.set("pat.bin", Uint8Array.of(1, 2, 3));
    expect(await rig.io("big", "write -q -s pat.bin 0 4M")).toBe("");
    expect(big.findIndex((byte, i) => byte !== (i % 3) + 1)).toBe(-1);
  });
});
