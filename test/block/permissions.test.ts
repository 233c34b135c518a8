// Who may use a node beside whom. The texts are those of a real QEMU 7.2 for the same graphs.
import { describe, expect, it } from "vitest";
import { BlockBackend } from "../../src/block/backend.ts";
import type { NodeParent } from "../../src/block/drain.ts";
import { MemoryDriver } from "../../src/block/drivers/memory.ts";
import { MemoryOverlayDriver } from "../../src/block/drivers/memory-overlay.ts";
import { RawDriver } from "../../src/block/drivers/raw.ts";
import { BlockNode } from "../../src/block/node.ts";
import {
  PERM_ALL,
  PERM_CONSISTENT_READ,
  PERM_RESIZE,
  PERM_WRITE,
  PERM_WRITE_UNCHANGED,
  permissionNames,
} from "../../src/block/permissions.ts";
import { RecordingParent } from "../support/recording-parent.ts";

const READ_WRITE = { needs: PERM_CONSISTENT_READ | PERM_WRITE, shares: PERM_ALL };

function memory(name: string, readOnly = false): BlockNode {
  return new BlockNode({ name, driver: new MemoryDriver({ lengthBytes: 4096, readOnly }) });
}

function raw(name: string, file: BlockNode): BlockNode {
  return new BlockNode({ name, driver: new RawDriver({ file }) });
}

function overlay(name: string, backing: BlockNode): BlockNode {
  return new BlockNode({ name, driver: new MemoryOverlayDriver({ backing }) });
}

/** The backend of one command. */
function unnamed(node: BlockNode, permissions = READ_WRITE): BlockBackend {
  return new BlockBackend({ name: "", node, permissions });
}

function device(node: BlockNode, id: string | undefined, shareRw = false): BlockBackend {
  const backend = new BlockBackend({ name: "", node });
  backend.attachDevice({ id, path: "/machine/peripheral-anon/device[0]", shareRw });
  return backend;
}

describe("permissionNames", () => {
  it("lists permissions in QEMU's words and order", () => {
    expect(permissionNames(PERM_RESIZE | PERM_WRITE)).toBe("write, resize");
    expect(permissionNames(PERM_ALL)).toBe("consistent read, write, write unchanged, resize");
  });
});

describe("BlockNode.attachParent", () => {
  it("refuses a second writer beside a device, and names the device by its id", () => {
    const node = memory("n0");
    device(node, "vb1");
    expect(() => unnamed(node)).toThrow(
      "Permission conflict on node 'n0': permissions 'write' are both required by an unnamed block device (uses node 'n0' as 'root' child) and unshared by block device 'vb1' (uses node 'n0' as 'root' child).",
    );
    expect(node.parentCount).toBe(1);
  });

  it("names a device without an id by its path, and one on a drive by the drive", () => {
    const node = memory("n1");
    device(node, undefined);
    expect(() => unnamed(node)).toThrow(
      "unshared by block device '/machine/peripheral-anon/device[0]' (uses node 'n1' as 'root' child).",
    );
    const other = memory("#block139");
    const drive = new BlockBackend({ name: "d0", node: other });
    unnamed(other).close();
    drive.attachDevice({ id: "vb0", path: "", shareRw: false });
    expect(() => unnamed(other)).toThrow("unshared by block device 'd0' (uses node '#block139' as 'root' child).");
  });

  it("lets readers and resizers in beside a device, and writers where it shares", () => {
    const node = memory("n2");
    const shy = device(node, "vb0");
    const reader = unnamed(node, { needs: PERM_CONSISTENT_READ, shares: PERM_ALL });
    const resizer = unnamed(node, { needs: PERM_RESIZE, shares: PERM_ALL });
    expect(node.parentCount).toBe(3);
    for (const backend of [shy, reader, resizer]) backend.close();
    device(node, "vb1", true);
    unnamed(node);
    expect(node.parentCount).toBe(2);
  });

  it("asks the node below for what is asked of a raw node", () => {
    const node = memory("n0");
    device(node, "vb1");
    const upper = raw("rn0", node);
    expect(() => unnamed(upper)).toThrow(
      "Permission conflict on node 'n0': permissions 'write' are both required by node 'rn0' (uses node 'n0' as 'file' child) and unshared by block device 'vb1' (uses node 'n0' as 'root' child).",
    );
    expect(upper.parentCount).toBe(0);
    expect(node.parentEdge([...node.parents][1]!).permissions).toEqual({ needs: 0, shares: PERM_ALL });
  });

  it("protects the file below a node that is in use", () => {
    const file = memory("a-f");
    device(raw("a", file), "vb0");
    expect(() => unnamed(file)).toThrow(
      "Permission conflict on node 'a-f': permissions 'write' are both required by an unnamed block device (uses node 'a-f' as 'root' child) and unshared by node 'a' (uses node 'a-f' as 'file' child).",
    );
  });

  it("refuses a writer of a read-only node, however deep it lies", () => {
    const top = raw("top", raw("middle", memory("bottom", true)));
    const writer = { needs: PERM_WRITE, shares: PERM_ALL };
    expect(() => top.attachParent(new RecordingParent(), writer)).toThrow(/^Block node is read-only$/);
    expect(() => unnamed(memory("ro", true), READ_WRITE)).toThrow(/^Block node is read-only$/);
    unnamed(top, { needs: PERM_CONSISTENT_READ, shares: PERM_ALL });
  });

  it("reports all permissions that are in conflict, of the newest user first", () => {
    const node = memory("b");
    const first = new RecordingParent([], "first");
    const second = new RecordingParent([], "second");
    node.attachParent(first, { needs: 0, shares: PERM_CONSISTENT_READ });
    node.attachParent(second, { needs: 0, shares: PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED });
    const third = { needs: PERM_WRITE | PERM_RESIZE | PERM_CONSISTENT_READ, shares: PERM_ALL };
    expect(() => node.attachParent(new RecordingParent([], "third"), third)).toThrow(
      "permissions 'write, resize' are both required by third (uses node 'b' as 'root' child) and unshared by second (uses node 'b' as 'root' child).",
    );
    const fourth = { needs: 0, shares: 0 };
    first.log.length = 0;
    node.setParentPermissions(first, { needs: PERM_CONSISTENT_READ, shares: PERM_ALL });
    expect(() => node.attachParent(new RecordingParent([], "fourth"), fourth)).toThrow(
      "permissions 'consistent read' are both required by first (uses node 'b' as 'root' child) and unshared by fourth (uses node 'b' as 'root' child).",
    );
  });

  it("tells a refused parent nothing, not even of a drained section", async () => {
    const node = memory("n");
    device(node, "vb0");
    using _drained = await node.drain();
    const parent = new RecordingParent();
    expect(() => node.attachParent(parent, READ_WRITE)).toThrow("Permission conflict");
    expect(parent.log).toEqual([]);
  });
});

