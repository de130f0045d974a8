import { describe, expect, it } from "vitest";
import { boundedVerifier } from "../../src/verifiers/bounded.ts";

describe("a bounded verifier", () => {
  it("is asked for so many verdicts at a time, in the order in which they were wanted", async () => {
    const order: string[] = [];
    let going = 0;
    let most = 0;
    const slow = {
      verify: async (solution: string) => {
        order.push(solution);
        most = Math.max(most, ++going);
        await new Promise((resolve) => setImmediate(resolve));
        going--;
        return Number(solution);
      },
    };
    const bounded = boundedVerifier(slow, { concurrency: 2 });
    const asked = ["1", "2", "3", "4", "5"];
    expect(await Promise.all(asked.map(async (solution) => bounded.verify(solution, "", true)))).toEqual([
      1, 2, 3, 4, 5,
    ]);
    expect(order).toEqual(asked);
    expect(most).toBe(2);
  });

  it("gives up on a verdict that takes too long, and counts from its start", async () => {
    const bounded = boundedVerifier(
      { verify: (solution) => (solution === "late" ? new Promise<number>(() => undefined) : 1) },
      { seconds: 0.05, concurrency: 1 },
    );
    const late = ["late", "late", "late"].map(async (solution) => bounded.verify(solution, "", true));
    const last = bounded.verify("soon", "", true);
    for (const verdict of late) await expect(verdict).rejects.toThrow("expected a verdict within 0.05 s");
    expect(await last).toBe(1);
  });

  it("passes on what its verifier throws, and goes on", async () => {
    const bounded = boundedVerifier(
      {
        verify: (solution) => {
          if (solution === "") throw new RangeError("nothing to judge");
          return 1;
        },
      },
      { concurrency: 1 },
    );
    await expect(bounded.verify("", "", true)).rejects.toThrow("nothing to judge");
    expect(await bounded.verify("x", "", true)).toBe(1);
  });

  it("refuses bounds that are none", () => {
    const verifier = { verify: () => 1 };
    expect(() => boundedVerifier(verifier, { seconds: 0 })).toThrow("expected seconds to be a number above 0");
    expect(() => boundedVerifier(verifier, { concurrency: 1.5 })).toThrow("expected concurrency to be an integer ≥ 0");
  });
});
