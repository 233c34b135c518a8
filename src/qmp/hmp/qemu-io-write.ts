// qemu-io's write, writev and aio_write: docs/reference/monitor.md §5.1.

import { BlockError } from "../../base/errors.ts";
import { PERM_WRITE } from "../../block/permissions.ts";
import { errorText } from "./qemu-io-aio-requests.ts";
import { type IoCommand, type IoContext, IoRefusal, IoUsage, MAX_REQUEST_BYTES } from "./qemu-io-command.ts";
import { MAX_DATA_BYTES } from "./qemu-io-memory.ts";
import { checkSectors, type IoOptions, parseLengths, parsePattern, parseSize, readOptions } from "./qemu-io-options.ts";
import { checkRange } from "./qemu-io-requests.ts";
import { reportText } from "./qemu-io-text.ts";

const DEFAULT_PATTERN = 0xcd;

interface WriteRequest {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  /** What is written, again and again; zeroes without it. */
  readonly pattern: Uint8Array | undefined;
  readonly mayUnmap: boolean;
  readonly noFallback: boolean;
  /** On stable storage before it is done. */
  readonly forceUnitAccess: boolean;
  readonly quiet: boolean;
  readonly terse: boolean;
  /** `write`, `writev`, `aio_write`: what failed. */
  readonly failing: string;
}

export const writeCommand: IoCommand = {
  name: "write",
  alias: "w",
  minArguments: 2,
  maxArguments: Number.POSITIVE_INFINITY,
  needs: PERM_WRITE,
  synopsis: "[-bcCfnquz] [-P pattern | -s source_file] off len",
  description: "writes a number of bytes at a specified offset",
  async run(context, words) {
    let byte = DEFAULT_PATTERN;
    let file: string | undefined;
    const options = readOptions(words, "bcCfnpP:qs:uz", context.services.errorOutput, (letter, value) => {
      if (letter === "P") byte = parsePattern(value);
      else if (letter === "s") file = value;
    });
    const { operands } = options;
    if (operands.length !== 2) throw new IoUsage();
    checkCombination(options);
    const offsetBytes = parseSize(operands[0]!);
    const lengthBytes = parseSize(operands[1]!);
    if (lengthBytes > MAX_REQUEST_BYTES && !options.has("n"))
      throw new IoRefusal(`length cannot exceed ${MAX_REQUEST_BYTES} without -n, given ${operands[1]}`);
    const zeroes = options.has("z");
    if (options.has("b") || options.has("c")) checkSectors(offsetBytes, lengthBytes);
    const pattern = zeroes ? undefined : await readPattern(context, byte, file, lengthBytes);
    if (options.has("b") || (options.has("c") && !zeroes)) {
      // No image here has a VM state, or takes compressed clusters.
      context.services.output(`write failed: ${errorText(new BlockError("ENOTSUP"))}\n`);
      return;
    }
    await write(context, { offsetBytes, lengthBytes, pattern, ...manner(options), failing: "write" });
  },
};

export const writevCommand: IoCommand = {
  name: "writev",
  minArguments: 2,
  maxArguments: Number.POSITIVE_INFINITY,
  needs: PERM_WRITE,
  synopsis: "[-Cfq] [-P pattern] off len [len..]",
  description: "writes a number of bytes at a specified offset",
  run: (context, words) => write(context, parseVector(context, words, "CfP:q", "writev")),
};

export const aioWriteCommand: IoCommand = {
  name: "aio_write",
  minArguments: 2,
  maxArguments: Number.POSITIVE_INFINITY,
  needs: PERM_WRITE,
  synopsis: "[-Cfiquz] [-P pattern] off len [len..]",
  description: "asynchronously writes a number of bytes",
  run(context, words) {
    context.aio.add(context.backend, write(context, parseVector(context, words, "CfiP:quz", "aio_write")));
  },
};

