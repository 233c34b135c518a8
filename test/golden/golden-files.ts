// The golden traces, as README.md beside them describes them.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import type { JsonObject } from "../../src/qmp/json/value.ts";

export interface GoldenNode {
  readonly name: string;
  readonly size: number;
  readonly format?: "raw" | "qcow2";
  readonly fill?: number;
  readonly init?: readonly (readonly [offset: number, length: number, byte: number])[];
  readonly device?: string;
  readonly discard?: "unmap" | "ignore";
  readonly blkdebug?: readonly JsonObject[];
}

export interface GoldenIo {
  readonly op: "write" | "zero" | "zero-unmap" | "discard" | "read" | "flush";
  readonly off: number;
  readonly len: number;
  readonly pattern?: number;
  readonly node?: string;
}

export interface GoldenStep {
  readonly qmp?: string;
  readonly args?: JsonObject;
  readonly waitAfter?: string | readonly string[];
  readonly io?: GoldenIo;
  readonly backup?: JsonObject;
  /** false: until the job does nothing; statuses, null for gone; by default until it is gone or concluded. */
  readonly wait?: false | readonly (string | null)[];
  readonly waitJob?: string;
  readonly status?: readonly string[];
  readonly image?: string;
  readonly jobs?: true;
  readonly settle?: number;
}

export interface GoldenEvent {
  readonly event: string;
  readonly data: JsonObject;
}

export interface GoldenImage {
  readonly bytes: number;
  readonly sha256: string;
}

export type GoldenBitmaps = Readonly<Record<string, readonly JsonObject[]>>;

export interface GoldenResult {
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
  readonly ok?: boolean;
  readonly msg?: string;
  readonly job?: JsonObject;
  readonly events?: readonly GoldenEvent[];
  readonly bitmaps?: GoldenBitmaps;
  readonly image?: GoldenImage;
  readonly jobs?: readonly JsonObject[];
}

export interface GoldenScenario {
  readonly id: string;
  readonly title: string;
  readonly nodes: readonly GoldenNode[];
  readonly steps: readonly GoldenStep[];
  readonly result: {
    readonly steps: readonly GoldenResult[];
    readonly final: { readonly images: Readonly<Record<string, GoldenImage>> };
  };
}

export function readScenarios(file: "directed.json.gz" | "random.json.gz"): readonly GoldenScenario[] {
  const path = fileURLToPath(new URL(file, import.meta.url));
  return (JSON.parse(gunzipSync(readFileSync(path)).toString()) as { scenarios: GoldenScenario[] }).scenarios;
}
