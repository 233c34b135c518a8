// What a source file imports, read from its syntax tree, and what a whole graph of such files comes to.
import { existsSync } from "node:fs";
import { dirname, posix } from "node:path";
import ts from "typescript";
import { PROJECT_ROOT, readProjectFile } from "./project-files.ts";

/** One mention of another module. */
export interface ImportMention {
  readonly specifier: string;
  /**
   * `value`: an import, re-export or dynamic import that is there at run time; `type`: an `import type` or `export type`;
   * `inside-type`: the type `import("…").Name`.
   */
  readonly kind: "value" | "type" | "inside-type";
}

/** Every module that a TypeScript text names, in the order of the text. */
export function readImports(text: string): ImportMention[] {
  const mentions: ImportMention[] = [];
  const visit = (node: ts.Node): void => {
    if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier !== undefined) {
      const typeOnly = ts.isImportDeclaration(node)
        ? node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword
        : node.isTypeOnly;
      mentions.push({ specifier: textOf(node.moduleSpecifier), kind: typeOnly ? "type" : "value" });
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      mentions.push({ specifier: textOf(node.argument.literal), kind: "inside-type" });
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [target] = node.arguments;
      if (target !== undefined && ts.isStringLiteralLike(target)) {
        mentions.push({ specifier: target.text, kind: "value" });
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile("module.ts", text, ts.ScriptTarget.Latest));
  return mentions;
}

/** A graph of modules: its files, and what they import that is no file of the project. */
export interface ModuleGraph {
  readonly files: ReadonlySet<string>;
  /** Names of packages and `node:` modules, each as `specifier (from file)`. */
  readonly foreign: readonly string[];
}

/**
 * All that loading the file `entry` brings along, types included.
 * @param entry relative to the root, `index.ts`
 * @param aliases where names of package.json's `imports` lead, `#platform` for instance
 */
export function walkImports(entry: string, aliases: Readonly<Record<string, string>>): ModuleGraph {
  const files = new Set<string>();
  const foreign: string[] = [];
  const queue = [entry];
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (files.has(path)) continue;
    files.add(path);
    for (const { specifier } of readImports(readProjectFile(path))) {
      const target = specifier.startsWith(".") ? posix.join(dirname(path), specifier) : aliases[specifier];
      if (target === undefined) foreign.push(`${specifier} (from ${path})`);
      else if (existsSync(PROJECT_ROOT + target)) queue.push(target);
      else throw new Error(`${path} imports ${specifier}, which is not there`);
    }
  }
  return { files, foreign };
}

function textOf(node: ts.Node): string {
  if (!ts.isStringLiteralLike(node)) throw new Error(`a module name that is no string: ${ts.SyntaxKind[node.kind]}`);
  return node.text;
}
