// Lines out of pieces of bytes.
import { describe, expect, it } from "vitest";
import { LineBuffer, OVERLONG_LINE } from "../../../machine/qtest/line-buffer.ts";

function linesOf(buffer: LineBuffer, text: string): (string | typeof OVERLONG_LINE)[] {
  const lines: (string | typeof OVERLONG_LINE)[] = [];
  buffer.push(Buffer.from(text, "latin1"));
  for (let line = buffer.next(); line !== undefined; line = buffer.next()) lines.push(line);
  return lines;
}

describe("LineBuffer", () => {
  it("keeps what has no end yet, byte for byte", () => {
    const buffer = new LineBuffer(100);
    expect(linesOf(buffer, "a\n\nb\u00ff")).toEqual(["a", ""]);
    expect(linesOf(buffer, "c")).toEqual([]);
    expect(linesOf(buffer, "d\r\ne\n")).toEqual(["b\u00ffcd\r", "e"]);
  });

  it("drops a line that outgrows it while it is still coming, and takes the next", () => {
    const buffer = new LineBuffer(4);
    expect(linesOf(buffer, "12345")).toEqual([]);
    expect(linesOf(buffer, "678")).toEqual([]);
    expect(linesOf(buffer, "9\n1234\n12")).toEqual([OVERLONG_LINE, "1234"]);
    expect(linesOf(buffer, "34\n")).toEqual(["1234"]);
  });
});
