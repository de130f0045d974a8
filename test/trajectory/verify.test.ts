import { describe, expect, it } from "vitest";
import { failed, succeeded, verify } from "../../src/trajectory/index.ts";
import { draw } from "../support/draw.ts";

describe("verify", () => {
  it("judges the leaves that have no outcome yet, and no other", async () => {
    const tree = draw(
      `
      1 2
        3 → 0
          4 → …
        5 → ?
        6 → …
      `,
      { answer: 4 },
    );
    const seen: (readonly number[])[] = [];
    const report = await verify([tree], (problem, completion) => {
      seen.push(completion);
      return completion.at(-1) === problem.answer ? 1 : 0;
    });
    expect(seen).toEqual([[3, 4], [6]]);
    expect(tree.leaves.map((leaf) => leaf.outcome)).toEqual([0, 1, Number.NaN, 0]);
    expect(report).toEqual({ verified: 2, unverified: 0 });
  });

  it("a verifier that throws or gives no number leaves the solution unverified, with the reason", async () => {
    const tree = draw(`
      1
        2 → …
        3 → …
        4 → …
        5 → …
    `);
    const report = await verify([tree], (_, [token]) => {
      if (token === 2) throw new Error("the sandbox is gone");
      if (token === 3) return Promise.reject(new Error("timed out"));
      return token === 4 ? Number.NaN : -0.25;
    });
    expect(tree.leaves.map(({ outcome, reason }) => [outcome, reason])).toEqual([
      [Number.NaN, "the sandbox is gone"],
      [Number.NaN, "timed out"],
      [Number.NaN, "verifier: expected a finite number, received NaN"],
      [-0.25, undefined],
    ]);
    expect(report).toEqual({ verified: 1, unverified: 3 });
  });
});

describe("success", () => {
  it("is an outcome above the threshold; an unverified leaf neither succeeded nor failed", () => {
    expect([1, 0.5, 0, Number.NaN, undefined].map((outcome) => succeeded({ outcome }))).toEqual([
      true,
      false,
      false,
      false,
      false,
    ]);
    expect([1, 0.5, 0, Number.NaN, undefined].map((outcome) => failed({ outcome }))).toEqual([
      false,
      true,
      true,
      false,
      false,
    ]);
    expect(succeeded({ outcome: 0.5 }, 0.4)).toBe(true);
    expect(failed({ outcome: 0.5 }, 0.4)).toBe(false);
  });
});
