// The command `vblk`.

import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { ExitCode, exitCodeOf, failureText } from "./exit.ts";
import { addRunCommand } from "./run.ts";

const EXAMPLES = `
Examples:
  $ vblk run script.ts                          drive a virtio block device by a script of your own
  $ vblk run script.ts --drive file=disk.img    ... on a raw image
  $ vblk help run                               all about running scripts`;

const program = new Command("vblk")
  .description("A virtio block device over MMIO registers, on a real block layer with backups and dirty bitmaps.")
  .version(version(), "-V, --version")
  .showHelpAfterError("(see --help)")
  .exitOverride()
  .addHelpText("after", EXAMPLES);
addRunCommand(program);

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

/** Of the package, whether this runs as a source or built. */
function version(): string {
  for (const path of ["../package.json", "../../package.json"]) {
    try {
      return (JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8")) as { version: string }).version;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }
  return "unknown";
}
