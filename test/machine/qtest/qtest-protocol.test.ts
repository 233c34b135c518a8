// The qtest protocol, command by command. Answers are those of a real QEMU 7.2 where it lives on; docs/reference/monitor.md §7.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ask, BANK, CONTROLLER, qtestRig, RAM, RAM_BYTES } from "./support/qtest-rig.ts";

const FRESH = "0x40000000";

describe("loads and stores", () => {
  it.each([
    [["readb 0x40000000"], "OK 0x0000000000000000\n"],
    [["writeb 0x40000000 0x1ff", "readb 0x40000000"], "OK\nOK 0x00000000000000ff\n"],
    [["writel 0x40000000 -1", "readl 0x40000000"], "OK\nOK 0x00000000ffffffff\n"],
    [["writel 0x40000000 0x123456789a", "read 0x40000000 8"], "OK\nOK 0x9a78563400000000\n"],
    [["writeq 0x40000000 -2", "readq 0x40000000"], "OK\nOK 0xfffffffffffffffe\n"],
    [["writeq 0x40000000 18446744073709551615", "readq 0x40000000"], "OK\nOK 0xffffffffffffffff\n"],
    [["writew 0x40000001 0x1234", "read 0x40000000 4"], "OK\nOK 0x00341200\n"],
    [["writeb 010000000000 7", "readb +0x40000000 and more"], "OK\nOK 0x0000000000000007\n"],
    [["readl -1", "readq 0xfffffffffffffffc", "readl 01777"], "OK 0x0000000000000000\n".repeat(3)],
    [["write 0x400ffffe 4 0x11223344", "read 0x400ffffc 8"], "OK\nOK 0x0000112200000000\n"],
    [["writel 0x400ffffe 0xaabbccdd", "readl 0x400ffffe"], "OK\nOK 0x000000000000ccdd\n"],
  ])("%j", (lines, answer) => expect(ask(qtestRig().connect(), ...lines)).toBe(answer));

  it("take accesses to registers apart into aligned words, the lower first", () => {
    const { bank, connect } = qtestRig();
    const stream = connect();
    expect(
      ask(stream, `readq ${BANK + 8}`, `readl ${BANK + 2}`, `read ${BANK + 1} 6`, `write ${BANK + 0x10} 3 0x010203`),
    ).toBe("OK 0x0000000c00000008\nOK 0x0000000000040002\nOK 0x010200040006\nOK\n");
    expect(bank.accesses).toEqual([
      ...["r4@8", "r4@c", "r2@2", "r2@4", "r1@1", "r2@2", "r2@4", "r1@6", "w2@10=201", "w1@12=3"],
    ]);
  });

  it("fill what is mapped, however long the range, and pass over the rest at once", () => {
    const { bank, memory, connect } = qtestRig();
    expect(ask(connect(), "memset 0 0xffffffffffffffff 0x1a5")).toBe("OK\n");
    expect(memory.bytes.every((byte) => byte === 0xa5)).toBe(true);
    expect(bank.accesses).toHaveLength(0x200 / 4);
  });
});

