// Reads the envelope of an incoming migration: docs/reference/migration-stream.md §1, §3.

import type { StreamCommands } from "./stream-commands.ts";
import { type LoadConfiguration, loadConfiguration } from "./stream-configuration.ts";
import { EndOfStreamError, orCutOff, StreamError } from "./stream-error.ts";
import {
  CMD_PACKAGED,
  OBSOLETE_STREAM_VERSION,
  SECTION_COMMAND,
  SECTION_CONFIGURATION,
  SECTION_END,
  SECTION_EOF,
  SECTION_FOOTER,
  SECTION_FULL,
  SECTION_PART,
  SECTION_START,
  SECTION_VMDESC,
  STREAM_MAGIC,
  STREAM_VERSION,
} from "./stream-format.ts";
import type { StreamSource } from "./stream-source.ts";

/** Reads the payloads of one kind of section. There is nothing in a stream that says how long they are. */
export interface SectionHandler {
  /** The newest that it reads. */
  readonly version: number;
  /** Reads one payload; a promise only where something had to be waited for. A `StreamError` ends the load. */
  load(source: StreamSource, version: number): void | Promise<void>;
}

export interface StreamLoaderOptions {
  readonly source: StreamSource;
  readonly configuration: LoadConfiguration;
  /** By their idstr. */
  readonly sections: ReadonlyMap<string, SectionHandler>;
  readonly commands: StreamCommands;
  /** Takes what is told though the load goes on. */
  readonly report: (line: string) => void;
}

interface Section {
  readonly name: string;
  readonly handler: SectionHandler;
  /** Of the last START or FULL: undefined before. */
  id: number | undefined;
  version: number;
}

/** Loads one stream. */
export class StreamLoader {
  readonly #options: StreamLoaderOptions;
  readonly #source: StreamSource;
  /** One entry a handler, however many ids a stream makes up. */
  readonly #sections: readonly Section[];

  constructor(options: StreamLoaderOptions) {
    this.#options = options;
    this.#source = options.source;
    this.#sections = [...options.sections].map(([name, handler]) => ({ name, handler, id: undefined, version: 0 }));
  }

  /** Reads all of it. Rejects with `StreamError`. */
  async load(): Promise<void> {
    await this.#loadHeader();
    await loadConfiguration(this.#source, this.#options.configuration, this.#options.report);
    await this.#loadItems();
    if (!this.#options.commands.listening) await this.#skipDescription();
  }

  /** A number that is cut off counts as 0, as for QEMU. */
  async #loadHeader(): Promise<void> {
    const source = this.#source;
    if ((await numberOrZero(source)) !== STREAM_MAGIC) throw new StreamError("EINVAL", "Not a migration stream");
    const version = await numberOrZero(source);
    if (version === OBSOLETE_STREAM_VERSION) {
      throw new StreamError("ENOTSUP", "SaveVM v2 format is obsolete and don't work anymore");
    }
    if (version !== STREAM_VERSION) throw new StreamError("ENOTSUP", "Unsupported migration stream version");
    if ((await source.atEnd()) || source.u8() !== SECTION_CONFIGURATION) {
      throw new StreamError("EINVAL", "Configuration section missing");
    }
  }

  /** Up to the end mark, or that of a package. */
  async #loadItems(): Promise<void> {
    const source = this.#source;
    const packaged = source.limit !== Number.POSITIVE_INFINITY;
    while (!packaged || source.position < source.limit) {
      const wait = source.need(1);
      if (wait !== undefined) await wait;
      const type = source.u8();
      switch (type) {
        case SECTION_START:
        case SECTION_FULL:
          await this.#loadWhole();
          break;
        case SECTION_PART:
        case SECTION_END: {
          // A running source sends parts of nothing as fast as it can, for 100 ms: nothing may be waited for in vain.
          const rest = this.#loadPart();
          if (rest !== undefined) await rest;
          break;
        }
        case SECTION_COMMAND:
          await this.#loadCommand(packaged);
          break;
        case SECTION_EOF:
          if (packaged) await source.skip(source.limit - source.position);
          return;
        default:
          throw new StreamError("EINVAL", `Unknown savevm section type ${type}`);
      }
    }
  }

