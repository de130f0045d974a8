import { describe, expect, it } from "vitest";
import { pack, packSequences } from "../../src/batch.ts";
import { AdamW } from "../../src/optimizer.ts";
import { blas, openOps } from "../../src/ops/native.ts";
import type { Policy, SamplingOptions } from "../../src/policy.ts";
import { TransformerPolicy, type TransformerConfig } from "../../src/policies/transformer.ts";
import type { Completion, SampleRequest } from "../../src/trajectory/index.ts";
import { fixedTokens, grpo, rollout, supervise } from "../../src/trajectory/index.ts";
import { measureLogprobs } from "../../src/reference.ts";
import { update } from "../../src/update.ts";
import { bits } from "../support/close.ts";
import { byTarget, smallTransformer, targetNames, valuesOf } from "../support/policies.ts";
import { pick, random } from "../support/random.ts";

const portable = (config: Partial<TransformerConfig> = {}) =>
  smallTransformer(openOps("cpu", { blas: false }), { positionTable: true, ...config });
const requests = (prefixes: readonly (readonly number[])[], maxTokens: number): SampleRequest[] =>
  prefixes.map((prefix) => ({ prefix, maxTokens }));
const sample = (policy: Policy, asked: readonly SampleRequest[], options: Partial<SamplingOptions> = {}) =>
  policy.sampler({ seed: 7, ...options }).sample(asked);
const tokensOf = (completions: readonly Completion[]) => completions.map(({ tokens }) => [...tokens]);

const asked = requests([[1, 2, 3], [1, 2, 3], [1, 2], [9], [9, 4, 4, 4, 4, 4, 4, 4], [1, 2, 3]], 9);

/** Log-probs of completions as training sees them. */
function trained(policy: Policy, completions: readonly Completion[], prefixes = asked): Float32Array {
  const batch = packSequences(
    completions.map(({ tokens }, r) => [...prefixes[r].prefix, ...tokens]),
    { from: prefixes.map(({ prefix }) => prefix.length) },
  );
  return measureLogprobs(policy, batch) as Float32Array;
}

const sampled = (completions: readonly Completion[]) =>
  Float32Array.from(completions.flatMap(({ logprobs }) => [...logprobs]));

describe("what sampling and training compute", () => {
  it.each<Partial<SamplingOptions> & Pick<TransformerConfig, "windows">>([
    { temperature: 1 },
    { temperature: 0 },
    { topK: 3 },
    { windows: [4, null] },
    { windows: [2, 7] },
  ])("agrees to the bit: %o", async ({ windows, ...options }) => {
    const policy = portable(windows && { windows });
    const completions = await sample(policy, asked, options);
    expect(bits(sampled(completions))).toBe(bits(trained(policy, completions)));
    // From the middle of what is cached, and past it.
    const further = completions.slice(0, 4).map(({ tokens }, r) => [...asked[r].prefix, ...tokens.slice(0, 5)]);
    const branches = await sample(policy, requests(further, 7), options);
    expect(bits(sampled(branches))).toBe(bits(trained(policy, branches, requests(further, 7))));
  });

  it("agrees to the bit for a packed tree, before and after a step of the optimizer", async () => {
    const policy = portable();
    const config = { groupSize: 6, maxTokens: 6, segment: fixedTokens(2) };
    const sampler = policy.sampler({ seed: 3 });
    for (let round = 0; round < 3; round++) {
      const logprobs = new Map<string, number>();
      const recording = {
        async sample(rows: readonly SampleRequest[]) {
          const completions = await sampler.sample(rows);
          completions.forEach(({ tokens, logprobs: own }, r) => {
            const sequence = packSequences([[...rows[r].prefix, ...tokens]], { from: [rows[r].prefix.length] });
            targetNames(sequence).forEach((name, n) => logprobs.set(name, own[n]));
          });
          return completions;
        },
      };
      const { trees } = await rollout([{ id: "a", prompt: [1, 2, 3] }], recording, config);
      const batch = pack(trees);
      expect(byTarget(batch, measureLogprobs(policy, batch))).toEqual(logprobs);
      trees[0].leaves.forEach((leaf, l) => (leaf.outcome = l % 2));
      const credit = supervise(trees[0], { rule: "outcome", advantage: (outcomes) => grpo({ outcomes }) });
      const settings = { epochs: 1, rowsPerBatch: 8, epsLow: 0.2, epsHigh: 0.2 };
      const before = valuesOf(policy);
      update(policy, new AdamW({ lr: 0.05 }), trees, [credit], settings, random(1));
      expect(valuesOf(policy)).not.toEqual(before);
    }
  });

  it("lets every ratio of the first update be exactly 1, however trees are batched", async () => {
    const policy = portable();
    const problems = Array.from({ length: 6 }, (_, p) => ({ id: `${p}`, prompt: [p, 1] }));
    const config = { groupSize: 5, maxTokens: 4, segment: fixedTokens(1) };
    const { trees } = await rollout(problems, policy.sampler({ seed: 5 }), config);
    trees.forEach((tree) => tree.leaves.forEach((leaf, l) => (leaf.outcome = l % 2)));
    const credits = trees.map((tree) =>
      supervise(tree, { rule: "contrast", advantage: (outcomes) => grpo({ outcomes }) }),
    );
    const settings = { epochs: 2, rowsPerBatch: 10, epsLow: 0.2, epsHigh: 0.2 };
    const metrics = update(policy, new AdamW({ lr: 0.01 }), trees, credits, settings, random(2));
    expect(metrics.steps).toBeGreaterThan(2);
    expect(metrics.firstRatioError).toBe(0);
    expect(metrics.approxKl).toBeGreaterThan(0);
  });

  const { enabled } = blas();
  it.skipIf(!enabled)("agrees to 1e-5 where products go to BLAS (skipped without one)", async () => {
    const config = { vocabulary: 300, hidden: 256, layers: 2, heads: 4, kvHeads: 4, headSize: 64 };
    const start = { random: random(1) };
    const policy = TransformerPolicy.create({ ...config, intermediate: 320, maxPositions: 24 }, start, {
      ops: openOps("cpu"),
    });
    const completions = await sample(policy, asked);
    const [own, training] = [sampled(completions), trained(policy, completions)];
    const errors = own.map((logprob, n) => Math.abs(logprob - training[n]));
    expect(Math.min(...own)).toBeLessThan(-Math.log(300) - 1); // far from uniform
    expect(Math.max(...errors)).toBeLessThan(1e-5);
  });
});

