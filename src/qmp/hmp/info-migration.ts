// What `info` shows of migrations, as QEMU 7.2 prints it: docs/reference/migration-stream.md §5, persistence-migration.md §5.4.

import type { BitmapMappingNode } from "../../migration/bitmap-mapping.ts";
import type { Migration } from "../../migration/migration.ts";
import { MIGRATION_CAPABILITIES, type MigrationParameters } from "../../migration/migration-settings.ts";
import { describeMigration, type MigrationReply } from "../commands/migration.ts";
import type { HmpCommand } from "./hmp-command.ts";

/** Of a machine that nothing was said of that concerns streams. */
const GLOBALS = [
  "store-global-state: on",
  "only-migratable: off",
  "send-configuration: on",
  "send-section-footer: on",
  "decompress-error-check: on",
  "clear-bitmap-shift: 18",
];

type RamLine = readonly [text: string, counter: string, unit: "" | " pages" | " kbytes"];

const RAM_LINES: readonly RamLine[] = [
  ["remaining ram", "remaining", " kbytes"],
  ["total ram", "total", " kbytes"],
  ["duplicate", "duplicate", " pages"],
  ["skipped", "skipped", " pages"],
  ["normal", "normal", " pages"],
  ["normal bytes", "normal-bytes", " kbytes"],
  ["dirty sync count", "dirty-sync-count", ""],
  ["page size", "page-size", " kbytes"],
  ["multifd bytes", "multifd-bytes", " kbytes"],
  ["pages-per-second", "pages-per-second", ""],
];

/** In the order in which they are shown, with their units. */
const PARAMETER_LINES: readonly (readonly [name: string, unit: string])[] = [
  ["announce-initial", " ms"],
  ["announce-max", " ms"],
  ["announce-rounds", ""],
  ["announce-step", " ms"],
  ["compress-level", ""],
  ["compress-threads", ""],
  ["compress-wait-thread", ""],
  ["decompress-threads", ""],
  ["throttle-trigger-threshold", ""],
  ["cpu-throttle-initial", ""],
  ["cpu-throttle-increment", ""],
  ["cpu-throttle-tailslow", ""],
  ["max-cpu-throttle", ""],
  ["tls-creds", ""],
  ["tls-hostname", ""],
  ["max-bandwidth", " bytes/second"],
  ["downtime-limit", " ms"],
  ["x-checkpoint-delay", " ms"],
  ["block-incremental", ""],
  ["multifd-channels", ""],
  ["multifd-compression", ""],
  ["xbzrle-cache-size", " bytes"],
  ["max-postcopy-bandwidth", ""],
  ["tls-authz", ""],
];

/** `info migrate`, `migrate_capabilities` and `migrate_parameters`. */
export function infoMigrationCommands(migration: Migration): HmpCommand[] {
  const { settings } = migration;
  const info = (name: string, description: string, run: () => string[]): HmpCommand => ({
    names: [name],
    synopsis: "",
    description,
    parameters: [],
    run: () =>
      run()
        .map((line) => `${line}\n`)
        .join(""),
  });
  return [
    info("migrate", "show migration status", () => migrationLines(describeMigration(migration))),
    info("migrate_capabilities", "show current migration capabilities", () =>
      MIGRATION_CAPABILITIES.map((name) => `${name}: ${onOff(settings.has(name))}`),
    ),
    info("migrate_parameters", "show current migration parameters", () => parameterLines(settings.parameters)),
  ];
}

function migrationLines(reply: MigrationReply): string[] {
  const { status, "error-desc": description, "expected-downtime": expected, downtime, ram } = reply;
  const { "setup-time": setup, "total-time": total = 0, "socket-address": addresses } = reply;
  const lines = ["globals:", ...GLOBALS];
  if (status !== undefined) {
    lines.push(`Migration status: ${status}${description === undefined ? "" : ` (${description})`}`);
    lines.push(`total time: ${total} ms`);
    if (expected !== undefined) lines.push(`expected downtime: ${expected} ms`);
    if (downtime !== undefined) lines.push(`downtime: ${downtime} ms`);
    if (setup !== undefined) lines.push(`setup: ${setup} ms`);
  }
  if (ram !== undefined) lines.push(...ramLines(ram));
  if (addresses !== undefined) {
    const shown = addresses.map((address) =>
      address.type === "unix" ? `\tunix:${address.path}` : `\ttcp:${address.host}:${address.port}`,
    );
    lines.push("socket address: [", ...shown, "]");
  }
  return lines;
}

function ramLines(ram: Readonly<Record<string, number>>): string[] {
  const line = ([text, counter, unit]: RamLine): string => {
    const value = ram[counter] ?? 0;
    return `${text}: ${unit === " kbytes" ? Math.floor(value / 1024) : value}${unit}`;
  };
  return [
    line(["transferred ram", "transferred", " kbytes"]),
    `throughput: ${(ram["mbps"] ?? 0).toFixed(2)} mbps`,
    ...RAM_LINES.map(line),
  ];
}

function parameterLines(parameters: MigrationParameters): string[] {
  const lines = PARAMETER_LINES.map(([name, unit]) => {
    const value = parameters[name];
    if (name.startsWith("tls-")) return `${name}: '${String(value)}'`;
    return `${name}: ${typeof value === "boolean" ? onOff(value) : String(value)}${unit}`;
  });
  const mapping = parameters["block-bitmap-mapping"] as readonly BitmapMappingNode[] | undefined;
  if (mapping === undefined) return lines;
  const mapped = mapping.flatMap(({ "node-name": node, alias, bitmaps }) => [
    `  '${node}' -> '${alias}'`,
    ...bitmaps.map((bitmap) => `    '${bitmap.name}' -> '${bitmap.alias}'`),
  ]);
  return [...lines, "block-bitmap-mapping:", ...mapped];
}

function onOff(on: boolean): string {
  return on ? "on" : "off";
}
