// Conversations with qtest clients: lines in pieces, clients that do not read, that send without end, or anything at all.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ask, BANK, CONTROLLER, qtestRig } from "./support/qtest-rig.ts";

describe("a conversation", () => {
  it("does not mind where packets begin and end", () => {
    const text = `irq_intercept_in ${CONTROLLER}\nwrite 0x40000000 4 0x01020304\nread 0x40000000 4\nwritel ${BANK + 0x70} 1\nreadl`;
    const whole = ask(qtestRig().connect(), text.slice(0, -6));
    fc.assert(
      fc.property(fc.array(fc.nat(text.length), { maxLength: 20 }), (cuts) => {
        const stream = qtestRig().connect();
        let from = 0;
        for (const cut of [...cuts.sort((a, b) => a - b), text.length]) {
          stream.send(text.slice(from, cut));
          from = cut;
        }
        expect(stream.text).toBe(whole);
      }),
    );
    expect(whole).toBe("OK\nOK\nOK 0x01020304\nIRQ raise 47\nOK\n");
  });

  it("answers what has come in one go with one write", () => {
    const stream = qtestRig().connect();
    stream.send("endianness\n".repeat(30));
    expect(stream.text).toBe("OK little\n".repeat(30));
    expect(stream.writes).toBe(1);
  });

  it("goes on over many turns when a client never pauses, in order", async () => {
    const stream = qtestRig().connect();
    const commands = Array.from({ length: 20_000 }, (_, i) => `writel 0x40000000 ${i}\nreadl 0x40000000\n`);
    stream.send(commands.join(""));
    stream.send("endianness\n");
    const expected = `${commands.map((_, i) => `OK\nOK 0x${i.toString(16).padStart(16, "0")}\n`).join("")}OK little\n`;
    await stream.untilTrue(() => stream.text.length >= expected.length);
    expect(stream.text).toBe(expected);
  });

  it("carries nothing out for a client who does not read, and goes on when it does", async () => {
    const { memory, connect } = qtestRig();
    const stream = connect();
    stream.reads = false;
    stream.send(`${"read 0x40000000 0x100000\n".repeat(3)}writeb 0x40000000 7\n`);
    await new Promise((resolve) => setImmediate(resolve));
    expect(memory.bytes[0]).toBe(0);
    expect(stream.backlogBytes).toBeLessThan(3 << 20);
    expect(stream.paused).toBe(true);
    stream.readAll();
    await stream.untilTrue(() => stream.text.endsWith("OK\n"));
    expect(memory.bytes[0]).toBe(7);
    expect(stream.text.length).toBe(3 * ("OK 0x\n".length + (2 << 20)) + 3);
  });

  it("ends when the client sends no more, after the last answer", async () => {
    const stream = qtestRig().connect();
    stream.send("endianness\nendian");
    stream.finish();
    await stream.closed;
    expect(stream.text).toBe("OK little\n");
  });

  it("tells nobody who has left", () => {
    const { line, connect } = qtestRig();
    const stream = connect();
    ask(stream, `irq_intercept_in ${CONTROLLER}`);
    stream.leave();
    line.set(true);
    expect(stream.text).toBe("OK\n");
  });

  it("writes down what was said", () => {
    const { log, connect } = qtestRig({ log: true });
    const stream = connect();
    ask(stream, `irq_intercept_in ${CONTROLLER}`, `writel ${BANK + 0x70} 1`);
    stream.leave();
    expect(log.join("").replace(/\d+\.\d{6}/g, "T")).toBe(
      `[I T] OPENED\n[R +T] irq_intercept_in ${CONTROLLER}\n[S +T] OK\n[R +T] writel ${BANK + 0x70} 1\n` +
        "[S +T] IRQ raise 47\n[S +T] OK\n[I +T] CLOSED\n",
    );
  });
});

describe("hostile lines", () => {
  const COMMANDS = [
    ..."readb readw readl readq writeb writew writel writeq read write memset b64read b64write inb outl".split(" "),
    ..."clock_step clock_set irq_intercept_in irq_intercept_out set_irq_in module_load endianness".split(" "),
  ];
  const word = fc.oneof(
    fc.constantFrom(
      "0x40000000",
      "0x0a003e70",
      "0",
      "-1",
      "4",
      "0xffffffffffffffff",
      "0x01020304",
      CONTROLLER,
      "unnamed-gpio-in",
    ),
    fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }).map(String),
    fc.nat(70_000).map((n) => `0x${n.toString(16)}`),
    fc.string({ unit: "binary", maxLength: 12 }),
  );
  const line = fc
    .tuple(fc.constantFrom(...COMMANDS), fc.array(word, { maxLength: 5 }))
    .map(([command, words]) => [command, ...words].join(" "));

  it("each get one answer, and the conversation goes on", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(line, fc.string({ unit: "binary" })), { maxLength: 20 }), async (lines) => {
        const stream = qtestRig().connect();
        const sent = lines.map((text) => text.replaceAll("\n", "").replaceAll(/[^\0-\u00ff]/g, "?"));
        stream.send([...sent, "endianness", ""].join("\n"));
        await stream.untilTrue(() => stream.text.endsWith("OK little\n"));
        await new Promise((resolve) => setImmediate(resolve));
        const answers = stream.text
          .split("\n")
          .slice(0, -1)
          .filter((text) => !text.startsWith("IRQ "));
        // An echoed name may have any characters but the line's end.
        expect(answers).toHaveLength(sent.length + 1);
        for (const answer of answers) expect(answer).toMatch(/^(OK|FAIL|ERR)/);
      }),
      { numRuns: 300 },
    );
  });
});