describe("shared prefixes", () => {
  /** Prefixes that were read to sample completions: all but the whole of a prompt and its completion. */
  const read = (seen: Set<string>, rows: readonly SampleRequest[], completions: readonly Completion[]): number => {
    completions.forEach(({ tokens }, r) => {
      const whole = [...rows[r].prefix, ...tokens];
      for (let end = 1; end < whole.length; end++) seen.add(whole.slice(0, end).join(" "));
    });
    return seen.size;
  };

  it("go through the layers once, whoever continues them", async () => {
    const policy = portable();
    const seen = new Set<string>();
    const group = requests(
      Array.from({ length: 5 }, () => [1, 2, 3, 4, 5]),
      8,
    );
    const completions = await sample(policy, group);
    expect(policy.computedTokens).toBe(read(seen, group, completions));
    expect(policy.computedTokens).toBeLessThan(5 + 5 * 7);

    const before = policy.computedTokens;
    const kept = [...group[0].prefix, ...completions[0].tokens.slice(0, 6)];
    const branch = requests([kept], 1);
    const [{ tokens }] = await sample(policy, branch, { seed: 8 });
    expect(tokens).toHaveLength(1);
    expect(policy.computedTokens).toBe(before);

    const longer = requests([kept, kept], 5);
    const branches = await sample(policy, longer, { seed: 9 });
    expect(policy.computedTokens).toBe(read(seen, longer, branches));
    expect(policy.computedTokens - before).toBeLessThanOrEqual(2 * 4);
  });

  it("are computed anew after the parameters have changed", async () => {
    const policy = portable();
    await sample(policy, requests([[1, 2, 3]], 1));
    policy.step({ step: () => 0 });
    await sample(policy, requests([[1, 2, 3]], 1));
    expect(policy.computedTokens).toBe(6);
  });

  it("are kept when the cache outgrows its first size", async () => {
    const policy = portable();
    const draws = random(4);
    const prefixes = (count: number) =>
      Array.from({ length: count }, () => Array.from({ length: 12 }, () => pick(draws, 11)));
    const early = prefixes(40);
    await sample(policy, requests(early, 1));
    const before = policy.computedTokens;
    await sample(policy, requests(prefixes(150), 1));
    expect(before).toBeLessThan(1024);
    expect(policy.computedTokens).toBeGreaterThan(1024);
    const again = await sample(policy, requests(early, 4));
    expect(bits(sampled(again))).toBe(bits(trained(policy, again, requests(early, 4))));
  });
});

describe("sampling", () => {
  const group = requests(
    Array.from({ length: 4 }, () => [1, 2, 3]),
    10,
  );

  it("gives the same tokens for the same seed, and others for another stream or seed", async () => {
    const first = tokensOf(await sample(portable(), group));
    expect(tokensOf(await sample(portable(), group))).toEqual(first);
    expect(new Set(first.map(String)).size).toBe(4);
    expect(tokensOf(await sample(portable(), group, { seed: 8 }))).not.toEqual(first);
  });

  it("does not depend on what is asked together: streams are numbered over the life of a sampler", async () => {
    const sampler = portable().sampler({ seed: 7 });
    const one = await sampler.sample(group.slice(0, 1));
    const rest = await sampler.sample(group.slice(1));
    expect([...one, ...rest]).toEqual(await sample(portable(), group));
  });

  it("takes the most probable token at temperature 0, whatever the seed", async () => {
    const policy = portable();
    const greedy = tokensOf(await sample(policy, group, { temperature: 0 }));
    expect(new Set(greedy.map(String)).size).toBe(1);
    expect(tokensOf(await sample(policy, group, { temperature: 0, seed: 99 }))).toEqual(greedy);
    const { logits } = policy.forward(packSequences([[1, 2, 3]]));
    const last = [...logits.subarray(2 * policy.vocabulary)];
    expect(greedy[0][0]).toBe(last.indexOf(Math.max(...last)));
  });

  it("ends where the request says that it is finished", async () => {
    const policy = portable();
    const [whole] = await sample(policy, [{ prefix: [1, 2, 3], maxTokens: 9 }]);
    const finished = (tokens: readonly number[]): boolean => tokens.length === 4;
    const [cut] = await sample(policy, [{ prefix: [1, 2, 3], maxTokens: 9, finished }]);
    expect(cut.tokens).toEqual(whole.tokens.slice(0, 4));
  });

  it("ends after a stop token, which is kept", async () => {
    const free = tokensOf(await sample(portable(), group));
    const stop = [free[0][3]];
    const stopped = tokensOf(
      await sample(
        portable(),
        group.map((request) => ({ ...request, stop })),
      ),
    );
    expect(stopped).toEqual(free.map((tokens) => tokens.slice(0, tokens.indexOf(stop[0]) + 1 || tokens.length)));
  });
});
