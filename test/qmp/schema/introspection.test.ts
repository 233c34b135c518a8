// query-qmp-schema: complete in itself, and the same as QEMU's where the types are.
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { describe, expect, it } from "vitest";
import { describeSchema } from "../../../src/qmp/schema/introspection.ts";
import { visitJson } from "../../../src/qmp/schema/json-reader.ts";
import { type SchemaInfo, schemaInfo } from "../../../src/qmp/schema/schema-info.ts";
import { array, object, optional, str, uint32 } from "../../../src/qmp/schema/types.ts";
import { describeWithTools } from "../../support/tools.ts";
import { SAMPLE_ARGUMENTS } from "../support/sample-types.ts";
import { TestMonitor } from "../support/test-monitor.ts";

const samples = Object.entries(SAMPLE_ARGUMENTS).map(([name, type]) => ({ name, arguments: type }));

/** What an entry means, with the types that it names in their places; a type within itself is named by how far out it is. */
function expand(infos: readonly SchemaInfo[], name: string, within: readonly string[] = []): unknown {
  const inner = within.indexOf(name);
  if (inner !== -1) return `the type ${within.length - inner} levels out`;
  const info = infos.find((info) => info.name === name);
  if (info === undefined) throw new Error(`there is no ${name}`);
  const path = [...within, name];
  const type = (of: string) => expand(infos, of, path);
  switch (info["meta-type"]) {
    case "builtin":
      return info["json-type"];
    case "enum":
      return { values: info.values, members: info.members.map((member) => member.name) };
    case "array":
      return [type(info["element-type"])];
    case "alternate":
      return { oneOf: info.members.map((member) => type(member.type)) };
    case "object":
      return {
        // Their order means nothing to a reader: QEMU's own has a tag behind other members, where ours comes first.
        members: Object.fromEntries(
          info.members.map((member) => [member.name, { optional: "default" in member, type: type(member.type) }]),
        ),
        tag: info.tag,
        variants: info.variants?.map((variant) => [variant.case, type(variant.type)]),
      };
    case "command":
      return { takes: type(info["arg-type"]), gives: type(info["ret-type"]), features: info.features };
    case "event":
      return { data: type(info["arg-type"]) };
  }
}

describe("describeSchema", () => {
  it("describes commands, events and their types, each type once, by number", () => {
    const item = object({ name: str, size: optional(uint32) });
    const infos = describeSchema(
      [
        { name: "put", arguments: object({ items: array(item), one: item }), features: ["unstable"] },
        { name: "clear", arguments: object({}) },
      ],
      [{ name: "CHANGED", data: item }, { name: "CLEARED" }],
    );
    expect(infos).toEqual([
      { name: "put", "meta-type": "command", "arg-type": "1", "ret-type": "0", features: ["unstable"] },
      { name: "clear", "meta-type": "command", "arg-type": "0", "ret-type": "0" },
      { name: "CHANGED", "meta-type": "event", "arg-type": "2" },
      { name: "CLEARED", "meta-type": "event", "arg-type": "0" },
      { name: "0", "meta-type": "object", members: [] },
      {
        name: "1",
        "meta-type": "object",
        members: [
          { name: "items", type: "[2]" },
          { name: "one", type: "2" },
        ],
      },
      {
        name: "2",
        "meta-type": "object",
        members: [
          { name: "name", type: "str" },
          { name: "size", type: "int", default: null },
        ],
      },
      { name: "[2]", "meta-type": "array", "element-type": "2" },
      { name: "str", "meta-type": "builtin", "json-type": "string" },
      { name: "int", "meta-type": "builtin", "json-type": "int" },
    ]);
  });

  it("names nothing that it does not describe", () => {
    const infos = describeSchema(samples, []);
    expect(new Set(infos.map((info) => info.name)).size).toBe(infos.length);
    for (const { name } of samples) expand(infos, name);
  });

  it("is what its own schema says", async () => {
    const { server } = new TestMonitor();
    const infos = await server.execute<SchemaInfo[]>("query-qmp-schema");
    expect(visitJson(array(schemaInfo), infos)).toEqual(infos);
    expect(infos.find((info) => info.name === "HAPPENED")).toMatchObject({ "meta-type": "event" });
    expect(expand(infos, "HAPPENED")).toEqual({
      data: { members: { what: { optional: false, type: "string" } }, tag: undefined, variants: undefined },
    });
  });
});

/** The schema of a QEMU. */
async function askQemu(): Promise<SchemaInfo[]> {
  const qemu: ChildProcessByStdio<Writable, Readable, null> = spawn(
    "qemu-system-aarch64",
    ["-M", "none", "-display", "none", "-qmp", "stdio"],
    { stdio: ["pipe", "pipe", "ignore"] },
  );
  qemu.stdin.write('{"execute":"qmp_capabilities"}{"execute":"query-qmp-schema"}{"execute":"quit"}');
  let text = "";
  for await (const chunk of qemu.stdout) text += String(chunk);
  return (JSON.parse(text.split("\r\n")[2] ?? "") as { return: SchemaInfo[] }).return;
}

describeWithTools(["qemu-system-aarch64"], "describeSchema beside QEMU", () => {
  it("means the same for the same types", async () => {
    const theirs = await askQemu();
    const { server } = new TestMonitor();
    const ours = [...describeSchema([...server.commands, ...samples], [])];
    for (const name of [
      "qmp_capabilities",
      "query-version",
      "query-commands",
      "query-name",
      "quit",
      "block-dirty-bitmap-add",
      "block-dirty-bitmap-merge",
      "block-set-write-threshold",
    ])
      expect(expand(ours, name), name).toEqual(expand(theirs, name));
    expect(expand(ours, "query-qmp-schema")).toEqual(expand(theirs, "query-qmp-schema"));
  });

  it("has the same form", async () => {
    const theirs = await askQemu();
    expect(() => visitJson(array(schemaInfo), theirs)).not.toThrow();
  });
});
