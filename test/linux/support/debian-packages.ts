// Debian's i386 packages, fetched by name into a cache with a package list of its own: nothing is installed on this system.
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

const SOURCE =
  "deb [arch=i386 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main\n";

/**
 * Unpacks packages into `folder`, unless they have been before. `names` may hold packages that only depend on others, as
 * `linux-image-686` does: then the first package that they depend on is taken. Signatures are checked by apt.
 */
export async function unpackDebianPackages(folder: string, names: readonly string[]): Promise<void> {
  const done = join(folder, "done");
  if (existsSync(done)) return;
  rmSync(folder, { recursive: true, force: true });
  const unpacked = join(folder, "unpacked");
  for (const part of ["lists/partial", "cache/archives/partial", "unpacked"]) {
    mkdirSync(join(folder, part), { recursive: true });
  }
  writeFileSync(join(folder, "sources.list"), SOURCE);
  const options = aptOptions(folder);
  await run("apt-get", [...options, "-q", "update"]);
  const wanted: string[] = [];
  for (const name of names) wanted.push(await realPackage(options, name));
  await run("apt-get", [...options, "-q", "download", ...wanted], { cwd: folder });
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".deb"))) {
    await run("dpkg-deb", ["--extract", join(folder, file), unpacked]);
    rmSync(join(folder, file));
  }
  renameSync(join(folder, "sources.list"), done);
}

/** Where `unpackDebianPackages` puts what is in the packages. */
export function unpackedPath(folder: string, path: string): string {
  return join(folder, "unpacked", path);
}

function aptOptions(folder: string): readonly string[] {
  return [
    "APT::Architecture=i386",
    "APT::Architectures=i386",
    "APT::Sandbox::User=root",
    "Acquire::Languages=none",
    `Dir::Etc::sourcelist=${join(folder, "sources.list")}`,
    "Dir::Etc::sourceparts=-",
    `Dir::State=${folder}`,
    "Dir::State::status=/dev/null",
    `Dir::Cache=${join(folder, "cache")}`,
  ].flatMap((option) => ["-o", option]);
}

async function realPackage(options: readonly string[], name: string): Promise<string> {
  const { stdout } = await run("apt-cache", [...options, "depends", name]);
  const [, image] = /^\s*Depends: (linux-image-\S+)$/m.exec(stdout) ?? [];
  return image ?? name;
}
