// Compiles the package into dist/: plain JavaScript for Node 20 and browsers, declarations beside it, and the commands.
import { spawnSync } from "node:child_process";
import { chmodSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const compiler = createRequire(import.meta.url).resolve("typescript/bin/tsc");
const commands = [`${root}/dist/cli/main.js`, `${root}/dist/cli/system.js`];

// A file whose source is gone must not survive in the package.
rmSync(`${root}/dist`, { recursive: true, force: true });

const { status } = spawnSync(process.execPath, [compiler, "--project", "tsconfig.build.json"], {
  cwd: root,
  stdio: "inherit",
});
if (status === 0) {
  for (const command of commands) {
    writeFileSync(command, `#!/usr/bin/env node\n${readFileSync(command, "utf8")}`);
    chmodSync(command, 0o755);
  }
}
process.exitCode = status ?? 1; // null: the compiler was killed