describe("a backing node", () => {
  it("may be written to until somebody relies on the overlay", () => {
    const base = memory("b");
    const top = overlay("t", base);
    unnamed(base).close();
    const vb0 = device(top, "vb0");
    expect(() => unnamed(base)).toThrow(
      "Permission conflict on node 'b': permissions 'write' are both required by an unnamed block device (uses node 'b' as 'root' child) and unshared by node 't' (uses node 'b' as 'backing' child).",
    );
    vb0.close();
    device(top, "vb1", true);
    unnamed(base);
  });

  it("is never asked to be written to, so it may be read-only", () => {
    device(overlay("t", memory("b", true)), "vb0");
  });

  it("must keep its length and its place", () => {
    const base = memory("b");
    overlay("t", base);
    expect(base.opBlockers.reason("resize")).toBe("node is used as backing hd of 't'");
    expect(base.opBlockers.reason("delete")).toBe("node is used as backing hd of 't'");
    expect(base.opBlockers.reason("backup-source")).toBeUndefined();
    expect(base.opBlockers.reason("backup-target")).toBeUndefined();
  });
});

describe("BlockNode.setParentPermissions", () => {
  it("keeps the old permissions where others stand against the new ones, all the way down", () => {
    const file = memory("f");
    const upper = raw("u", file);
    const parent = new RecordingParent();
    upper.attachParent(parent, { needs: PERM_CONSISTENT_READ, shares: PERM_ALL });
    device(file, "vb0");
    expect(() => upper.setParentPermissions(parent, READ_WRITE)).toThrow("required by node 'u'");
    expect(upper.parentEdge(parent).permissions.needs).toBe(PERM_CONSISTENT_READ);
    const edge = upper.childEdges[0]!;
    expect(file.parentEdge(edge.asParent).permissions).toEqual({ needs: PERM_CONSISTENT_READ, shares: PERM_ALL });
  });
});

describe("BlockNode.detachParent", () => {
  it("takes back what the parent asked of the nodes below", () => {
    const file = memory("f");
    const vb0 = device(raw("u", file), "vb0");
    vb0.close();
    unnamed(file);
  });
});

