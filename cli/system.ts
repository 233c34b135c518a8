// The command `virtio-blk-system`: `vblk machine` under a name that clients of QEMU can be given.

import { basename } from "node:path";
import { packageVersion } from "../machine/package-version.ts";
import { exitCodeOf, failureText } from "./exit.ts";
import { runMachine } from "./machine.ts";

const program = basename(process.argv[1] ?? "virtio-blk-system");

try {
  process.exitCode = await runMachine(process.argv.slice(2), program, packageVersion());
} catch (error) {
  process.stderr.write(`${program}: ${failureText(error)}\n`);
  process.exitCode = exitCodeOf(error);
}
