import { describe, expect, it } from "vitest";
import { pack, packSequences } from "../../src/batch.ts";
import { openOps } from "../../src/ops/native.ts";
import { AdamW } from "../../src/optimizer.ts";
import type { Policy } from "../../src/policy.ts";
import { TransformerPolicy } from "../../src/policies/transformer.ts";
import { grpo, supervise, type SampleRequest } from "../../src/trajectory/index.ts";
import { measureLogprobs } from "../../src/reference.ts";
import { update } from "../../src/update.ts";
import { bits } from "../support/close.ts";
import { draw } from "../support/draw.ts";
import { smallTransformer, valuesOf } from "../support/policies.ts";
import { random } from "../support/random.ts";

const tree = draw("1 2 3\n  4 5 → 1\n    6 → 0\n  4 6 → 0");
const portable = () => smallTransformer(openOps("cpu", { blas: false }));
const asked: readonly SampleRequest[] = [1, 2, 3].map((token) => ({ prefix: [token, 2], maxTokens: 6 }));
const sample = (policy: Policy) => policy.sampler({ seed: 7 }).sample(asked);

describe("a transformer refuses", () => {
  it.each([
    [{ heads: 4, kvHeads: 3 }, /multiple of kvHeads, received 4 and 3/],
    [{ headSize: 3 }, /headSize to be even, received 3/],
    [{ layers: 0 }, /layers to be an integer ≥ 1, received 0/],
    [{ hidden: 12.5 }, /hidden to be an integer ≥ 1, received 12.5/],
  ])("a configuration of %o", (config, message) => {
    expect(() => smallTransformer(openOps("cpu"), config)).toThrow(message);
  });

  it("a batch deeper than its positions or with tokens beyond its vocabulary, and works afterwards", () => {
    const policy = smallTransformer(openOps("cpu"));
    const batch = pack([tree]);
    const expected = measureLogprobs(policy, batch);
    const deep = packSequences([Array.from({ length: 25 }, () => 1)]);
    expect(() => policy.forward(deep)).toThrow(/maxPositions = 24 tokens in a row, received position 24/);
    expect(() => policy.forward(packSequences([[1, 11]]))).toThrow(/ids \[T\].*0 … 10/);
    expect(bits(measureLogprobs(policy, batch))).toBe(bits(expected));
  });

  it("a start for its table of positions of another size", () => {
    const start = { random: random(1), positions: new Float32Array(5) };
    const config = { vocabulary: 3, hidden: 4, layers: 1, heads: 1, intermediate: 4, maxPositions: 2 };
    expect(() => TransformerPolicy.create({ ...config, positionTable: true }, start)).toThrow(
      /positions \[maxPositions, H\] of length 8, received 5/,
    );
  });

  it.each([
    [{ prefix: [1, 2], maxTokens: 23 }, /request 1 to fit 24 positions, received 2 and 23/],
    [{ prefix: [], maxTokens: 2 }, /prefix of request 1 to hold a token, received none/],
    [{ prefix: [1, 11], maxTokens: 2 }, /prefix of request 1 in 0 … 10, received 11/],
    [{ prefix: [-1], maxTokens: 2 }, /prefix of request 1 in 0 … 10, received -1/],
    [{ prefix: [0.5], maxTokens: 2 }, /prefix of request 1 in 0 … 10, received 0.5/],
    [{ prefix: [1], maxTokens: 0 }, /maxTokens of request 1 to be an integer ≥ 1, received 0/],
  ])("a request of %o, and works afterwards", async (wrong, message) => {
    const sampler = portable().sampler({ seed: 7 });
    await expect(sampler.sample([asked[0], wrong])).rejects.toThrow(message);
    expect(await sampler.sample(asked)).toEqual(await sample(portable()));
  });
});

describe("a weight that is not a number", () => {
  const spoilt = (): { policy: TransformerPolicy; mend: () => void } => {
    const policy = portable();
    const { data } = policy.parameters()[3];
    const value = data[0];
    data[0] = NaN;
    policy.changed();
    return {
      policy,
      mend: () => {
        data[0] = value;
        policy.changed();
      },
    };
  };

  it("stops sampling with an error that names it, and once it is mended all is well", async () => {
    const { policy, mend } = spoilt();
    await expect(sample(policy)).rejects.toThrow(/logits \[R, V\].*NaN/);
    mend();
    expect(await sample(policy)).toEqual(await sample(portable()));
  });

  it("stops an update without a step, and once it is mended all is well", () => {
    const credits = [supervise(tree, { rule: "outcome", advantage: (outcomes) => grpo({ outcomes }) })];
    const settings = { epochs: 1, rowsPerBatch: 8, epsLow: 0.2, epsHigh: 0.2 };
    const step = (policy: Policy) => update(policy, new AdamW({ lr: 0.01 }), [tree], credits, settings, random(1));

    const { policy, mend } = spoilt();
    expect(() => step(policy)).toThrow(/finite gradient, received one of norm NaN/);
    mend();
    const sound = portable();
    expect(valuesOf(policy)).toEqual(valuesOf(sound));
    expect(step(policy)).toEqual(step(sound));
    expect(valuesOf(policy)).toEqual(valuesOf(sound));
  });
});