describe("BlockNode.coverParents", () => {
  const FILTER = { needs: PERM_CONSISTENT_READ, shares: PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED };

  function filter(name: string): NodeParent {
    return {
      parentName: `node '${name}'`,
      role: "file",
      filterName: name,
      beginDrain() {},
      untilQuiet: () => undefined,
      endDrain() {},
    };
  }

  /** Puts `flt` between a node and its users, as a backup does. */
  function intercept(node: BlockNode, name = "flt"): NodeParent {
    const cover = filter(name);
    node.attachParent(cover);
    node.coverParents(cover);
    node.setParentPermissions(cover, FILTER);
    return cover;
  }

  it("lets those go on that wrote before, and refuses new writers and resizers of the node", () => {
    const node = memory("a");
    const vb0 = device(node, "vb0");
    intercept(node);
    expect(() => unnamed(node)).toThrow(
      "Permission conflict on node 'a': permissions 'write' are both required by an unnamed block device (uses node 'a' as 'root' child) and unshared by node 'flt' (uses node 'a' as 'file' child).",
    );
    expect(() => unnamed(node, { needs: PERM_RESIZE, shares: PERM_ALL })).toThrow(
      "Permission conflict on node 'a': permissions 'resize' are both required by an unnamed block device (uses node 'a' as 'root' child) and unshared by node 'flt' (uses node 'a' as 'file' child).",
    );
    unnamed(node, { needs: PERM_CONSISTENT_READ, shares: PERM_ALL });
    vb0.setPermissions({ needs: PERM_CONSISTENT_READ | PERM_WRITE, shares: PERM_ALL });
  });

  it("passes on what the covered ones need: a later user who does not share it stands against the filter", () => {
    const node = memory("a");
    device(node, "vb0");
    intercept(node);
    const x = raw("x", node);
    x.attachParent(filter("flt2"));
    expect(() => x.setParentPermissions([...x.parents][0]!, FILTER)).toThrow(
      "Permission conflict on node 'a': permissions 'write' are both required by node 'flt' (uses node 'a' as 'file' child) and unshared by node 'x' (uses node 'a' as 'file' child).",
    );
  });

  it("keeps the covered ones apart under the name of the filter", () => {
    const node = memory("a");
    const vb0 = device(node, "vb0");
    const other = unnamed(node, { needs: PERM_CONSISTENT_READ, shares: PERM_ALL });
    intercept(node);
    expect(() => other.setPermissions(READ_WRITE)).toThrow(
      "Permission conflict on node 'flt': permissions 'write' are both required by an unnamed block device (uses node 'flt' as 'root' child) and unshared by block device 'vb0' (uses node 'flt' as 'root' child).",
    );
    vb0.close();
    other.setPermissions(READ_WRITE);
  });

  it("may be done twice, and ended in either order", () => {
    for (const order of [
      [0, 1],
      [1, 0],
    ]) {
      const node = memory("a");
      device(node, "vb0");
      const covers = [intercept(node, "flt0"), intercept(node, "flt1")];
      expect(() => unnamed(node)).toThrow("unshared by node 'flt1' (uses node 'a' as 'file' child).");
      node.detachParent(covers[order[0]!]!);
      expect(() => unnamed(node)).toThrow(`unshared by node 'flt${order[1]}' (uses node 'a' as 'file' child).`);
      node.detachParent(covers[order[1]!]!);
      expect(() => unnamed(node)).toThrow("unshared by block device 'vb0'");
    }
  });

  it("refuses to intercept what somebody writes to who is not covered", () => {
    const node = memory("a");
    const writer = unnamed(node);
    const cover = filter("flt");
    node.attachParent(cover);
    node.coverParents(cover, (parent) => parent === writer.asParent);
    expect(() => node.setParentPermissions(cover, FILTER)).toThrow(
      "Permission conflict on node 'a': permissions 'write' are both required by an unnamed block device (uses node 'a' as 'root' child) and unshared by node 'flt' (uses node 'a' as 'file' child).",
    );
    node.detachParent(cover);
    unnamed(node);
  });
});

describe("BlockBackend.setNode", () => {
  it("moves to a node that others may use, or stays", () => {
    const from = memory("from");
    const to = memory("to");
    const backend = new BlockBackend({ name: "d0", node: from });
    const sizes: number[] = [];
    backend.onResize((length) => sizes.push(length));
    const holder = device(to, "vb0");
    expect(() => backend.setNode(to)).toThrow("Permission conflict on node 'to'");
    expect(backend.node).toBe(from);
    expect([...from.parents]).toEqual([backend.asParent]);
    holder.close();
    backend.setNode(to);
    expect([...from.parents]).toEqual([]);
    expect([...to.parents]).toEqual([backend.asParent]);
    expect(sizes).toEqual([]);
    backend.setNode(new BlockNode({ name: "large", driver: new MemoryDriver({ lengthBytes: 8192 }) }));
    expect(sizes).toEqual([8192]);
  });
});
