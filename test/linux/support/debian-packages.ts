// Debian's i386 packages, fetched by name into a cache with a package list of its own: nothing is installed on this system.
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/**
 * Unpacks packages into `folder`, unless they have been before. `names` may hold packages that only depend on others, as
 * `linux-image-686` does: then the first package that they depend on is taken. They come from where this system's own packages do, and apt checks signatures.
 */
export async function unpackDebianPackages(folder: string, names: readonly string[]): Promise<void> {
  const done = join(folder, "done");
  if (existsSync(done)) return;
  rmSync(folder, { recursive: true, force: true });
  const unpacked = join(folder, "unpacked");
  for (const part of ["lists/partial", "cache/archives/partial", "unpacked"]) {
    mkdirSync(join(folder, part), { recursive: true });
  }
  const options = aptOptions(folder);
  // A source that has nothing for i386 fails the update and does no harm: what counts is that the packages can be had.
  const updated = run("apt-get", [...options, "-q", "update"]);
  await updated.catch(() => {});
  try {
    const wanted: string[] = [];
    for (const name of names) wanted.push(await realPackage(options, name));
    await run("apt-get", [...options, "-q", "download", ...wanted], { cwd: folder });
  } catch (error) {
    await updated;
    throw error;
  }
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".deb"))) {
    await run("dpkg-deb", ["--extract", join(folder, file), unpacked]);
    rmSync(join(folder, file));
  }
  writeFileSync(done, "");
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
