// `vblk check`: what is wrong with a qcow2 image, told as `qemu-img check` does, by exit status and as JSON.

import type { Command } from "commander";
import { BlockBackend } from "../src/block/backend.ts";
import { fileOpener } from "../src/block/drivers/file/file-opener.ts";
import { type CheckResult, checkImage } from "../src/block/drivers/qcow2/check.ts";
import { openImage } from "../src/block/drivers/qcow2/open-image.ts";
import { BlockGraph } from "../src/block/graph.ts";
import { PERM_ALL, PERM_CONSISTENT_READ, PERM_WRITE_UNCHANGED } from "../src/block/permissions.ts";
import { checkJson, checkStatus, checkText } from "./check-report.ts";

const EXAMPLES = `
Examples:
  $ vblk check disk.qcow2
  $ vblk check disk.qcow2 --json | jq .corruptions
  $ vblk check -U disk.qcow2                        while another program writes to it: what it finds may be past when told

Exit status: 0 nothing is wrong; 1 it could not be checked; 2 the image is corrupt, or wrong use; 3 clusters are leaked, and no harm done.`;

interface CheckFlags {
  readonly json?: boolean;
  readonly forceShare?: boolean;
}

/** Adds `check` to `program`. */
export function addCheckCommand(program: Command): void {
  program
    .command("check")
    .summary("look for damage and leaked clusters in a qcow2 image")
    .description(
      "Checks the tables, flags and refcounts of a qcow2 image, and changes nothing. Backing files are not looked at.",
    )
    .argument("<image>", "the image's file")
    .option("--json", "write the result as JSON, with the fields of qemu-img check --output=json")
    .option("-U, --force-share", "check an image that another program has open for writing")
    .addHelpText("after", EXAMPLES)
    .action(async (path: string, flags: CheckFlags) => {
      const result = await checkFile(path, flags.forceShare === true);
      const text = flags.json === true ? `${JSON.stringify(checkJson(path, result), null, 4)}\n` : checkText(result);
      process.stdout.write(text);
      process.exitCode = checkStatus(result);
    });
}

/** Checks an image, read-only. Fails with a `BlockError` where it cannot be opened or read as qcow2. */
export async function checkFile(filename: string, forceShare: boolean): Promise<CheckResult> {
  const graph = new BlockGraph({ drivers: [fileOpener()] });
  const node = await graph.open({ driver: "file", filename, "read-only": true, "force-share": forceShare });
  try {
    const shares = forceShare ? PERM_ALL : PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED;
    const backend = new BlockBackend({ name: "", node, permissions: { needs: PERM_CONSISTENT_READ, shares } });
    try {
      const image = await openImage(node, { readOnly: true });
      return await image.mutex.run(() => checkImage(image));
    } finally {
      backend.close();
    }
  } finally {
    await graph.release(node);
  }
}