  async #loadWhole(): Promise<void> {
    const source = this.#source;
    await source.need(4);
    const id = source.u32();
    const name = await this.#readSectionName(id);
    await orCutOff(source.need(8), "EIO", START_CUT_OFF);
    const instance = source.u32();
    const version = source.u32();
    const section = this.#sections.find((known) => known.name === name);
    if (section === undefined || instance !== 0) {
      throw new StreamError(
        "EINVAL",
        `Unknown savevm section or instance '${name}' ${instance}. Make sure that your current VM setup matches ` +
          "your saved VM setup, including any hotplugged devices",
      );
    }
    const { handler } = section;
    if (version > handler.version) {
      throw new StreamError("EINVAL", `savevm: unsupported version ${version} for '${name}' v${handler.version}`);
    }
    section.id = id;
    section.version = version;
    try {
      await handler.load(source, version);
    } catch (error) {
      throw blame(error, `error while loading state for instance 0x0 of device '${name}'`);
    }
    await this.#loadFooter(id, name);
  }

  /** QEMU takes an empty name for one that could not be read. */
  async #readSectionName(id: number): Promise<string> {
    const message = `Unable to read ID string for section ${id}`;
    const name = await orCutOff(this.#source.counted(), "EINVAL", message);
    if (name === undefined || name === "") throw new StreamError("EINVAL", message);
    return name;
  }

  #loadPart(): Promise<void> | undefined {
    const wait = this.#source.need(4);
    if (wait !== undefined) return wait.then(() => this.#loadPart());
    const id = this.#source.u32();
    const section = this.#sections.find((known) => known.id === id);
    if (section === undefined) throw new StreamError("EINVAL", `Unknown savevm section ${id}`);
    let payload: void | Promise<void>;
    try {
      payload = section.handler.load(this.#source, section.version);
    } catch (error) {
      throw blamePart(error, id, section.name);
    }
    if (payload === undefined) return this.#loadFooter(id, section.name);
    return payload.then(
      () => this.#loadFooter(id, section.name),
      (error: unknown) => {
        throw blamePart(error, id, section.name);
      },
    );
  }

  #loadFooter(id: number, name: string): Promise<void> | undefined {
    if (!this.#source.has(5)) return this.#loadLateFooter(id, name);
    this.#checkFooter(this.#source.u8(), this.#source.u32(), id, name);
    return undefined;
  }

  async #loadLateFooter(id: number, name: string): Promise<void> {
    const source = this.#source;
    if (await source.atEnd()) throw new StreamError("EINVAL", "check_section_footer: Read section footer failed: -5");
    const mark = source.u8();
    if (mark === SECTION_FOOTER) await orCutOff(source.need(4), "EINVAL", mismatch(name, 0, id));
    this.#checkFooter(mark, mark === SECTION_FOOTER ? source.u32() : 0, id, name);
  }

  #checkFooter(mark: number, read: number, id: number, name: string): void {
    if (mark !== SECTION_FOOTER) throw new StreamError("EINVAL", `Missing section footer for ${name}`);
    if (read !== id) throw new StreamError("EINVAL", mismatch(name, read, id));
  }

  async #loadCommand(packaged: boolean): Promise<void> {
    const source = this.#source;
    await source.need(4);
    const command = source.u16();
    const length = source.u16();
    const nestedBytes = await this.#options.commands.load(source, command, length);
    if (command !== CMD_PACKAGED) return;
    if (packaged) throw new StreamError("EINVAL", "Package within packaged data");
    source.limit = source.position + nestedBytes;
    await this.#loadItems();
    source.limit = Number.POSITIVE_INFINITY;
  }

  /** All of the state is there by now: what is wrong with the description is told at most. */
  async #skipDescription(): Promise<void> {
    const source = this.#source;
    const type = (await source.atEnd()) ? 0 : source.u8();
    if (type !== SECTION_VMDESC) {
      this.#options.report(`Expected vmdescription section, but got ${type}`);
      return;
    }
    try {
      await source.need(4);
      await source.skip(source.u32());
    } catch (error) {
      if (!(error instanceof EndOfStreamError)) throw error;
    }
  }
}

const START_CUT_OFF = "qemu_loadvm_section_start_full: Failed to read instance/version ID: -5";

function mismatch(name: string, read: number, expected: number): string {
  const [is, shouldBe] = [read.toString(16), expected.toString(16)];
  return `Mismatched section id in footer for ${name} - read 0x${is} expected 0x${shouldBe}`;
}

async function numberOrZero(source: StreamSource): Promise<number> {
  try {
    await source.need(4);
    return source.u32();
  } catch (error) {
    if (error instanceof EndOfStreamError) return 0;
    throw error;
  }
}

function blame(error: unknown, line: string): unknown {
  return error instanceof StreamError ? error.with(line) : error;
}

function blamePart(error: unknown, id: number, name: string): unknown {
  return blame(error, `error while loading state section id ${id}(${name})`);
}
