// The boards that a program's name chooses. docs/reference/monitor.md §8.
import { describe, expect, it } from "vitest";
import { boardOf, virtBoards } from "../../machine/boards.ts";

describe("boardOf", () => {
  it.each([
    ["qemu-system-arm", "arm"],
    ["qemu-system-aarch64", "aarch64"],
    ["qemu-system-riscv64", "riscv64"],
    ["qemu-system-x86_64", "aarch64"],
    ["virtio-blk-system", "aarch64"],
    ["vblk", "aarch64"],
  ] as const)("of %s is that of %s", (program, arch) => expect(boardOf(program)).toBe(virtBoards[arch]));
});
