// Values of migrate_set_parameter, as users type them: what QEMU 7.2 takes, and its texts for the rest.

import { QmpError } from "../../base/errors.ts";
import { readSize } from "./size-literal.ts";

type ParameterKind = "uint8_t" | "uint32_t" | "size" | "size-in-mib" | "bool" | "string" | "compression";

const KINDS: ReadonlyMap<string, ParameterKind> = new Map([
  ["announce-initial", "size"],
  ["announce-max", "size"],
  ["announce-rounds", "size"],
  ["announce-step", "size"],
  ["compress-level", "uint8_t"],
  ["compress-threads", "uint8_t"],
  ["compress-wait-thread", "bool"],
  ["decompress-threads", "uint8_t"],
  ["throttle-trigger-threshold", "uint8_t"],
  ["cpu-throttle-initial", "uint8_t"],
  ["cpu-throttle-increment", "uint8_t"],
  ["cpu-throttle-tailslow", "bool"],
  ["max-cpu-throttle", "uint8_t"],
  ["tls-creds", "string"],
  ["tls-hostname", "string"],
  ["tls-authz", "string"],
  ["max-bandwidth", "size-in-mib"],
  ["downtime-limit", "size"],
  ["x-checkpoint-delay", "uint32_t"],
  ["block-incremental", "bool"],
  ["multifd-channels", "uint8_t"],
  ["multifd-compression", "compression"],
  ["multifd-zlib-level", "uint8_t"],
  ["multifd-zstd-level", "uint8_t"],
  ["xbzrle-cache-size", "size"],
  ["max-postcopy-bandwidth", "size"],
]);

const MOST = { uint8_t: 0xffn, uint32_t: 0xffff_ffffn } as const;
const SWITCHES: ReadonlyMap<string, boolean> = new Map([
  ...["on", "yes", "true", "y"].map((word) => [word, true] as const),
  ...["off", "no", "false", "n"].map((word) => [word, false] as const),
]);
const COMPRESSIONS = ["none", "zlib", "zstd"];
const SIZE_HINT =
  "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand exabytes, respectively.";

/** The value as migrate-set-parameters takes it. A `QmpError` for another name, and for what is no value of that one. */
export function parseMigrationParameter(name: string, text: string): unknown {
  const kind = KINDS.get(name);
  if (name === "block-bitmap-mapping")
    throw new QmpError("The block-bitmap-mapping parameter can only be set through QMP");
  switch (kind) {
    case undefined:
      throw new QmpError(`invalid parameter value: ${name}`);
    case "uint8_t":
    case "uint32_t":
      return parseUnsigned(name, text, kind);
    case "size":
      return parseBytes(name, text);
    case "size-in-mib": {
      const size = readSize(text, "m");
      if (size.kind !== "size" || size.rest !== "") throw new QmpError(`Invalid size ${text}`);
      return size.bytes;
    }
    case "bool": {
      const on = SWITCHES.get(text);
      if (on === undefined) throw new QmpError(`Parameter '${name}' expects 'on' or 'off'`);
      return on;
    }
    case "compression":
      if (!COMPRESSIONS.includes(text)) throw new QmpError(`Parameter '${name}' does not accept value '${text}'`);
      return text;
    case "string":
      return text;
  }
}

function parseUnsigned(name: string, text: string, type: keyof typeof MOST): number {
  const [, sign, hex, octal, decimal] =
    /^(-?)(?:0x([0-9a-f]{1,16})|0([0-7]{1,22})|(0|[1-9]\d{0,19}))$/i.exec(text) ?? [];
  const digits = hex !== undefined ? `0x${hex}` : octal !== undefined ? `0o${octal}` : decimal;
  if (digits === undefined) throw new QmpError(`Parameter '${name}' expects uint64`);
  const value = BigInt(digits);
  if ((sign === "-" && value !== 0n) || value > MOST[type]) throw new QmpError(`Parameter '${name}' expects ${type}`);
  return Number(value);
}

function parseBytes(name: string, text: string): bigint {
  const size = readSize(text, "b");
  if (size.kind === "size" && size.rest === "") return size.bytes;
  throw new QmpError(`Parameter '${name}' expects a non-negative number below 2^64`, "GenericError", {
    hint: SIZE_HINT,
  });
}
