// docs/tracing.md against the code: every trace point has its row, with its arguments in their order, and no row is of one that is not there.
import ts from "typescript";
import { expect, it } from "vitest";
import { listProjectFiles, readProjectFile } from "../support/project-files.ts";

/** Arguments by trace point; what a template leaves open is `*` in a name. */
const points = new Map<string, string[]>();
const sources = listProjectFiles().filter((path) => /^(src|devices|machine|guest|cli)\/.*\.ts$/.test(path));
for (const path of sources) readPoints(path);

function readPoints(path: string): void {
  const file = ts.createSourceFile(path, readProjectFile(path), ts.ScriptTarget.Latest, true);
  /** Names by the expression that holds the point: `traceRead`, `this.#enter`. */
  const holders = new Map<string, string>();
  const names: string[] = [];
  const emits: { holder: string; fields: string[] }[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && node.expression.getText() === "tracePoint" && node.arguments[0] !== undefined) {
      const name = nameOf(node.arguments[0]);
      if (name !== undefined) {
        names.push(name);
        const { parent } = node;
        if (ts.isVariableDeclaration(parent)) holders.set(parent.name.getText(), name);
        if (ts.isBinaryExpression(parent)) holders.set(parent.left.getText(), name);
      }
    } else if (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression)) {
      const fields = node.expression.name.text === "emit" ? fieldsOf(file, node.arguments[0]) : undefined;
      if (fields !== undefined) emits.push({ holder: node.expression.expression.getText(), fields });
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  for (const name of names) {
    const own = emits.find(({ holder }) => holders.get(holder) === name);
    const chosenAmongSeveral = emits.find(({ holder }) => !holders.has(holder));
    const { fields } = own ?? chosenAmongSeveral ?? { fields: ["nothing is ever told"] };
    points.set(name, fields);
  }
}

function nameOf(argument: ts.Expression): string | undefined {
  if (ts.isStringLiteralLike(argument)) return argument.text;
  if (!ts.isTemplateExpression(argument)) return undefined;
  return argument.head.text + argument.templateSpans.map(({ literal }) => `*${literal.text}`).join("");
}

/** Names of an object literal's members, or of that which a function of the same file returns. */
function fieldsOf(file: ts.SourceFile, argument: ts.Expression | undefined): string[] | undefined {
  if (argument === undefined) return undefined;
  if (ts.isObjectLiteralExpression(argument)) return argument.properties.map((member) => member.name?.getText() ?? "…");
  if (!ts.isCallExpression(argument)) return undefined;
  const called = file.statements.find(
    (one): one is ts.FunctionDeclaration =>
      ts.isFunctionDeclaration(one) && one.name?.text === argument.expression.getText(),
  );
  const returned = called?.body?.statements.find(ts.isReturnStatement)?.expression;
  return fieldsOf(file, returned);
}

const rows = [...readProjectFile("docs/tracing.md").matchAll(/^\| `([\w*]+)` \| ([^|]*) \|/gm)].map(
  ([, name, args]): [string, string[]] => [name!, [...args!.matchAll(/`(\w+)`/g)].map(([, field]) => field!)],
);

it("docs/tracing.md has a row for every trace point, with its arguments in their order, and no other", () => {
  const byName = ([a]: [string, string[]], [b]: [string, string[]]): number => (a < b ? -1 : 1);
  expect(rows.length).toBeGreaterThan(40);
  expect(rows.sort(byName)).toEqual([...points].sort(byName));
});
