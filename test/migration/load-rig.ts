// Loads streams into nothing but a log.
import type { BitmapChunks } from "../../src/migration/bitmap-decoder.ts";
import { bitmapSection } from "../../src/migration/bitmap-decoder.ts";
import { globalStateSection, ramSection, timerSection } from "../../src/migration/machine-sections.ts";
import { StreamCommands } from "../../src/migration/stream-commands.ts";
import { StreamError } from "../../src/migration/stream-error.ts";
import { StreamLoader } from "../../src/migration/stream-loader.ts";
import { StreamSource } from "../../src/migration/stream-source.ts";

export interface LoadOptions {
  readonly chunks?: BitmapChunks;
  readonly partBytes?: number;
  readonly uuid?: string;
  readonly capabilities?: Readonly<Record<string, boolean>>;
}

export interface Loaded {
  /** What went on, in order. */
  readonly log: readonly string[];
  /** What would be told, the last line of a failure included. */
  readonly lines: readonly string[];
  readonly failed: boolean;
  readonly replies: string;
}

const CAPABILITIES: Readonly<Record<string, boolean>> = {
  "dirty-bitmaps": false,
  "postcopy-ram": false,
  "x-ignore-shared": false,
};

/** A log of chunks. */
export function loggedChunks(log: string[]): BitmapChunks {
  return {
    selectNode: (alias) => alias !== undefined && log.push(`node ${alias}`),
    selectBitmap: (alias) => alias !== undefined && log.push(`bitmap ${alias}`),
    start: ({ granularityBytes, enabled, persistent }) =>
      void log.push(`start ${granularityBytes}${enabled ? " enabled" : ""}${persistent ? " persistent" : ""}`),
    bits: (offset, length, words) =>
      void log.push(`bits ${offset}+${length} ${words === undefined ? "zero" : Buffer.from(words).toString("hex")}`),
    complete: () => void log.push("complete"),
  };
}

/** Loads a stream that arrives in parts, and then ends. */
export async function load(stream: Uint8Array, options: LoadOptions = {}): Promise<Loaded> {
  const { partBytes = stream.length, capabilities = CAPABILITIES } = options;
  const log: string[] = [];
  const lines: string[] = [];
  const replies: Uint8Array[] = [];
  const source = new StreamSource({ pause: () => {}, resume: () => {} });
  const commands = new StreamCommands({
    reply: (bytes) => void replies.push(bytes),
    postcopyRam: () => capabilities["postcopy-ram"] === true,
    onListen: () => void log.push("listen"),
    onRun: () => void log.push("run"),
  });
  const loader = new StreamLoader({
    source,
    configuration: { machine: "none", uuid: options.uuid, capability: (name) => capabilities[name] },
    sections: new Map([
      ["ram", ramSection],
      ["dirty-bitmap", bitmapSection(options.chunks ?? loggedChunks(log))],
      ["timer", timerSection],
      ["globalstate", globalStateSection((state) => void log.push(`state ${state}`))],
    ]),
    commands,
    report: (line) => void lines.push(line),
  });
  const loading = loader.load();
  let failed = false;
  const ended = loading.then(
    () => commands.shut(0),
    (error: unknown) => {
      if (!(error instanceof StreamError)) throw error;
      failed = true;
      lines.push(...error.report);
      commands.shut(1);
    },
  );
  for (let at = 0; at < stream.length && !failed; at += partBytes) {
    source.onData(stream.slice(at, at + partBytes));
    if (partBytes < stream.length) await Promise.resolve();
  }
  source.onEnd();
  await ended;
  return { log, lines, failed, replies: Buffer.concat(replies).toString("hex") };
}
