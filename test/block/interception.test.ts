// Who may use a job's source and target meanwhile. Graphs and texts are those of experiments on a real QEMU 7.2.
import { beforeEach, describe, expect, it } from "vitest";
import { BlockBackend } from "../../src/block/backend.ts";
import { MemoryDriver } from "../../src/block/drivers/memory.ts";
import { MemoryOverlayDriver } from "../../src/block/drivers/memory-overlay.ts";
import { RawDriver } from "../../src/block/drivers/raw.ts";
import { CopyBeforeWriteDriver } from "../../src/block/filters/copy-before-write.ts";
import { Interception } from "../../src/block/interception.ts";
import { BlockNode } from "../../src/block/node.ts";
import { PERM_ALL, PERM_CONSISTENT_READ, PERM_RESIZE, PERM_WRITE } from "../../src/block/permissions.ts";

const REASON = "block device is in use by block job: backup";
const WRITER = { needs: PERM_CONSISTENT_READ | PERM_WRITE, shares: PERM_ALL };
const RESIZER = { needs: PERM_RESIZE, shares: PERM_ALL };

function memory(name: string): BlockNode {
  return new BlockNode({ name, driver: new MemoryDriver({ lengthBytes: 4096 }) });
}

function raw(name: string, file: BlockNode): BlockNode {
  return new BlockNode({ name, driver: new RawDriver({ file }) });
}

function user(node: BlockNode, permissions = WRITER): BlockBackend {
  return new BlockBackend({ name: "", node, permissions });
}

function device(node: BlockNode, id: string, shareRw = false): BlockBackend {
  const backend = new BlockBackend({ name: "", node });
  backend.attachDevice({ id, path: id, shareRw });
  return backend;
}

/** Who uses a node, and how. */
function users(...nodes: BlockNode[]): unknown {
  return nodes.map((node) => [...node.parents].map((parent) => ({ ...node.parentEdge(parent) })));
}

function begin(interception: Interception): Interception {
  interception.attachTarget();
  interception.coverSource();
  interception.activate();
  return interception;
}

let aFile: BlockNode;
let a: BlockNode;
let bFile: BlockNode;
let b: BlockNode;
beforeEach(() => {
  aFile = memory("a-f");
  a = raw("a", aFile);
  bFile = memory("b-f");
  b = raw("b", bFile);
});

function between(source: BlockNode, target: BlockNode, filterName = "flt"): Interception {
  return new Interception({ filterName, source, target, reason: REASON });
}