describe("read, write, memset", () => {
  it.each([
    [[`write ${FRESH} 4 0x01020304`], "010203040000"],
    [[`write ${FRESH} 4 01020304`], "020304000000"],
    [[`memset ${FRESH} 6 0xaa`, `write ${FRESH} 4 0xzzG1`], "fff10000aaaa"],
    [[`memset ${FRESH} 6 0xaa`, `write ${FRESH} 4 0x1`], "00000000aaaa"],
    [[`memset ${FRESH} 6 0xaa`, `write ${FRESH} 2 0x01020304`], "0102aaaaaaaa"],
    [[`memset ${FRESH} 6 0xaa`, `write ${FRESH} 4 0x0102 extra`], "01020000aaaa"],
    [[`memset ${FRESH} 0 1`, `write ${FRESH} 0 0x00`], "000000000000"],
    [[`memset ${FRESH} 4 0x1ff`], "ffffffff0000"],
    [[`b64write ${FRESH} 3 AAEC`], "000102000000"],
    [[`b64write ${FRESH} 2 AAEC`], "000100000000"],
    [[`memset ${FRESH} 6 0xaa`, `b64write ${FRESH} 4 AAEC`], "00010200aaaa"],
  ])("%j leaves %s", (lines, hex) => {
    const stream = qtestRig().connect();
    expect(ask(stream, ...lines)).toBe("OK\n".repeat(lines.length));
    expect(ask(stream, `read ${FRESH} 6`)).toBe(`OK 0x${hex}\n`);
    expect(ask(stream, `b64read ${FRESH} 6`)).toBe(`OK ${Buffer.from(hex, "hex").toString("base64")}\n`);
  });

  it.each([
    [`write ${FRESH} 4 0`, "ERR invalid argument size\n"],
    [`b64write ${FRESH} 3 AA`, "ERR invalid argument size\n"],
    [`b64read ${FRESH} 0`, "OK \n"],
    ["read 0x90000000 4", "OK 0x00000000\n"],
  ])("%s is answered %j", (line, answer) => expect(ask(qtestRig().connect(), line)).toBe(answer));

  it("say back what was written, wherever it lies", () => {
    const { connect } = qtestRig();
    const stream = connect();
    fc.assert(
      fc.property(fc.nat(RAM_BYTES - 64), fc.uint8Array({ minLength: 1, maxLength: 64 }), (offset, bytes) => {
        const hex = Buffer.from(bytes).toString("hex");
        const address = RAM + offset;
        expect(ask(stream, `write ${address} ${bytes.length} 0x${hex}`, `read ${address} ${bytes.length}`)).toBe(
          `OK\nOK 0x${hex}\n`,
        );
      }),
    );
  });
});

describe("other commands", () => {
  it.each([
    ["endianness", "OK little\n"],
    ["endianness please", "OK little\n"],
    ["inb 0x10", "OK 0x00ff\n"],
    ["inw 0", "OK 0xffff\n"],
    ["inl 0x1234", "OK 0xffffffff\n"],
    ["outb 1 2", "OK\n"],
    ["module_load a b", "FAIL\n"],
    ["READL 1", "FAIL Unknown command 'READL'\n"],
    [" readl 1", "FAIL Unknown command ''\n"],
    ["\rreadl 1", "FAIL Unknown command '\rreadl'\n"],
    ["readb\t1", "FAIL Unknown command 'readb\t1'\n"],
    ["rtas x 1", "FAIL Unknown command 'rtas'\n"],
    ["\u00fc", "FAIL Unknown command '\u00fc'\n"],
    ["constructor", "FAIL Unknown command 'constructor'\n"],
  ])("%j is answered %j", (line, answer) => expect(ask(qtestRig().connect(), line)).toBe(answer));
});

describe("clock_step and clock_set", () => {
  it("make time pass, never back, and call timers at their moments", () => {
    const { clock, connect } = qtestRig();
    const stream = connect();
    const called: number[] = [];
    clock.setTimer(3, () => called.push(clock.nowMs()));
    clock.setTimer(1, () => called.push(clock.nowMs()));
    clock.setTimer(1, () => called.push(-1));
    clock.setTimer(2, () => called.push(0))();
    expect(ask(stream, "clock_step 100", "clock_step -5", "clock_set 50", "clock_set 200")).toBe(
      "OK 100\nOK 100\nOK 100\nOK 200\n",
    );
    expect(ask(stream, "clock_step")).toBe("OK 1000000\n");
    expect(called).toEqual([1, -1]);
    expect(ask(stream, "clock_step", "clock_step", "clock_step 9223372036854775807")).toBe("OK 3000000\n".repeat(3));
    expect(called).toEqual([1, -1, 3]);
  });
});

