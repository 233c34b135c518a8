// The monitor from a script of the same process: the same commands, events and mistakes without a stream.
import { describe, expect, it } from "vitest";
import { AssertionError } from "../../src/base/assert.ts";
import { BlockError, QmpError } from "../../src/base/errors.ts";
import { defineCommand } from "../../src/qmp/command.ts";
import { generalCommands } from "../../src/qmp/commands/general.ts";
import { QmpServer } from "../../src/qmp/qmp-server.ts";
import { ManualClock } from "../guest/support/manual-clock.ts";
import { HAPPENED, settle, TestMonitor } from "./support/test-monitor.ts";

describe("QmpServer.execute", () => {
  it("resolves with what the reply would return", async () => {
    const { server } = new TestMonitor();
    expect(await server.execute("query-version")).toEqual({
      qemu: { major: 10, minor: 1, micro: 2 },
      package: "virtio-blk 1.2.3",
    });
    expect(await server.execute("query-name")).toEqual({});
    expect(await server.execute("echo", { value: [1n, undefined] })).toEqual({ value: [1n, undefined] });
    expect(await server.execute("emit", { what: "x" })).toEqual({});
    expect(await server.execute<{ name: string }[]>("query-commands")).toContainEqual({ name: "query-qmp-schema" });
  });

  it("rejects with the error of the command, its class and text", async () => {
    const { server } = new TestMonitor();
    await expect(server.execute("nope")).rejects.toEqual(
      new QmpError("The command nope has not been found", "CommandNotFound"),
    );
    await expect(server.execute("emit", { what: 1 })).rejects.toEqual(
      new QmpError("Invalid parameter type for 'what', expected: string"),
    );
    await expect(server.execute("emit", { what: undefined })).rejects.toEqual(
      new QmpError("Parameter 'what' is missing"),
    );
    await expect(server.execute("fail", { how: "device" })).rejects.toMatchObject({ errorClass: "DeviceNotActive" });
    await expect(server.execute("fail", { how: "block" })).rejects.toBeInstanceOf(BlockError);
    await expect(server.execute("fail", { how: "bug" })).rejects.toEqual(new TypeError("bug"));
    await expect(server.execute("qmp_capabilities")).rejects.toEqual(
      new QmpError("Capabilities negotiation is already complete, command ignored", "CommandNotFound"),
    );
  });

  it("waits its turn behind clients' commands, and they behind its", async () => {
    const monitor = new TestMonitor();
    const client = await monitor.client();
    client.send('{"execute":"wait","arguments":{"tag":"client"}}');
    await settle();
    const script = monitor.server.execute("wait", { tag: "script" });
    client.send('{"execute":"log","arguments":{"tag":"last"}}');
    monitor.release();
    await client.until(3);
    await settle();
    expect(monitor.log).toEqual(["client begins", "client ends", "script begins"]);
    monitor.release();
    await script;
    await client.until(4);
    expect(monitor.log).toEqual(["client begins", "client ends", "script begins", "script ends", "last"]);
  });

  it("goes on after a command that failed by a mistake of ours", async () => {
    const { server } = new TestMonitor();
    const failed = server.execute("fail", { how: "bug" });
    const next = server.execute("echo");
    await expect(failed).rejects.toThrow("bug");
    expect(await next).toEqual({});
  });

  it("hears events without a stream", async () => {
    const { server } = new TestMonitor();
    const heard: unknown[] = [];
    const stop = server.events.listen(({ event, data }) => heard.push([event, data]));
    await server.execute("emit", { what: "x" });
    stop();
    await server.execute("emit", { what: "y" });
    expect(heard).toEqual([[HAPPENED.name, { what: "x" }]]);
  });
});

describe("QmpServer", () => {
  it("tells the machine's name where it has one", async () => {
    const server = new QmpServer({ clock: new ManualClock(), wallClock: { nowMs: () => 0 }, version: "0" });
    server.commands.add(...generalCommands(server, { name: "vm1", quit: () => {} }));
    expect(await server.execute("query-name")).toEqual({ name: "vm1" });
  });

  it("has each command once", () => {
    const { server } = new TestMonitor();
    expect(() => server.commands.add(defineCommand({ name: "echo", run: () => {} }))).toThrow(AssertionError);
  });
});
