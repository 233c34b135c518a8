// `vblk conformance`: the suite on a device of this project's or of another program's, with reports for people and for programs.

import { writeFileSync } from "node:fs";
import { styleText } from "node:util";
import { type Command, InvalidArgumentError } from "commander";
import type { ConformanceCase } from "../../guest/conformance/case.ts";
import { htmlReport } from "../../guest/conformance/reports/html.ts";
import { jsonReport } from "../../guest/conformance/reports/json.ts";
import { junitReport } from "../../guest/conformance/reports/junit.ts";
import { type TextStyle, textReport } from "../../guest/conformance/reports/text.ts";
import { deviceRequirements } from "../../guest/conformance/requirement.ts";
import { plannedRuns, runCases } from "../../guest/conformance/runner.ts";
import { chapters, conformanceCases } from "../../guest/conformance/suite.ts";
import { isClean, type Summary, summarise } from "../../guest/conformance/summary.ts";
import { type Variant, variants } from "../../guest/conformance/variant.ts";
import { ExitCode } from "../exit.ts";
import { RunReporter } from "../run-reporter.ts";
import { endOnSignals } from "../signals.ts";
import { IN_PROCESS, openTarget } from "./targets.ts";

const MAX_TIMEOUT_MS = 600_000;
const LOOKS: Readonly<Record<TextStyle, "bold" | "green" | "red" | "yellow" | "dim">> = {
  heading: "bold",
  good: "green",
  bad: "red",
  warning: "yellow",
  faint: "dim",
};

const EXAMPLES = `
Examples:
  $ vblk conformance                                        this project's device, in this process
  $ vblk conformance --target virtio-blk-system             ... in a process of its own, over its qtest socket
  $ vblk conformance --target qemu-system-arm               a QEMU's
  $ vblk conformance --target qemu-system-riscv64 --variant modern-packed --html report.html
  $ vblk conformance --only 'MMIO-DEV-*' --list             what would be looked at
  $ vblk conformance --only 'STAT-DEV-00?' --json - | jq .counts

Exit status: 0 nothing was found broken; 1 something was, or the target does not start; 2 wrong use; 130 Ctrl-C.`;

interface ConformanceFlags {
  readonly target: string;
  readonly variant?: readonly Variant[];
  readonly only?: readonly ConformanceCase[];
  readonly list?: boolean;
  readonly json?: string;
  readonly junit?: string;
  readonly html?: string;
  readonly timeout?: number;
  readonly quiet?: boolean;
}

/** Adds `conformance` to `program`. */
export function addConformanceCommand(program: Command): void {
  program
    .command("conformance")
    .summary("examine a virtio block device, requirement by requirement of the standard")
    .description(
      "Runs the conformance suite on a virtio-mmio block device: every requirement of VIRTIO 1.4 that a guest can see kept or broken.",
    )
    .option(
      "--target <target>",
      `${IN_PROCESS}, virtio-blk-system, or a program with QEMU's command line:\nqemu-system-arm, qemu-system-aarch64, qemu-system-riscv64 or a path`,
      IN_PROCESS,
    )
    .option("--variant <list>", `some of ${variants.map(({ name }) => name).join(",")} (default: all)`, parseVariants)
    .option("--only <pattern>", "cases whose id or title matches; * for any text, ? for any character", collectCases)
    .option("--list", "list the cases, and run none")
    .option("--json <file>", "write the results as JSON; - for the standard output and nothing else")
    .option("--junit <file>", "write them as JUnit XML")
    .option("--html <file>", "write them as one page to look at")
    .option("--timeout <ms>", "how long a program may take for an answer before it counts as hung (5000)", parseTimeout)
    .option("-q, --quiet", "no progress, and of the report nothing but the files")
    .addHelpText("after", EXAMPLES)
    .action(async (flags: ConformanceFlags) => {
      process.exitCode = await conformance(flags);
    });
}

