import { describe, expect, it } from "vitest";
import { deriveSeed, Random } from "../src/random.ts";

const take = (seed: number, count: number): number[] => {
  const { next } = new Random(seed);
  return Array.from({ length: count }, next);
};

describe("seeded random numbers", () => {
  it("lie in [0, 1) with the mean, the spread and the independence of uniform ones", () => {
    const numbers = take(5, 20_000);
    const mean = (values: readonly number[]) => values.reduce((sum, x) => sum + x, 0) / values.length;
    expect(Math.min(...numbers)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...numbers)).toBeLessThan(1);
    // Four standard errors: 0.289 / √20,000 = 0.002, of the variance 0.0005, of a product 0.0006.
    expect(Math.abs(mean(numbers) - 1 / 2)).toBeLessThan(0.008);
    expect(Math.abs(mean(numbers.map((x) => (x - 1 / 2) ** 2)) - 1 / 12)).toBeLessThan(0.002);
    const neighbours = numbers.slice(1).map((x, i) => (x - 1 / 2) * (numbers[i] - 1 / 2));
    expect(Math.abs(mean(neighbours))).toBeLessThan(0.0024);
  });

  it("are the same for the same seed and others for another, 0 included", () => {
    expect(take(3, 10)).toEqual(take(3, 10));
    expect(new Set([0, 1, 2, 2 ** 32 - 1].map((seed) => take(seed, 4).join())).size).toBe(4);
    expect(new Set(take(0, 1000)).size).toBe(1000);
  });

  it("can be handed on without their generator", () => {
    const source = new Random(3);
    const { next } = source;
    expect([next(), source.next(), next()]).toEqual(take(3, 3));
  });

  it("give every integer below an end, and none else", () => {
    const source = new Random(1);
    const counts = new Map<number, number>();
    for (let i = 0; i < 7000; i++) {
      const drawn = source.below(7);
      counts.set(drawn, (counts.get(drawn) ?? 0) + 1);
    }
    expect([...counts.keys()].toSorted()).toEqual([0, 1, 2, 3, 4, 5, 6]);
    for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(120);
  });
});

describe("a derived seed", () => {
  it("is a 32-bit integer, one for each seed and purpose", () => {
    const purposes = ["problems", "shuffle", "sample", "policy", "warm start", "held-out problems", ""];
    const seeds = Array.from({ length: 200 }, (_, seed) => seed);
    const derived = purposes.flatMap((purpose) => seeds.map((seed) => deriveSeed(seed, purpose)));
    for (const seed of derived) expect(seed).toBe(seed >>> 0);
    expect(new Set(derived).size).toBe(derived.length);
    expect(deriveSeed(3, "problems")).toBe(deriveSeed(3, "problems"));
  });

  it("starts an unrelated stream", () => {
    const [a, b] = ["problems", "shuffle"].map((purpose) => take(deriveSeed(1, purpose), 2000));
    const correlation = a.reduce((sum, x, i) => sum + (x - 1 / 2) * (b[i] - 1 / 2), 0) / a.length / (1 / 12);
    expect(Math.abs(correlation)).toBeLessThan(0.09);
  });
});
