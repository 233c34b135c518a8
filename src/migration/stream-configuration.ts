// The configuration of an incoming stream, and whether this machine is the one it is meant for: docs/reference/migration-stream.md §1.1.

import { orCutOff, StreamError } from "./stream-error.ts";
import { SECTION_SUBSECTION } from "./stream-format.ts";
import type { StreamSource } from "./stream-source.ts";

/** What the configuration of a stream is compared with. */
export interface LoadConfiguration {
  /** Of this machine, as it stands in streams. */
  readonly machine: string;
  readonly uuid: string | undefined;
  /** Whether a capability is on; undefined for an unknown one. */
  readonly capability: (name: string) => boolean | undefined;
}

/** Longer than any machine's name. */
const MAX_NAME_BYTES = 255;
/** Of the bare machine. */
const PAGE_BITS = 10;
/** More than there are. */
const MAX_CAPABILITIES = 64;
/** Those in which both sides have to agree. */
const VALIDATED = new Set(["x-ignore-shared"]);

/** Reads the configuration, after its type byte. A `StreamError` where it is not meant for this machine. */
export async function loadConfiguration(
  source: StreamSource,
  local: LoadConfiguration,
  report: (line: string) => void,
): Promise<void> {
  await orCutOff(source.need(4), "EIO", "Failed to load configuration:len");
  const length = source.u32();
  if (length > MAX_NAME_BYTES) throw new StreamError("EINVAL", `Machine type received has a name of ${length} bytes`);
  const machine = await orCutOff(source.text(length), "EIO", "Failed to load configuration:name");
  if (machine !== local.machine) {
    throw new StreamError("EINVAL", `Machine type received is '${machine}' and local is '${local.machine}'`);
  }
  while (!(await source.atEnd()) && source.peek() === SECTION_SUBSECTION) {
    source.u8();
    await loadSubsection(source, local, report);
  }
}

async function loadSubsection(
  source: StreamSource,
  local: LoadConfiguration,
  report: (line: string) => void,
): Promise<void> {
  const name = await source.counted();
  await source.need(4);
  const version = source.u32();
  const load = SUBSECTIONS.get(name);
  if (load === undefined) throw new StreamError("ENOENT");
  if (version > 1) {
    throw new StreamError("EINVAL", `${name}: incoming version_id ${version} is too new for local version_id 1`);
  }
  await load(source, local, report);
}

const SUBSECTIONS: ReadonlyMap<string, typeof loadSubsection> = new Map([
  ["configuration/target-page-bits", loadPageBits],
  ["configuration/capabilities", loadCapabilities],
  ["configuration/uuid", loadUuid],
]);

async function loadPageBits(source: StreamSource): Promise<void> {
  await source.need(4);
  const bits = source.u32();
  if (bits !== PAGE_BITS) {
    throw new StreamError("EINVAL", `Received TARGET_PAGE_BITS is ${bits} but local is ${PAGE_BITS}`);
  }
}

async function loadCapabilities(source: StreamSource, { capability }: LoadConfiguration): Promise<void> {
  await source.need(4);
  const count = source.u32();
  if (count > MAX_CAPABILITIES) throw new StreamError("EINVAL", `Received ${count} capabilities`);
  const received = new Set<string>();
  for (let i = 0; i < count; i++) {
    const name = await source.counted();
    if (capability(name) === undefined) {
      throw new StreamError(
        "EINVAL",
        `Received unknown capability ${name}`,
        "Failed to load configuration/capabilities:capabilities",
      );
    }
    received.add(name);
  }
  for (const name of VALIDATED) {
    const [here, there] = [capability(name) === true, received.has(name)];
    if (here === there) continue;
    throw new StreamError("EINVAL", `Capability ${name} is ${onOff(here)}, but received capability is ${onOff(there)}`);
  }
}

async function loadUuid(source: StreamSource, local: LoadConfiguration, report: (line: string) => void): Promise<void> {
  await source.need(16);
  const digits = Array.from(source.bytes(16), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const uuid = digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  if (local.uuid === undefined) report(`warning: UUID is received ${uuid}, but local uuid isn't set`);
  else if (local.uuid !== uuid) {
    throw new StreamError("EINVAL", `UUID received is ${uuid} and local is ${local.uuid}`);
  }
}

function onOff(on: boolean): string {
  return on ? "on" : "off";
}
