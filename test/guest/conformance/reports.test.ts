// The reports of a run: what they tell, and that nothing a device says breaks their form.
import { describe, expect, it } from "vitest";
import { htmlReport } from "../../../guest/conformance/reports/html.ts";
import { jsonReport } from "../../../guest/conformance/reports/json.ts";
import { junitReport } from "../../../guest/conformance/reports/junit.ts";
import { textReport } from "../../../guest/conformance/reports/text.ts";
import { summarise } from "../../../guest/conformance/summary.ts";
import { madeUpRun } from "./support/made-up-run.ts";

/** Opening and closing tags match, attributes are quoted, and no bare `<` or `&` is left. */
function expectWellFormed(document: string, voidElements: readonly string[] = []): void {
  const open: string[] = [];
  const rest = document
    .replace(/^<(\?xml[^>]*\?|!doctype html)>/, "")
    .replace(/<(\/?)([\w-]+)((?:\s+[\w:-]+(?:="[^"<]*")?)*)\s*(\/?)>/g, (_all, end, name, _attributes, alone) => {
      if (end === "/") expect(open.pop()).toBe(name);
      else if (alone === "" && !voidElements.includes(name)) open.push(name);
      return "";
    });
  expect(open).toEqual([]);
  expect(rest).not.toMatch(/[<>]|&(?!(amp|lt|gt|quot);)/);
}

describe("textReport", () => {
  const text = textReport(madeUpRun);

  it("tells findings by weight: the suite's faults, losses, MUST, SHOULD, legacy differences", () => {
    const headings = text.split("\n").filter((line) => /^[A-Z].*\(\d+\)$/.test(line));
    expect(headings).toEqual([
      "The suite failed (1)",
      "The device died or hung (1)",
      "MUST is broken (2)",
      "SHOULD is not followed (1)",
      "Different through the legacy interface only, where nothing is required (1)",
      "Skipped (2)",
      "Not examined (245)",
    ]);
  });

  it("tells a finding that is the same in two variants once, with its requirement and the conversation", () => {
    const from = text.indexOf("  STAT-DEV-001");
    expect(text.slice(from, text.indexOf("\n\n", from)).split("\n")).toEqual([
      "  STAT-DEV-001  MUST NOT, 2.1.2 Device Status Field",
      "    Do not take any available buffer from a queue until the driver has written DRIVER_OK.",
      "    uses no available buffer before DRIVER_OK (modern-split, modern-packed)",
      "      a buffer was used",
      "        W Status = 0x0",
      "        R Status = 0x7",
    ]);
  });

  it("gathers what was skipped under its reason", () => {
    expect(text).toContain("  the host cannot hold requests back: STAT-DEV-009, STAT-DEV-010\n");
  });

  it("counts by chapter, in the order of the standard", () => {
    expect(text).toMatch(/^2\.1 Device status field +· +1 +1 +1 +1 +· +2$/m);
    expect(text.indexOf("2.1 Device status")).toBeLessThan(text.indexOf("4.2.2 MMIO registers"));
  });

  it("paints with the caller's colours alone", () => {
    const painted = textReport(madeUpRun, { paint: (style, words) => `{${style}:${words}}` });
    expect(painted).toContain("{bad:MUST is broken (2)}");
    expect(painted).toContain("{warning:SHOULD is not followed (1)}");
  });
});

describe("jsonReport", () => {
  it("is plain data with every requirement", () => {
    const report = jsonReport(madeUpRun);
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
    expect(report.requirements).toHaveLength(madeUpRun.requirements.length);
    expect(report).toMatchObject({ subject: "a <made-up> device", clean: false, counts: { violated: 2 } });
  });

  it("has conversations of what did not pass alone", () => {
    const [lost] = jsonReport(madeUpRun).requirements.filter(({ id }) => id === "STAT-DEV-008");
    expect(lost).toEqual({
      id: "STAT-DEV-008",
      section: "2.4.1 Device Reset",
      chapter: "2.1 Device status field",
      level: "MUST",
      gate: "-",
      text: "Put Status back to 0 once a reset has been received and completed.",
      standing: "lost",
      cases: [
        {
          title: "STAT-DEV-008 shows Status 0 once a reset is complete",
          variant: "modern-split",
          outcome: "lost",
          reason: "no answer within 5000 ms",
          elapsedMs: 13,
          conversation: ["W Status = 0x0", "R Status = 0x7"],
        },
      ],
    });
    const kept = jsonReport(madeUpRun).requirements.find(({ id }) => id === "MMIO-DEV-001");
    expect(kept!.cases[0]).not.toHaveProperty("conversation");
  });
});

describe("junitReport", () => {
  const xml = junitReport(madeUpRun);

  it("is well-formed, whatever a device said", () => {
    expectWellFormed(xml);
    expect(xml).toContain("]]&gt; &lt;b&gt;&amp;&quot;'\ufffd\ufffd[31m\ufffd");
  });

  it("counts a legacy difference as no failure, and a loss as an error", () => {
    expect(xml).toContain(
      '<testsuites name="a &lt;made-up&gt; device" tests="12" failures="4" errors="3" skipped="2" time="0.150">',
    );
    const suite = xml.split("\n").find((line) => line.includes('name="2.1 Device status field"'));
    expect(suite).toContain('tests="8" failures="3" errors="1" skipped="2"');
  });

  it("has the requirement's level as the type of a failure", () => {
    expect(xml).toContain('<failure type="MUST NOT" message="a buffer was used">STAT-DEV-001: Do not take');
    expect(xml).toContain("<system-out>STAT-DEV-005: Status reads 0 after power-on.");
  });
});

describe("htmlReport", () => {
  const html = htmlReport(madeUpRun);

  it("is well-formed, whatever a device said", () => {
    const markup = html.replace(/<style>[\s\S]*<\/style>/, "").replace(/<script>[\s\S]*<\/script>/, "");
    expectWellFormed(markup, ["meta", "input", "br"]);
  });

  it("needs nothing but itself", () => {
    expect(html).not.toMatch(/https?:|<link|src=|@import|url\(/);
  });

  it("has a row for each requirement, and a filter for each standing that occurs", () => {
    expect(html.match(/<details /g)).toHaveLength(madeUpRun.requirements.length);
    const filters = [...html.matchAll(/aria-pressed="true" data-standing="([\w ]+)"/g)].map(([, standing]) => standing);
    expect(filters).toEqual(["error", "lost", "violated", "deviates", "differs", "kept", "skipped", "not examined"]);
  });

  it("has each word of what was seen, escaped", () => {
    expect(html).toContain("]]&gt; &lt;b&gt;&amp;&quot;'\ufffd\ufffd[31m\ufffd");
    expect(html).toContain("<pre>W Status = 0x0\nR Status = 0x7</pre>");
  });
});

it("every report tells an empty run", () => {
  const empty = summarise("nothing", [], []);
  expect(textReport(empty)).toContain("0 requirements");
  expect(jsonReport(empty)).toMatchObject({ clean: true, requirements: [] });
  expectWellFormed(junitReport(empty));
  expect(htmlReport(empty)).toContain("0 of 0 requirements");
});
