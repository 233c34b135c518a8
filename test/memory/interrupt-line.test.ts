// The interrupt line: a level, and edges that every listener hears in order.
import { describe, expect, it } from "vitest";
import { InterruptLine } from "../../src/memory/interrupt-line.ts";

/** A line with `count` listeners that write down what they hear as `<number><+ or ->`. */
function lineWithEars(count: number): { line: InterruptLine; heard: string[]; ends: (() => void)[] } {
  const line = new InterruptLine();
  const heard: string[] = [];
  const ends = Array.from({ length: count }, (_, i) =>
    line.onChange((raised) => heard.push(`${i}${raised ? "+" : "-"}`)),
  );
  return { line, heard, ends };
}

/** What listener `number` heard. */
function heardBy(heard: readonly string[], number: number): string {
  return heard
    .filter((entry) => entry.startsWith(String(number)))
    .map((entry) => entry.slice(1))
    .join("");
}

describe("InterruptLine", () => {
  it("is low at first and keeps its level", () => {
    const line = new InterruptLine();
    expect(line.raised).toBe(false);
    line.set(true);
    expect(line.raised).toBe(true);
    line.set(false);
    expect(line.raised).toBe(false);
  });

  it("tells every listener of each edge, and of nothing else", () => {
    const { line, heard } = lineWithEars(2);
    line.set(false);
    line.set(true);
    line.set(true);
    line.set(false);
    line.set(false);
    expect(heardBy(heard, 0)).toBe("+-");
    expect(heardBy(heard, 1)).toBe("+-");
  });

  it("has the new level when it tells of it", () => {
    const line = new InterruptLine();
    const levels: boolean[] = [];
    line.onChange((raised) => levels.push(line.raised === raised));
    line.set(true);
    line.set(false);
    expect(levels).toEqual([true, true]);
  });

  it("says no more to a listener that has ended, also from within", () => {
    const { line, heard, ends } = lineWithEars(3);
    ends[1]!();
    ends[1]!();
    line.onChange(() => ends[0]!());
    line.set(true);
    line.set(false);
    expect(heardBy(heard, 0)).toBe(""); // the newest hears first, and ended it
    expect(heardBy(heard, 1)).toBe("");
    expect(heardBy(heard, 2)).toBe("+-");
  });

  it("skips nobody and tells nobody twice when listeners end each other", () => {
    for (const [ender, ended] of [
      [0, 0],
      [0, 2],
      [2, 0],
      [1, 1],
      [2, 1],
      [1, 2],
      [2, 2],
    ] as const) {
      const line = new InterruptLine();
      const heard: number[] = [];
      const ends: (() => void)[] = [];
      for (let i = 0; i < 3; i++) {
        ends.push(
          line.onChange(() => {
            heard.push(i);
            if (i === ender) ends[ended]!();
          }),
        );
      }
      line.set(true);
      const expected = [2, 1, 0].filter((i) => i !== ended || ended >= ender);
      expect(heard, `${ender} ends ${ended}`).toEqual(expected);
    }
  });

  it("lets everybody hear an edge before the next one, which a listener causes from within", () => {
    const line = new InterruptLine();
    const heard: string[] = [];
    const ear = (name: string) => (raised: boolean) => heard.push(`${name}${raised ? "+" : "-"}`);
    line.onChange(ear("a"));
    line.onChange((raised) => {
      heard.push(`handler${raised ? "+" : "-"}`);
      if (raised) line.set(false); // acknowledges
    });
    line.onChange(ear("b"));
    line.set(true);
    expect(heard).toEqual(["b+", "handler+", "a+", "b-", "handler-", "a-"]);
    expect(line.raised).toBe(false);
  });

  it("keeps the order when handlers raise and lower it over and over", () => {
    const line = new InterruptLine();
    const heard: boolean[][] = [[], [], []];
    let left = 10;
    for (let i = 0; i < 3; i++) {
      line.onChange((raised) => {
        heard[i]!.push(raised);
        if (i === 1 && left-- > 0) line.set(!raised);
      });
    }
    line.set(true);
    const expected = Array.from({ length: 11 }, (_, i) => i % 2 === 0);
    expect(heard).toEqual([expected, expected, expected]);
    expect(line.raised).toBe(true);
  });

  it("does not tell a listener of the edge from within which it was added", () => {
    const line = new InterruptLine();
    const late: boolean[] = [];
    line.onChange(() => void line.onChange((raised) => late.push(raised)));
    line.set(true);
    expect(late).toEqual([]);
    line.set(false);
    expect(late).toEqual([false]);
  });

  it("has told the others of an edge before the next one even if a listener throws", () => {
    const { line, heard } = lineWithEars(1);
    let throws = true;
    line.onChange(() => {
      if (throws) throw new Error("listener's own");
    });
    expect(() => line.set(true)).toThrow("listener's own");
    throws = false;
    line.set(false);
    expect(heardBy(heard, 0)).toBe("+-");
  });
});