describe("interception", () => {
  it("tells edges before the answer of what caused them, and those of others at once", () => {
    const { line, connect } = qtestRig();
    const stream = connect();
    expect(ask(stream, `writel ${BANK + 0x70} 1`, `writel ${BANK + 0x70} 0`)).toBe("OK\nOK\n");
    expect(ask(stream, `irq_intercept_in ${CONTROLLER}`, `writel ${BANK + 0x70} 1`)).toBe("OK\nIRQ raise 47\nOK\n");
    line.set(false);
    expect(stream.text.endsWith("OK\nIRQ lower 47\n")).toBe(true);
  });

  it("takes levels for low when it begins, and again for the next client", () => {
    const { line, connect } = qtestRig();
    const stream = connect();
    line.set(true);
    expect(ask(stream, `irq_intercept_in ${CONTROLLER}`)).toBe("OK\n");
    line.set(false);
    line.set(true);
    expect(stream.text).toBe("OK\nIRQ raise 47\n");
    stream.leave();
    const next = connect();
    expect(ask(next, `irq_intercept_in ${CONTROLLER}`)).toBe("OK\n");
    line.set(false);
    line.set(true);
    expect(next.text).toBe("OK\nIRQ raise 47\n");
    expect(stream.text).toBe("OK\nIRQ raise 47\n");
  });

  it("is of one device", () => {
    const stream = qtestRig().connect();
    expect(ask(stream, "irq_intercept_in /nowhere", `irq_intercept_out ${CONTROLLER} irq`)).toBe(
      "FAIL Unknown device\nOK\n",
    );
    expect(ask(stream, `writel ${BANK + 0x70} 1`)).toBe("IRQ raise 0\nOK\n");
    expect(
      ask(
        stream,
        `irq_intercept_in ${CONTROLLER}`,
        "irq_intercept_in /machine/unattached/device[2]",
        "irq_intercept_in foo",
      ),
    ).toBe("OK\nFAIL IRQ intercept already enabled\nFAIL Unknown device\n");
  });

  it("hears of inputs that are set by hand", () => {
    const stream = qtestRig().connect();
    const set = (pin: number, level: number): string => `set_irq_in ${CONTROLLER} unnamed-gpio-in ${pin} ${level}`;
    expect(ask(stream, set(3, 1), `irq_intercept_in ${CONTROLLER}`)).toBe("OK\nOK\n");
    expect(ask(stream, set(3, 1), set(3, 5), set(3, 0))).toBe("IRQ raise 3\nOK\nOK\nIRQ lower 3\nOK\n");
    expect(ask(stream, "set_irq_in foo unnamed-gpio-in 3 1")).toBe("FAIL Unknown device\n");
  });
});

describe("commands that end QEMU", () => {
  it.each([
    "",
    "readl",
    "readl ",
    "readl  1",
    "readl x",
    "readl 0x",
    "readl 1x",
    "readl 09",
    "readl 1\r",
    "readl 0x1ffffffffffffffff",
    `readl 0x${"0".repeat(100)}`,
    "writeb 0x40000000",
    "writeq 0x40000000 18446744073709551616",
    "read 0x40000000",
    "read 0x40000000 0",
    "read 0x40000000 -1",
    "read 0x40000000 0x8000000000000000",
    "write 0x40000000 4",
    "write 0x40000000 -1 0x00",
    "b64read 0x40000000",
    "b64read 0x40000000 -1",
    "b64write 0x40000000 3",
    "memset 0x40000000 4",
    "memset 0x40000000 4 x",
    "inb 0x10000",
    "outl 1",
    "clock_step x",
    "clock_set",
    "irq_intercept_in",
    "irq_intercept_out",
    `set_irq_in ${CONTROLLER}`,
    `set_irq_in ${CONTROLLER} zz 3 1`,
    `set_irq_in ${CONTROLLER} unnamed-gpio-in 999 1`,
    `set_irq_in ${CONTROLLER} unnamed-gpio-in -1 1`,
    "set_irq_in /machine unnamed-gpio-in 3 1",
    "module_load a",
  ])("%j is answered FAIL", (line) => {
    const stream = qtestRig().connect();
    expect(ask(stream, line)).toMatch(/^FAIL .+\n$/);
    expect(ask(stream, "endianness")).toBe("OK little\n");
  });
});
