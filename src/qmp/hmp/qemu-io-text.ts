// How qemu-io prints sizes, times, reports and data: docs/reference/monitor.md §5.1.

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] as const;
const DUMP_BYTES = 16;

/** `1.062 MiB`, `512 bytes`. */
export function sizeText(bytes: number): string {
  let power = 0;
  let value = bytes;
  while (value >= 1024 && power < UNITS.length - 1) {
    value /= 1024;
    power++;
  }
  const number = power === 0 ? fixed(value, 6) : fixed(value, 3);
  return `${number} ${UNITS[power]}`;
}

/** With that many digits after the point, an exact half to the even neighbour; none of them if all are zeroes. */
function fixed(value: number, digits: number): string {
  if (Number.isInteger(value)) return String(value);
  const scale = 10 ** digits;
  const scaled = value * scale;
  const below = Math.floor(scaled);
  const tie = scaled - below === 0.5;
  const rounded = tie ? below + (below % 2) : Math.round(scaled);
  const text = (rounded / scale).toFixed(digits);
  return text.endsWith(`.${"0".repeat(digits)}`) ? text.slice(0, -digits - 1) : text;
}

/** What a request has done. */
export interface Done {
  /** `read`, `wrote`, `discard`. */
  readonly verb: string;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly elapsedMs: number;
}

/** The report on a request, for people or, `terse`, for programs. */
export function reportText({ verb, offsetBytes, lengthBytes, elapsedMs }: Done, terse: boolean): string {
  const seconds = Math.max(elapsedMs, 0.001) / 1000; // a clock may not have moved
  const rate = lengthBytes / seconds;
  const operations = 1 / seconds;
  if (terse) return `${lengthBytes},1,${timeText(elapsedMs, true)},${rate.toFixed(3)},${operations.toFixed(3)}\n`;
  return (
    `${verb} ${lengthBytes}/${lengthBytes} bytes at offset ${offsetBytes}\n` +
    `${sizeText(lengthBytes)}, 1 ops; ${timeText(elapsedMs, false)} ` +
    `(${sizeText(rate)}/sec and ${operations.toFixed(4)} ops/sec)\n`
  );
}

/** `00.06 sec`; from a minute on, and where that is asked for, `0:01:05.00`. */
function timeText(elapsedMs: number, long: boolean): string {
  const hundredths = Math.floor(elapsedMs / 10);
  const two = (value: number): string => String(Math.floor(value)).padStart(2, "0");
  const short = `${two((hundredths / 100) % 60)}.${two(hundredths % 100)}`;
  if (!long && hundredths < 6000) return `${short} sec`;
  return `${Math.floor(hundredths / 360000)}:${two((hundredths / 6000) % 60)}:${short}`;
}

/** Sixteen bytes a line, in hexadecimal and as letters and digits. */
export function dumpText(bytes: Uint8Array, offsetBytes: number): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += DUMP_BYTES) {
    const row = bytes.subarray(at, at + DUMP_BYTES);
    let hex = "";
    let letters = "";
    for (const byte of row) {
      hex += `${byte.toString(16).padStart(2, "0")} `;
      const char = String.fromCharCode(byte);
      letters += /[0-9A-Za-z]/.test(char) ? char : ".";
    }
    lines.push(`${(offsetBytes + at).toString(16).padStart(8, "0")}:  ${hex} ${letters}\n`);
  }
  return lines.join("");
}