function checkCombination(options: IoOptions): void {
  const has = (letter: string): boolean => options.has(letter);
  if (has("b") && has("z")) throw new IoRefusal("-b and -z cannot be specified at the same time");
  if (has("f") && (has("b") || has("c"))) throw new IoRefusal("-f and -b or -c cannot be specified at the same time");
  if (has("n") && !has("z")) throw new IoRefusal("-n requires -z to be specified");
  if (has("u") && !has("z")) throw new IoRefusal("-u requires -z to be specified");
  if (["z", "P", "s"].filter(has).length > 1)
    throw new IoRefusal("Only one of -z, -P, and -s can be specified at the same time");
}

async function readPattern(
  { services }: IoContext,
  byte: number,
  file: string | undefined,
  lengthBytes: number,
): Promise<Uint8Array> {
  if (file === undefined) return Uint8Array.of(byte);
  try {
    if (services.readFile === undefined) throw new BlockError("ENOENT");
    const pattern = await services.readFile(file, Math.min(lengthBytes, MAX_DATA_BYTES));
    if (pattern.length > 0 || lengthBytes === 0) return pattern.length > 0 ? pattern : Uint8Array.of(byte);
  } catch (error) {
    throw new IoRefusal(`${file}: ${errorText(error)}`, "errorOutput");
  }
  throw new IoRefusal(`${file}: file is empty`, "errorOutput");
}

function parseVector(context: IoContext, words: readonly string[], letters: string, failing: string): WriteRequest {
  let byte = DEFAULT_PATTERN;
  const options = readOptions(words, letters, context.services.errorOutput, (letter, value) => {
    if (letter === "P") byte = parsePattern(value);
    else if (letter === "i") throw new IoRefusal("injecting invalid write request");
  });
  const [offset, ...lengths] = options.operands;
  if (offset === undefined || lengths.length === 0) throw new IoUsage();
  const zeroes = options.has("z");
  if (zeroes && lengths.length > 1) throw new IoRefusal("-z supports only a single length parameter");
  if (options.has("u") && !zeroes) throw new IoRefusal("-u requires -z to be specified");
  const offsetBytes = parseSize(offset);
  const lengthBytes = zeroes ? parseSize(lengths[0]!) : parseLengths(lengths);
  const pattern = zeroes ? undefined : Uint8Array.of(byte);
  return { offsetBytes, lengthBytes, pattern, ...manner(options), failing };
}

function manner(
  options: IoOptions,
): Pick<WriteRequest, "mayUnmap" | "noFallback" | "forceUnitAccess" | "quiet" | "terse"> {
  return {
    mayUnmap: options.has("u"),
    noFallback: options.has("n"),
    forceUnitAccess: options.has("f"),
    quiet: options.has("q"),
    terse: options.has("C"),
  };
}

/** Writes and reports; prints that it failed. */
async function write(context: IoContext, request: WriteRequest): Promise<void> {
  const { clock, output } = context.services;
  const { offsetBytes, lengthBytes, quiet, terse } = request;
  const begunMs = clock.nowMs();
  try {
    checkRange(context.backend, offsetBytes, lengthBytes);
    const pending = request.pattern === undefined ? sendZeroes(context, request) : send(context, request);
    if (pending !== undefined) await pending;
    const flushing = request.forceUnitAccess ? context.backend.flush() : undefined;
    if (flushing !== undefined) await flushing;
  } catch (error) {
    output(`${request.failing} failed: ${errorText(error)}\n`);
    return;
  }
  const elapsedMs = clock.nowMs() - begunMs;
  if (!quiet) output(reportText({ verb: "wrote", offsetBytes, lengthBytes, elapsedMs }, terse));
}

function sendZeroes({ backend }: IoContext, request: WriteRequest): void | Promise<void> {
  const { offsetBytes, lengthBytes, mayUnmap, noFallback } = request;
  return backend.writeZeroes(offsetBytes, lengthBytes, { mayUnmap, noFallback });
}

async function send({ backend, memory }: IoContext, request: WriteRequest): Promise<void> {
  const data = memory.pattern(request.pattern!, request.lengthBytes);
  try {
    await backend.write(request.offsetBytes, data.vector);
  } finally {
    memory.release(data);
  }
}
