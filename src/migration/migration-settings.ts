// Capabilities and parameters of migrations: docs/reference/migration-stream.md §5.

import { QmpError } from "../base/errors.ts";
import { type BitmapMappingNode, checkBitmapMapping } from "./bitmap-mapping.ts";
import { checkParameterLimits } from "./parameter-limits.ts";

/** As QEMU 7.2 lists them. */
export const MIGRATION_CAPABILITIES = [
  "xbzrle",
  "rdma-pin-all",
  "auto-converge",
  "zero-blocks",
  "compress",
  "events",
  "postcopy-ram",
  "x-colo",
  "release-ram",
  "block",
  "return-path",
  "pause-before-switchover",
  "multifd",
  "dirty-bitmaps",
  "postcopy-blocktime",
  "late-block-activate",
  "x-ignore-shared",
  "validate-uuid",
  "background-snapshot",
  "zero-copy-send",
  "postcopy-preempt",
] as const;

export type MigrationCapability = (typeof MIGRATION_CAPABILITIES)[number];

/** Values by name, as query-migrate-parameters shows them. Most concern what never migrates here: kept, and without effect. */
export type MigrationParameters = Record<string, unknown>;

const DEFAULTS: Readonly<MigrationParameters> = {
  "announce-initial": 50,
  "announce-max": 550,
  "announce-rounds": 5,
  "announce-step": 100,
  "compress-level": 1,
  "compress-threads": 8,
  "compress-wait-thread": true,
  "decompress-threads": 2,
  "throttle-trigger-threshold": 50,
  "cpu-throttle-initial": 20,
  "cpu-throttle-increment": 10,
  "cpu-throttle-tailslow": false,
  "tls-creds": "",
  "tls-hostname": "",
  "tls-authz": "",
  "max-bandwidth": 134217728,
  "downtime-limit": 300,
  "x-checkpoint-delay": 20000,
  "block-incremental": false,
  "multifd-channels": 2,
  "xbzrle-cache-size": 67108864,
  "max-postcopy-bandwidth": 0,
  "max-cpu-throttle": 99,
  "multifd-compression": "none",
  "multifd-zlib-level": 1,
  "multifd-zstd-level": 1,
};

/** A tenth of it is what may be sent in 100 ms: below this that is none, and no limit. */
const LEAST_BANDWIDTH = 10;

/** Settings of one machine, for all its migrations. */
export class MigrationSettings {
  readonly #on = new Set<MigrationCapability>();
  #parameters: MigrationParameters = { ...DEFAULTS };
  #mapping: readonly BitmapMappingNode[] | undefined;

  has(capability: MigrationCapability): boolean {
    return this.#on.has(capability);
  }

  /** Undefined for a name that is none. */
  lookup(name: string): boolean | undefined {
    const known = MIGRATION_CAPABILITIES.find((capability) => capability === name);
    return known === undefined ? undefined : this.#on.has(known);
  }

  /** All of them or none. Throws `QmpError` for what does not go together. */
  setCapabilities(states: readonly { capability: MigrationCapability; state: boolean }[]): void {
    const on = new Set(this.#on);
    for (const { capability, state } of states) {
      if (state) on.add(capability);
      else on.delete(capability);
    }
    if (on.has("background-snapshot") && on.has("postcopy-ram")) {
      throw new QmpError("Background-snapshot is not compatible with postcopy-ram");
    }
    this.#on.clear();
    for (const capability of on) this.#on.add(capability);
  }

  /** As query-migrate-parameters shows them. */
  get parameters(): MigrationParameters {
    return { ...this.#parameters, ...(this.#mapping === undefined ? {} : { "block-bitmap-mapping": this.#mapping }) };
  }

  /** Checked by type. All of them or none; throws `QmpError`. */
  setParameters(given: Readonly<MigrationParameters>): void {
    const { "block-bitmap-mapping": mapping, ...others } = given;
    checkParameterLimits(others, Number(this.#parameters["cpu-throttle-initial"]));
    if (mapping !== undefined) {
      const nodes = mapping as readonly BitmapMappingNode[];
      checkBitmapMapping(nodes);
      this.#mapping = nodes;
    }
    for (const [name, value] of Object.entries(others)) this.#parameters[name] = value ?? "";
  }

  /** Undefined: nodes and bitmaps go by their own names. */
  get mapping(): readonly BitmapMappingNode[] | undefined {
    return this.#mapping;
  }

  /** How much may be sent while the machine is stopped. */
  get downtimeBytes(): number {
    return (this.#bandwidth("max-bandwidth") * this.downtimeLimitMs) / 1000;
  }

  get downtimeLimitMs(): number {
    return Number(this.#parameters["downtime-limit"]);
  }

  /** While the destination runs already. 0 is no limit. */
  get postcopyBytesPerSecond(): number {
    const bandwidth = this.#bandwidth("max-postcopy-bandwidth");
    return bandwidth === Number.POSITIVE_INFINITY ? 0 : bandwidth;
  }

  #bandwidth(name: string): number {
    const bytes = Number(this.#parameters[name]);
    return bytes < LEAST_BANDWIDTH ? Number.POSITIVE_INFINITY : bytes;
  }
}
