// How a run looks: bars on a terminal, plain lines elsewhere, and at the end what was proved.

import { styleText } from "node:util";
import cliProgress from "cli-progress";
import type { ScriptReporter } from "../machine/script.ts";
import { formatBytes } from "./table.ts";

/** Plain lines of progress are this far apart. */
const LINE_INTERVAL_MS = 1000;
const LABEL_WIDTH = 16;

/** One claim that a script made, and whether it held. */
export interface CheckResult {
  readonly claim: string;
  readonly holds: boolean;
  readonly detail: string | undefined;
}

interface Gauge {
  readonly label: string;
  readonly format: (value: number) => string;
  done: number;
  total: number;
  bar: cliProgress.SingleBar | undefined;
  /** When the last plain line was written, and what it said. */
  lineAtMs: number;
  line: string;
}

/** Where the run reports to: `output` gets bars if it is a terminal that wants them. */
export class RunReporter implements ScriptReporter {
  readonly checks: CheckResult[] = [];
  readonly #output: NodeJS.WriteStream;
  readonly #quiet: boolean;
  readonly #bars: cliProgress.MultiBar | undefined;
  readonly #gauges = new Map<string, Gauge>();

  /** With `quiet` nothing but the checks is kept and nothing is written. */
  constructor(output: NodeJS.WriteStream, quiet: boolean) {
    this.#output = output;
    this.#quiet = quiet;
    if (quiet || !output.isTTY) return;
    this.#bars = new cliProgress.MultiBar(
      {
        format: `  {label} {bar} {percentage}%  {amount}`,
        barCompleteChar: "█",
        barIncompleteChar: "░",
        barsize: 32,
        hideCursor: true,
        gracefulExit: false,
        forceRedraw: true, // a log line above has moved a bar that has not changed
        stream: output,
      },
      cliProgress.Presets.rect,
    );
  }

  log(line: string): void {
    if (this.#quiet) return;
    if (this.#bars === undefined) this.#output.write(`${line}\n`);
    else this.#bars.log(`${line}\n`);
  }

  progress(done: number, total: number): void {
    this.#gauge("guest", done, total, (value) => value.toLocaleString("en-US"));
  }

  /** How far a backup is, in bytes. */
  backupProgress(id: string, done: number, total: number): void {
    this.#gauge(`backup ${id}`, done, total, formatBytes);
  }

  /** How many cases of the conformance suite have been run. */
  caseProgress(done: number, total: number): void {
    this.#gauge("cases", done, total, (value) => value.toLocaleString("en-US"));
  }

  check(claim: string, holds: boolean, detail?: string): void {
    this.checks.push({ claim, holds, detail });
  }

  /** No more bars: what follows are plain lines. */
  endProgress(): void {
    this.#bars?.stop();
    if (this.#bars !== undefined || this.#quiet) return;
    for (const gauge of this.#gauges.values()) this.#writeLine(gauge);
  }

  /** One line a check. */
  writeChecks(): void {
    if (this.#quiet) return;
    for (const { claim, holds, detail } of this.checks) {
      const mark = holds ? styleText("green", "✔") : styleText("red", "✘");
      this.#output.write(`  ${mark} ${claim}${detail === undefined ? "" : `  ${styleText("dim", detail)}`}\n`);
    }
  }

  #gauge(label: string, done: number, total: number, format: (value: number) => string): void {
    if (this.#quiet) return;
    let gauge = this.#gauges.get(label);
    if (gauge === undefined) {
      gauge = { label, format, done, total, bar: undefined, lineAtMs: performance.now(), line: "" };
      gauge.bar = this.#bars?.create(Math.max(1, total), 0, payload(gauge));
      this.#gauges.set(label, gauge);
    }
    gauge.done = done;
    gauge.total = total;
    if (gauge.bar !== undefined) {
      gauge.bar.setTotal(Math.max(1, total));
      gauge.bar.update(done, payload(gauge));
    } else if (performance.now() - gauge.lineAtMs >= LINE_INTERVAL_MS) {
      this.#writeLine(gauge);
    }
  }

  #writeLine(gauge: Gauge): void {
    gauge.lineAtMs = performance.now();
    const percent = gauge.total === 0 ? 100 : Math.floor((100 * gauge.done) / gauge.total);
    const line = `  ${gauge.label.padEnd(LABEL_WIDTH)}${String(percent).padStart(3)} %  ${amount(gauge)}`;
    if (line === gauge.line) return;
    gauge.line = line;
    this.#output.write(`${line}\n`);
  }
}

function payload(gauge: Gauge): { label: string; amount: string } {
  return { label: gauge.label.padEnd(LABEL_WIDTH), amount: amount(gauge) };
}

function amount({ done, total, format }: Gauge): string {
  return `${format(done)} of ${format(total)}`;
}
