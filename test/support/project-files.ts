// The files of the project itself: what a clone has, without what is installed, built or cached.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of package.json, ending in a slash. */
export const PROJECT_ROOT: string = fileURLToPath(new URL("../../", import.meta.url));

/** Names of folders that are no part of a clone: those of .gitignore, and git's own. */
const LEFT_OUT: ReadonlySet<string> = new Set([
  ".git",
  ...readProjectFile(".gitignore")
    .split("\n")
    .filter((line) => line.endsWith("/"))
    .map((line) => line.slice(0, -1)),
]);

/** Paths relative to the root, with slashes, sorted. */
export function listProjectFiles(): string[] {
  const paths: string[] = [];
  const visit = (folder: string): void => {
    for (const entry of readdirSync(join(PROJECT_ROOT, folder), { withFileTypes: true })) {
      if (LEFT_OUT.has(entry.name) || entry.name.endsWith(".tgz")) continue;
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) visit(path);
      else if (entry.isFile()) paths.push(path);
    }
  };
  visit("");
  return paths.sort();
}

/** The text of the file at `path`, which is relative to the root. */
export function readProjectFile(path: string): string {
  return readFileSync(join(PROJECT_ROOT, path), "utf8");
}
