// The guest's driver against the observable requirements on drivers, judged by recordings of what it does.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { driverRequirements } from "../../../guest/conformance/requirement.ts";
import { makeMachine } from "../../devices/support/machine.ts";
import { blockRules } from "./block-rules.ts";
import { Recording } from "./recording.ts";
import { ringRules } from "./ring-rules.ts";
import { recordAll } from "./scenarios.ts";
import { transportRules } from "./transport-rules.ts";

const RULES = [...transportRules, ...ringRules, ...blockRules];

/** Rows for which there is nothing to see, and why. */
const NOTHING_TO_SEE: Readonly<Record<string, string>> = {
  "SPLIT-DRV-004": "a guest target is little-endian: so are the rings of a legacy device",
  "BLK-DRV-012": "a guest target is little-endian",
  "BLK-DRV-040": "a guest target is little-endian",
  "BLK-DRV-008": "the driver knows host-managed zones",
  "BLK-DRV-009": "the driver knows host-managed zones",
  "BLK-DRV-039": "where a sequential zone's write pointer stands is the script's business",
  "BLK-DRV-043": "the driver sends no SCSI commands",
  "BLK-DRV-046": "the driver sends no SCSI commands",
  "RSVD-DRV-010": "virtio-mmio has no NOTIF_CONFIG_DATA: the bit is not of this transport, and never accepted",
  "SUSP-DRV-002": "the driver does not negotiate SUSPEND",
  "SUSP-DRV-003": "the driver does not negotiate SUSPEND",
  "SUSP-DRV-004": "the driver does not negotiate SUSPEND",
  "SUSP-DRV-005": "the driver does not negotiate SUSPEND",
  "SUSP-DRV-006": "the driver does not negotiate SUSPEND",
};

let recordings: Recording[] = [];

beforeAll(async () => {
  recordings = await recordAll();
});

describe("the guest's driver", () => {
  it.each(RULES.map((rule) => [rule.id, rule.what, rule] as const))("%s %s", (_id, _what, rule) => {
    const judged = recordings.filter((recording) => rule.applies(recording));
    expect(judged.length, "no recording shows it").toBeGreaterThan(0);
    for (const recording of judged) expect(rule.faults(recording).slice(0, 3), recording.name).toEqual([]);
  });

  it("has a test or a reason for every observable row", () => {
    const folder = fileURLToPath(new URL("..", import.meta.url));
    const tests = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) =>
      name.endsWith(".test.ts"),
    );
    const others = tests.filter((name) => !name.endsWith("observable-rows.test.ts"));
    const titles = others.flatMap(
      (name) => readFileSync(join(folder, name), "utf8").match(/\b[A-Z]+-DRV-\d{3}\b/g) ?? [],
    );
    const covered = new Set([...RULES.map(({ id }) => id), ...titles, ...Object.keys(NOTHING_TO_SEE)]);
    const rows = driverRequirements.filter(({ observable }) => observable).map(({ id }) => id);
    expect(rows.length).toBeGreaterThan(100);
    expect(rows.filter((id) => !covered.has(id))).toEqual([]);
  });

  it("would be caught by the rules if it were careless", () => {
    const { memory, bank } = makeMachine();
    const recording = new Recording("careless", bank, memory);
    recording.read(0x010, 4); // before DeviceFeaturesSel and MagicValue
    recording.read(0x010, 2);
    recording.read(0x020, 4);
    recording.write(0x000, 4, 1);
    recording.write(0x070, 4, 0x0f);
    recording.write(0x020, 4, 1);
    recording.write(0x070, 4, 0x13);
    recording.write(0x0ac, 4, 0);
    recording.write(0x038, 4, 64);
    recording.write(0x070, 4, 0x03);
    recording.write(0x050, 4, 0);
    recording.write(0x064, 4, 0x81);
    recording.write(0x120, 1, 1);
    recording.read(0x100, 1);
    const caught = RULES.filter((rule) => rule.applies(recording) && rule.faults(recording).length > 0);
    expect(caught.map(({ id }) => id)).toEqual(
      expect.arrayContaining([
        ...[
          "STAT-DRV-001",
          "STAT-DRV-002",
          "CFG-DRV-002",
          "INIT-DRV-001",
          "INIT-DRV-003",
          "INIT-DRV-004",
          "INIT-DRV-008",
        ],
        ...[
          "SUSP-DRV-001",
          "MMIO-DRV-001",
          "MMIO-DRV-002",
          "MMIO-DRV-003",
          "MMIO-DRV-004",
          "MMIO-DRV-005",
          "MMIO-DRV-012",
        ],
        ...["MMIO-DRV-014", "MMIO-DRV-020", "MMIO-DRV-024", "MMIO-DRV-025", "MMIO-DRV-028"],
      ]),
    );
  });
});
