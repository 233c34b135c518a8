// The command `vblk`.

import { Command, CommanderError } from "commander";
import { packageVersion } from "../machine/package-version.ts";
import { addCheckCommand } from "./check.ts";
import { addConformanceCommand } from "./conformance/command.ts";
import { ExitCode, exitCodeOf, failureText } from "./exit.ts";
import { runMachine } from "./machine.ts";
import { addRunCommand } from "./run.ts";

const EXAMPLES = `
Examples:
  $ vblk run script.ts                          drive a virtio block device by a script of your own
  $ vblk run script.ts --drive file=disk.img    ... on a raw image
  $ vblk machine -M none -qmp stdio             a block layer with QEMU's monitor
  $ vblk conformance --target qemu-system-arm   a device examined, requirement by requirement
  $ vblk check disk.qcow2                       what is wrong with an image
  $ vblk help run                               all about running scripts
  $ vblk machine -help                          all about machines`;

const program = new Command("vblk")
  .description("A virtio block device over MMIO registers, on a real block layer with backups and dirty bitmaps.")
  .version(packageVersion(), "-V, --version")
  .showHelpAfterError("(see --help)")
  .exitOverride()
  .addHelpText("after", EXAMPLES);
addRunCommand(program);
addConformanceCommand(program);
addCheckCommand(program);
program
  .command("machine")
  .summary("run a machine with QEMU's command line and monitor")
  .description("A machine with QEMU's command line and monitor; see vblk machine -help.")
  .helpOption(false)
  .allowUnknownOption()
  .argument("[options...]", "as QEMU spells them")
  .action(async () => {
    // QEMU's spelling is not commander's: it gets the arguments as they were typed.
    const args = process.argv.slice(process.argv.indexOf("machine") + 1);
    process.exitCode = await runMachine(args, "vblk machine", packageVersion());
  });

// Whoever reads the output may stop reading, as `head` does: the run goes on, and its exit status still tells.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
});

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? ExitCode.ok : ExitCode.usage; // its text has been written
  } else {
    process.stderr.write(`vblk: ${failureText(error)}\n`);
    process.exitCode = exitCodeOf(error);
  }
}
