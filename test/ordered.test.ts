import { describe, expect, it } from "vitest";
import { inOrder } from "../src/ordered.ts";

async function* from<T>(...values: readonly T[]): AsyncGenerator<T> {
  yield* values;
}
async function all<T>(values: AsyncIterable<T>): Promise<T[]> {
  const got: T[] = [];
  for await (const value of values) got.push(value);
  return got;
}
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("work in order", () => {
  it("keeps the order of the values, whichever is done first", async () => {
    const work = async (value: number) => {
      for (let i = 0; i < value; i++) await turn();
      return 10 * value;
    };
    expect(await all(inOrder(from(5, 1, 3), 8, work))).toEqual([50, 10, 30]);
    expect(await all(inOrder(from<number>(), 8, work))).toEqual([]);
  });

  it("has no more going on than it is told", async () => {
    let going = 0;
    let most = 0;
    const work = async () => {
      most = Math.max(most, ++going);
      await turn();
      going--;
    };
    await all(inOrder(from(1, 2, 3, 4, 5, 6), 3, work));
    expect(most).toBe(3);
  });

  it("gives a result without waiting for the next value", async () => {
    const values = (async function* () {
      yield 1;
      await new Promise(() => undefined);
    })();
    const results = inOrder(values, 8, (value) => value + 1);
    expect(await results.next()).toEqual({ done: false, value: 2 });
    expect(await results.return(undefined)).toEqual({ done: true, value: undefined });
  });

  it("rejects when the turn comes to work that failed", async () => {
    const results = inOrder(from(1, 2), 8, (value) => {
      if (value === 2) throw new Error("two");
      return value;
    });
    expect(await results.next()).toEqual({ done: false, value: 1 });
    await expect(results.next()).rejects.toThrow("two");
  });
});