describe("Interception", () => {
  it("lets others read source and target, and write to the target", () => {
    device(a, "vb0");
    begin(between(a, b));
    user(a, { needs: PERM_CONSISTENT_READ, shares: PERM_ALL });
    user(b);
    user(bFile);
  });

  it("refuses to write to the source or below it past the job", () => {
    device(a, "vb0");
    begin(between(a, b));
    expect(() => user(a)).toThrow(
      "Permission conflict on node 'a': permissions 'write' are both required by an unnamed block device (uses node 'a' as 'root' child) and unshared by node 'flt' (uses node 'a' as 'file' child).",
    );
    expect(() => user(aFile)).toThrow(
      "Permission conflict on node 'a-f': permissions 'write' are both required by an unnamed block device (uses node 'a-f' as 'root' child) and unshared by node 'a' (uses node 'a-f' as 'file' child).",
    );
    expect(() => user(raw("x", a))).toThrow(
      "Permission conflict on node 'a': permissions 'write' are both required by node 'x' (uses node 'a' as 'file' child) and unshared by node 'flt' (uses node 'a' as 'file' child).",
    );
  });

  it("refuses to resize source or target", () => {
    device(a, "vb0");
    begin(between(a, b));
    expect(() => user(a, RESIZER)).toThrow(
      "Permission conflict on node 'a': permissions 'resize' are both required by an unnamed block device (uses node 'a' as 'root' child) and unshared by node 'flt' (uses node 'a' as 'file' child).",
    );
    expect(() => user(raw("x", b), RESIZER)).toThrow(
      "Permission conflict on node 'b': permissions 'resize' are both required by node 'x' (uses node 'b' as 'file' child) and unshared by node 'flt' (uses node 'b' as 'target' child).",
    );
    expect(() => user(bFile, RESIZER)).toThrow("unshared by node 'b' (uses node 'b-f' as 'file' child).");
    expect(b.opBlockers.reason("resize")).toBe(REASON);
    expect(a.opBlockers.reason("resize")).toBeUndefined();
  });

  it("leaves everything as it was once removed, whenever that is", () => {
    device(a, "vb0");
    const before = users(a, aFile, b, bFile);
    for (let steps = 0; steps <= 3; steps++) {
      const interception = between(a, b);
      for (const step of (["attachTarget", "coverSource", "activate"] as const).slice(0, steps)) interception[step]();
      interception.remove();
      expect(users(a, aFile, b, bFile)).toEqual(before);
      expect(b.opBlockers.reason("backup-target")).toBeUndefined();
    }
  });

  it("may be there twice on a source, not on a target", () => {
    device(a, "vb0");
    begin(between(a, b, "flt0"));
    begin(between(a, memory("c"), "flt1"));
    expect(b.opBlockers.reason("backup-target")).toBe(REASON);
  });

  it("refuses the source of one job as the target of another", () => {
    device(a, "vb0");
    begin(between(a, b));
    const other = between(memory("c"), a, "#block337");
    expect(() => other.attachTarget()).toThrow(
      "Could not create node: Permission conflict on node 'a': permissions 'write' are both required by node '#block337' (uses node 'a' as 'target' child) and unshared by node 'flt' (uses node 'a' as 'file' child).",
    );
    other.remove();
    const above = between(memory("d"), raw("x", a), "#block338");
    expect(() => above.attachTarget()).toThrow(
      "Could not create node: Permission conflict on node 'a': permissions 'write' are both required by node 'x' (uses node 'a' as 'file' child) and unshared by node 'flt' (uses node 'a' as 'file' child).",
    );
  });

  it("refuses the node of a device as a target", () => {
    const c = memory("c");
    device(c, "vb0");
    expect(() => between(a, c, "#block360").attachTarget()).toThrow(
      "Could not create node: Permission conflict on node 'c': permissions 'write' are both required by node '#block360' (uses node 'c' as 'target' child) and unshared by block device 'vb0' (uses node 'c' as 'root' child).",
    );
  });

  it("refuses the source's own file as a target", () => {
    const idle = between(a, aFile, "#block056");
    expect(() => begin(idle)).toThrow(
      /^Permission conflict on node 'a-f': permissions 'write' are both required by node '#block056' \(uses node 'a-f' as 'target' child\) and unshared by node 'a' \(uses node 'a-f' as 'file' child\)\.$/,
    );
    idle.remove();
    expect(aFile.opBlockers.reason("resize")).toBeUndefined();
    device(a, "vb0");
    expect(() => between(a, aFile, "#block277").attachTarget()).toThrow(
      "Could not create node: Permission conflict on node 'a-f': permissions 'write' are both required by node '#block277' (uses node 'a-f' as 'target' child) and unshared by node 'a' (uses node 'a-f' as 'file' child).",
    );
  });

  it("refuses as a target what stands on the source, unless as an overlay", () => {
    expect(() => begin(between(aFile, a, "#block160"))).toThrow(
      /^Permission conflict on node 'a-f': permissions 'write' are both required by node 'a' \(uses node 'a-f' as 'file' child\) and unshared by node '#block160' \(uses node 'a-f' as 'file' child\)\.$/,
    );
    const overlay = new BlockNode({ name: "t", driver: new MemoryOverlayDriver({ backing: b }) });
    begin(between(b, overlay));
  });

  it("refuses as a target what an overlay with a user stands on", () => {
    const overlay = new BlockNode({ name: "t", driver: new MemoryOverlayDriver({ backing: b }) });
    expect(() => begin(between(overlay, b, "#block539"))).toThrow(
      "Permission conflict on node 'b': permissions 'write' are both required by node '#block539' (uses node 'b' as 'target' child) and unshared by node 't' (uses node 'b' as 'backing' child).",
    );
  });

  it("refuses to stand below a node whose user shares no writing, where the source has writers", () => {
    device(a, "vb0");
    begin(between(a, b));
    const x = raw("x", a);
    expect(() => begin(between(x, memory("c"), "#block400"))).toThrow(
      "Permission conflict on node 'a': permissions 'write' are both required by node 'flt' (uses node 'a' as 'file' child) and unshared by node 'x' (uses node 'a' as 'file' child).",
    );
  });

  it("says at which step another user is in the way", () => {
    const c = memory("c");
    const filterNode = (file: BlockNode, target: BlockNode): BlockNode =>
      new BlockNode({ name: "x", driver: new CopyBeforeWriteDriver({ file, target }) });
    const x = filterNode(c, memory("t"));
    const shy = between(x, c, "f0");
    expect(() => shy.attachTarget()).toThrow(
      "Could not create node: Permission conflict on node 'c': permissions 'write' are both required by node 'f0' (uses node 'c' as 'target' child) and unshared by node 'x' (uses node 'c' as 'file' child).",
    );
    shy.remove();
    device(a, "vb");
    const above = between(filterNode(a, memory("u")), memory("v"), "f0");
    expect(() => above.attachTarget()).toThrow(
      "Could not create node: Permission conflict on node 'a': permissions 'write' are both required by block device 'vb' (uses node 'a' as 'root' child) and unshared by node 'x' (uses node 'a' as 'file' child).",
    );
    above.remove();
    raw("other", bFile);
    const below = between(bFile, b, "f1");
    below.attachTarget();
    expect(() => below.coverSource()).toThrow(
      "Could not replace node: Permission conflict on node 'b-f': permissions 'write' are both required by node 'b' (uses node 'b-f' as 'file' child) and unshared by node 'f1' (uses node 'b-f' as 'file' child).",
    );
    below.remove();
    expect([aFile, a, bFile, b, c, x].map((node) => node.parentCount)).toEqual([1, 2, 2, 0, 1, 0]);
  });

  it("does not stand before an earlier one that the target goes through", () => {
    device(a, "vb0", true);
    begin(between(aFile, b, "f0"));
    expect(() => begin(between(aFile, a, "f1"))).toThrow(
      "Permission conflict on node 'a-f': permissions 'write' are both required by node 'f0' (uses node 'a-f' as 'file' child) and unshared by node 'f1' (uses node 'a-f' as 'file' child).",
    );
  });

  it("does not stand before what writes to its target lead to by way of another", () => {
    const [x, y] = [raw("x", a), raw("y", b)];
    begin(between(a, y, "f0"));
    const back = between(b, x, "f1");
    expect(() => begin(back)).toThrow(
      /^Permission conflict on node 'b': permissions 'write' are both required by node 'y' \(uses node 'b' as 'file' child\) and unshared by node 'f1' \(uses node 'b' as 'file' child\)\.$/,
    );
    back.remove();
    expect([a, b, x, y].map((node) => node.parentCount)).toEqual([2, 1, 0, 1]);
    begin(between(b, memory("c"), "f2"));
  });
});
