// Random programs on qcow2 images, some of them of qemu-img's making, with Debian's own programs as judges of what they leave.

import { beforeAll, it } from "vitest";
import { describeWithTools } from "../../support/tools.ts";
import { runJudged } from "./judge.ts";
import { runPrograms } from "./seeds.ts";
import { makeStartImages, type ToolImage } from "./start-images.ts";
import { ToolFolder } from "./tool-folder.ts";

const PROGRAMS = process.env["VBLK_SOAK"] === undefined ? 150 : 6000;

describeWithTools(["qemu-img", "qemu-io", "qemu-storage-daemon"], "qcow2 images under random programs", () => {
  let start: readonly ToolImage[];

  beforeAll(() => {
    const folder = new ToolFolder();
    try {
      start = makeStartImages(folder);
    } finally {
      folder.dispose();
    }
  }, 120_000);

  it(
    "are right, and what their naive twins are, with snapshots, bitmaps and backups, as qemu-img sees them",
    {
      timeout: PROGRAMS * 5000,
    },
    () => runPrograms(PROGRAMS, { tools: true }, (program) => runJudged(program, start)),
  );
});