async function conformance(flags: ConformanceFlags): Promise<number> {
  const cases = flags.only ?? conformanceCases;
  const chosen = flags.variant ?? variants;
  if (flags.list === true) return list(cases, chosen);
  const summary = await examine(cases, chosen, flags);
  const json = (): string => `${JSON.stringify(jsonReport(summary), null, 2)}\n`;
  if (flags.json === "-") process.stdout.write(json());
  else if (flags.quiet !== true) {
    const paint = (style: TextStyle, text: string): string => styleText(LOOKS[style], text);
    process.stdout.write(textReport(summary, process.stdout.isTTY ? { paint } : {}));
  }
  if (flags.json !== undefined && flags.json !== "-") writeFileSync(flags.json, json());
  if (flags.junit !== undefined) writeFileSync(flags.junit, junitReport(summary));
  if (flags.html !== undefined) writeFileSync(flags.html, htmlReport(summary));
  return isClean(summary) ? ExitCode.ok : ExitCode.failed;
}

async function examine(
  cases: readonly ConformanceCase[],
  chosen: readonly Variant[],
  flags: ConformanceFlags,
): Promise<Summary> {
  const reporter = new RunReporter(process.stderr, flags.quiet === true || flags.json === "-");
  const ending = endOnSignals();
  try {
    const { factory, close } = await openTarget(flags.target, flags.timeout);
    try {
      const total = plannedRuns({ cases, variants: chosen }).length;
      let done = 0;
      const onResult = (): void => reporter.caseProgress(++done, total);
      const results = await runCases({ factory, cases, variants: chosen, onResult, signal: ending.signal });
      ending.signal.throwIfAborted();
      const ids = new Set(cases.map(({ requirement }) => requirement.id));
      // Of a whole run those without a case are told too.
      const rows = flags.only === undefined ? deviceRequirements : deviceRequirements.filter(({ id }) => ids.has(id));
      return summarise(factory.name, rows, results);
    } finally {
      await close();
    }
  } finally {
    reporter.endProgress();
    ending.stop();
  }
}

function list(cases: readonly ConformanceCase[], chosen: readonly Variant[]): number {
  for (const chapter of chapters) {
    const runs = plannedRuns({ cases: chapter.cases.filter((one) => cases.includes(one)), variants: chosen });
    const titles = new Map<string, string[]>();
    for (const { conformanceCase, variant } of runs) {
      titles.set(conformanceCase.title, [...(titles.get(conformanceCase.title) ?? []), variant.name]);
    }
    if (titles.size === 0) continue;
    process.stdout.write(`${chapter.title}\n`);
    for (const [title, names] of titles) process.stdout.write(`  ${title} (${names.join(", ")})\n`);
  }
  return ExitCode.ok;
}

function casesOf(pattern: string): readonly ConformanceCase[] {
  const matches = patternMatcher(pattern);
  return conformanceCases.filter(({ title, requirement }) => matches(title) || matches(requirement.id));
}

/** `*` is any text, `?` any character; the rest stands for itself, in either case. */
function patternMatcher(pattern: string): (text: string) => boolean {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replaceAll("*", ".*")
    .replaceAll("?", ".");
  const expression = new RegExp(`^${source}$`, "i");
  return (text) => expression.test(text);
}

function collectCases(text: string, previous: readonly ConformanceCase[] = []): readonly ConformanceCase[] {
  const chosen = new Set(previous);
  for (const pattern of text.split(",")) {
    const cases = casesOf(pattern);
    if (cases.length === 0) throw new InvalidArgumentError(`no case matches '${pattern}'; see --list`);
    for (const one of cases) chosen.add(one);
  }
  return conformanceCases.filter((one) => chosen.has(one));
}

function parseVariants(text: string): readonly Variant[] {
  const names = text.split(",");
  const unknown = names.find((name) => !variants.some((variant) => variant.name === name));
  if (unknown !== undefined) {
    throw new InvalidArgumentError(`'${unknown}' is none of ${variants.map(({ name }) => name).join(", ")}`);
  }
  return variants.filter(({ name }) => names.includes(name));
}

function parseTimeout(text: string): number {
  const timeoutMs = Number(text);
  if (/^\d+$/.test(text) && timeoutMs >= 1 && timeoutMs <= MAX_TIMEOUT_MS) return timeoutMs;
  throw new InvalidArgumentError(`a number of milliseconds, from 1 to ${MAX_TIMEOUT_MS}`);
}
