// qemu-io's read, readv and aio_read: docs/reference/monitor.md §5.1.

import { BlockError } from "../../base/errors.ts";
import { errorText } from "./qemu-io-aio-requests.ts";
import { type IoCommand, type IoContext, IoRefusal, IoUsage, MAX_REQUEST_BYTES } from "./qemu-io-command.ts";
import { MAX_DATA_BYTES } from "./qemu-io-memory.ts";
import { checkSectors, type IoOptions, parseLengths, parsePattern, parseSize, readOptions } from "./qemu-io-options.ts";
import { checkRange } from "./qemu-io-requests.ts";
import { dumpText, reportText } from "./qemu-io-text.ts";

/** A part of what is read, which is to consist of one byte. */
interface Expected {
  readonly pattern: number;
  readonly from: number;
  readonly length: number;
}

interface ReadRequest {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly expected: Expected | undefined;
  readonly dump: boolean;
  readonly quiet: boolean;
  readonly terse: boolean;
  /** `read`, `readv`: what failed. */
  readonly failing: string;
}

export const readCommand: IoCommand = {
  name: "read",
  alias: "r",
  minArguments: 2,
  maxArguments: Number.POSITIVE_INFINITY,
  needs: 0,
  synopsis: "[-abCqv] [-P pattern [-s off] [-l len]] off len",
  description: "reads a number of bytes at a specified offset",
  async run(context, words) {
    let pattern: number | undefined;
    let from = 0;
    let length: number | undefined;
    const options = readOptions(words, "bCl:pP:qs:v", context.services.errorOutput, (letter, value) => {
      if (letter === "P") pattern = parsePattern(value);
      else if (letter === "s") from = parseSize(value);
      else if (letter === "l") length = parseSize(value);
    });
    const { operands } = options;
    if (operands.length !== 2) throw new IoUsage();
    const offsetBytes = parseSize(operands[0]!);
    const lengthBytes = parseSize(operands[1]!);
    if (lengthBytes > MAX_REQUEST_BYTES)
      throw new IoRefusal(`length cannot exceed ${MAX_REQUEST_BYTES}, given ${operands[1]}`);
    if (pattern === undefined && (options.has("l") || options.has("s"))) throw new IoUsage();
    length ??= lengthBytes - from;
    if (length < 0 || from + length > lengthBytes)
      throw new IoRefusal("pattern verification range exceeds end of read data");
    const expected = pattern === undefined ? undefined : { pattern, from, length };
    if (options.has("b")) {
      checkSectors(offsetBytes, lengthBytes);
      context.services.output(`read failed: ${errorText(new BlockError("ENOTSUP"))}\n`); // no image has a VM state
      return;
    }
    await read(context, { offsetBytes, lengthBytes, expected, ...shown(options), failing: "read" });
  },
};

export const readvCommand: IoCommand = {
  name: "readv",
  minArguments: 2,
  maxArguments: Number.POSITIVE_INFINITY,
  needs: 0,
  synopsis: "[-Cqv] [-P pattern] off len [len..]",
  description: "reads a number of bytes at a specified offset",
  run: (context, words) => read(context, parseVector(context, words, "CP:qv")),
};

export const aioReadCommand: IoCommand = {
  name: "aio_read",
  minArguments: 2,
  maxArguments: Number.POSITIVE_INFINITY,
  needs: 0,
  synopsis: "[-Ciqv] [-P pattern] off len [len..]",
  description: "asynchronously reads a number of bytes",
  run(context, words) {
    context.aio.add(context.backend, read(context, parseVector(context, words, "CP:iqv")));
  },
};

function parseVector(context: IoContext, words: readonly string[], letters: string): ReadRequest {
  let pattern: number | undefined;
  const options = readOptions(words, letters, context.services.errorOutput, (letter, value) => {
    if (letter === "P") pattern = parsePattern(value);
    else if (letter === "i") throw new IoRefusal("injecting invalid read request");
  });
  const [offset, ...lengths] = options.operands;
  if (offset === undefined || lengths.length === 0) throw new IoUsage();
  const offsetBytes = parseSize(offset);
  const lengthBytes = parseLengths(lengths);
  const expected = pattern === undefined ? undefined : { pattern, from: 0, length: lengthBytes };
  return { offsetBytes, lengthBytes, expected, ...shown(options), failing: "readv" };
}

function shown(options: IoOptions): Pick<ReadRequest, "dump" | "quiet" | "terse"> {
  return { dump: options.has("v"), quiet: options.has("q"), terse: options.has("C") };
}

/**
 * Reads, compares, dumps and reports; prints that it failed. More than 64 MiB to be looked at is read by several requests, and
 * dumped as it comes.
 */
async function read(context: IoContext, request: ReadRequest): Promise<void> {
  const { clock, output } = context.services;
  const { offsetBytes, lengthBytes, expected, dump, quiet, terse } = request;
  const begunMs = clock.nowMs();
  const looked = expected !== undefined || (dump && !quiet);
  const stepBytes = looked ? MAX_DATA_BYTES : lengthBytes;
  let differs = false;
  let dumped = "";
  try {
    checkRange(context.backend, offsetBytes, lengthBytes);
    let done = 0;
    do {
      const step = Math.min(stepBytes, lengthBytes - done);
      const data = looked ? context.memory.whole(step) : context.memory.scratch(step);
      try {
        const pending = context.backend.read(offsetBytes + done, data.vector);
        if (pending !== undefined) await pending;
        if (expected !== undefined) differs ||= !matches(data.bytes, done, expected);
        if (dump && !quiet) dumped = dumpText(data.bytes, offsetBytes + done);
      } finally {
        context.memory.release(data);
      }
      done += step;
      if (done < lengthBytes) {
        output(dumped);
        dumped = "";
      }
    } while (done < lengthBytes);
  } catch (error) {
    output(`${request.failing} failed: ${errorText(error)}\n`);
    return;
  }
  const elapsedMs = clock.nowMs() - begunMs;
  if (expected !== undefined && differs) {
    const { from, length } = expected;
    output(`Pattern verification failed at offset ${offsetBytes + from}, ${length} bytes\n`);
  }
  if (quiet) return;
  output(dumped + reportText({ verb: "read", offsetBytes, lengthBytes, elapsedMs }, terse));
}

/** Whether the part of the expected range in `bytes`, which stand `at` bytes behind the request's beginning, is as expected. */
function matches(bytes: Uint8Array, at: number, { pattern, from, length }: Expected): boolean {
  const end = Math.min(bytes.length, from + length - at);
  for (let i = Math.max(0, from - at); i < end; i++) if (bytes[i] !== pattern) return false;
  return true;
}
