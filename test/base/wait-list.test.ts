// Those who wait for one thing to happen, and all hear of it at once.
import { describe, expect, it } from "vitest";
import { WaitList } from "../../src/base/wait-list.ts";

describe("WaitList", () => {
  it("tells all who wait, in the order in which they came, once", async () => {
    const list = new WaitList<number>();
    const heard: string[] = [];
    const first = list.wait().then((value) => heard.push(`first ${value}`));
    const second = list.wait().then((value) => heard.push(`second ${value}`));
    list.wake(1);
    list.wake(2);
    await Promise.all([first, second]);
    expect(heard).toEqual(["first 1", "second 1"]);
  });

  it("leaves who comes after a wake to the next one", async () => {
    const list = new WaitList<number>();
    list.wake(1);
    const late = list.wait();
    list.wake(2);
    expect(await late).toBe(2);
  });

  it("leaves who comes as one is woken to the next one", async () => {
    const list = new WaitList<number>();
    const again = list.wait().then(() => list.wait());
    list.wake(1);
    await Promise.resolve();
    list.wake(2);
    expect(await again).toBe(2);
  });
});
