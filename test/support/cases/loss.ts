import type { KlEstimator, PolicyLossArguments } from "../../../src/ops/ops.ts";
import { randomArrays } from "../arrays.ts";
import type { OpCase } from "./op-case.ts";
import { metricOutcome } from "./op-case.ts";

export const klEstimators: readonly KlEstimator[] = ["k1", "k2", "k3", "abs", "k1+", "k3+"];

export type LossArguments = PolicyLossArguments &
  Record<"logprobs" | "oldLogprobs" | "refLogprobs" | "multipliers", Float32Array>;
type LossOptions = Partial<
  Omit<PolicyLossArguments, "logprobs" | "oldLogprobs" | "refLogprobs" | "multipliers" | "dlogprobs" | "ratios">
>;

/** A batch of targets with both signs of advantage; every fifth is absent and holds nothing but junk. */
export function lossArguments(N: number, options: LossOptions = {}, seed = N): LossArguments {
  const draw = randomArrays(seed);
  const logprobs = draw.normals(N).map((x) => -Math.abs(x));
  const near = (spread: number) => logprobs.map((logprob) => logprob + spread * draw.normal());
  const advantages = Float32Array.from({ length: 2 * N }, (_, i) => {
    const n = i >> 1;
    const present = n % 4 === 3 || n % 2 === i % 2; // one column, or both
    return n % 7 === 6 || !present ? 0 : (i % 2 === 0 ? 1 : -1) * (0.1 + draw.uniform());
  });
  const args = {
    logprobs,
    oldLogprobs: near(0.3),
    refLogprobs: near(0.5),
    advantages,
    weights: Float32Array.from({ length: N }, () => (0.5 + draw.uniform()) / Math.max(N, 1)),
    multipliers: Float32Array.from({ length: N }, (_, n) => (n % 6 === 5 ? 0 : 0.5 + draw.uniform())),
    epsLow: 0.2,
    epsHigh: 0.28,
  };
  for (let n = 2; n < N; n += 5) vacate(args, n);
  return { ...args, ...options };
}

const junk = [NaN, Infinity, -Infinity];

/** Makes target n absent: weight 0 and junk everywhere else. */
export function vacate(args: LossArguments, n: number, offset = 0): void {
  const { logprobs, oldLogprobs, refLogprobs, multipliers, advantages, weights } = args;
  weights[n] = 0;
  [logprobs, oldLogprobs, refLogprobs, multipliers].forEach((array, i) => (array[n] = junk[(n + i + offset) % 3]));
  if (advantages.length === 2 * logprobs.length) advantages.set([junk[n % 3], junk[(n + offset + 1) % 3]], 2 * n);
  else advantages[n] = junk[(n + offset) % 3];
}

/** Settings of the clipped surrogate that change its branches; `multipliers` and `refLogprobs` are dropped where unused. */
export const clipVariants: readonly (readonly [string, LossOptions])[] = [
  ["plain", {}],
  ["bounds of 0.25", { epsLow: 0.25, epsHigh: 0.25 }],
  ["tight bounds", { epsLow: 0.01, epsHigh: 0.02 }],
  ["dual clip", { dualClip: 1.25 }],
  ["delta", { delta: 1.5 }],
  ["delta inside the bounds", { delta: 1.125 }],
  ["delta and dual clip", { delta: 2, dualClip: 1.5 }],
  ["a clamped log ratio", { logRatioClamp: 0.25 }],
  ...klEstimators.map((estimator) => [`KL ${estimator}`, { kl: { estimator, coefficient: 0.1 } }] as const),
  ...klEstimators.map(
    (estimator) =>
      [`KL ${estimator} times the ratio`, { kl: { estimator, coefficient: 0.1, timesRatio: true } }] as const,
  ),
  [
    "everything at once",
    {
      delta: 1.75,
      dualClip: 1.5,
      logRatioClamp: 0.5,
      kl: { estimator: "k3", coefficient: 0.2, timesRatio: true, logRatioClamp: 0.75, valueClamp: 0.2 },
    },
  ],
];

export function lossCases(): OpCase[] {
  return [...klCases(), ...scatterCases(), ...clipCases(), ...sequenceCases()];
}

function klCases(): OpCase[] {
  return klEstimators.flatMap((estimator) =>
    [0, 1, 100].flatMap((N) => {
      const draw = randomArrays(N + 3);
      const logprobs = draw.normals(N, 2);
      const refLogprobs = draw.normals(N, 2);
      if (N > 1) refLogprobs[0] = logprobs[0];
      const clamps = { logRatioClamp: 1.5, valueClamp: 1 };
      return [
        ["", {}],
        [", upstream gradient", { dkl: draw.normals(N).map((d, n) => (n % 9 === 0 ? 0 : d)) }],
        [", clamped", clamps],
      ].map(([suffix, options]): OpCase => ({
        op: "kl",
        name: `${estimator}, N = ${N}${suffix as string}`,
        run: (ops, make) =>
          ops.kl({
            logprobs,
            refLogprobs,
            estimator,
            ...(options as typeof clamps),
            kl: make.filled(N),
            dlogprobs: make.filled(N),
          }),
      }));
    }),
  );
}

function scatterCases(): OpCase[] {
  return [
    [0, 3],
    [1, 1],
    [100, 7],
    [5000, 400],
    [150000, 90],
  ].flatMap(([N, S]): OpCase[] => {
    const draw = randomArrays(N + S);
    const stepOf = draw.integers(N, S + 1).map((s) => s - 1);
    const stepCredits = draw.normals(2 * S);
    const dadvantages = draw.normals(2 * N);
    // Some targets before the first step and after the last, and steps without a target.
    const stepOffsets = draw.integers(S + 1, N + 1).sort();
    return [
      {
        op: "scatterAdvantages",
        name: `by offsets, N = ${N}, S = ${S}`,
        run: (ops, make) => ({
          advantages: ops.scatterAdvantages({
            stepCredits,
            stepOffsets,
            targets: N,
            advantages: make.filled(2 * N),
          }),
        }),
      },
      {
        op: "scatterAdvantagesBackward",
        name: `by offsets, N = ${N}, S = ${S}`,
        run: (ops, make) => ({
          dstepCredits: ops.scatterAdvantagesBackward({ dadvantages, stepOffsets, dstepCredits: make.filled(2 * S) }),
        }),
      },
      {
        op: "scatterAdvantages",
        name: `N = ${N}, S = ${S}`,
        run: (ops, make) => ({
          advantages: ops.scatterAdvantages({ stepCredits, stepOf, advantages: make.filled(2 * N) }),
        }),
      },
      {
        op: "scatterAdvantagesBackward",
        name: `N = ${N}, S = ${S}`,
        run: (ops, make) => ({
          dstepCredits: ops.scatterAdvantagesBackward({
            dadvantages,
            stepOf,
            steps: S,
            dstepCredits: make.filled(2 * S),
          }),
        }),
      },
    ];
  });
}

function clipCases(): OpCase[] {
  const { multipliers: _m, ...plain } = lossArguments(37);
  const oneColumn = { advantages: randomArrays(5).normals(37) };
  return [
    ...[0, 1, 2, 8, 33, 4095, 4097, 9000].map((N) => clipCase(`N = ${N}`, lossArguments(N))),
    ...clipVariants.map(([name, options]) => clipCase(name, lossArguments(200, options))),
    clipCase("no multipliers", plain),
    clipCase("one advantage per target", { ...plain, ...oneColumn }),
    clipCase("every target absent", lossArguments(8, { weights: new Float32Array(8) })),
    clipCase("unclipped: the policy that sampled", { ...plain, oldLogprobs: plain.logprobs, epsLow: 0, epsHigh: 0 }),
    clipCase("a log ratio of 1e4 where the clip is selected", extreme([1, 0, 0, -1, 1, -1], [1e4, -1e4, 1e4])),
    clipCase("a log ratio of 1e4 under delta", extreme([0, -1, 0, -1, 1, 0], [1e4, -1e4, -1e4], { delta: 4 })),
    clipCase(
      "a log ratio of 1e4 under the dual clip",
      extreme([0, -1, 0, -1, 1, 0], [1e4, -1e4, -1e4], { dualClip: 3 }),
    ),
    clipCase("an unbounded ratio saturates", extreme([0, -1], [1e4])),
    clipCase("zero advantages at any ratio", extreme([0, 0, 0, 0], [1e4, -1e4])),
    clipCase("metrics of as many of the largest numbers as a block of targets has", largest(4096)),
    clipCase("metrics of the largest numbers, times the ratio", largest(1027, true)),
  ];
}

/** Targets of given log ratios (multiples of 1/4) and advantage pairs. */
function extreme(
  pairs: readonly number[],
  logRatios: readonly number[],
  options: LossOptions = {},
): PolicyLossArguments {
  const count = Math.min(pairs.length / 2, logRatios.length);
  return {
    logprobs: Float32Array.from({ length: count }, (_, n) => Math.min(logRatios[n], 0) - 0.25),
    oldLogprobs: Float32Array.from({ length: count }, (_, n) => Math.min(-logRatios[n], 0) - 0.25),
    advantages: Float32Array.from(pairs.slice(0, 2 * count)),
    weights: new Float32Array(count).fill(0.5),
    epsLow: 0.2,
    epsHigh: 0.28,
    ...options,
  };
}

/** Targets whose ratio and estimates of the KL are the largest float. */
function largest(N: number, timesRatio = false): PolicyLossArguments {
  const logRatios = new Array<number>(N).fill(1e4);
  const args = extreme(new Array<number>(2 * N).fill(0), logRatios, {
    kl: { estimator: "k3", coefficient: 0.5, timesRatio },
  });
  return { ...args, refLogprobs: args.logprobs.map((logprob) => logprob + 1e4) };
}

function clipCase(name: string, args: PolicyLossArguments): OpCase {
  const N = args.logprobs.length;
  return {
    op: "policyLoss.clip",
    name,
    scale: lossScale(args),
    run: (ops, make) => {
      const ratios = make.filled(N);
      const { dlogprobs, metrics } = ops.policyLoss.clip({ ...args, ratios, dlogprobs: make.filled(N) });
      return { dlogprobs, ratios, ...metricOutcome(metrics) };
    },
  };
}

/** Sums of both signs cancel: their error is that of their terms, and that of a log ratio is that of its log-probs. */
export function lossScale(
  { weights }: Pick<PolicyLossArguments, "weights">,
  largestLogprob = 1,
): Record<string, number> {
  const means = ["negLogRatio", "absLogRatio", "approxKl", "kl", "ratioMean", "ratioMax", "ratios"];
  const total = Array.from(weights).reduce((sum, weight) => sum + Math.abs(weight), 0);
  return { loss: total * largestLogprob, ...Object.fromEntries(means.map((metric) => [metric, largestLogprob])) };
}

function sequenceCases(): OpCase[] {
  const layouts: readonly (readonly [string, number, readonly number[]])[] = [
    ["no sequence", 0, [0]],
    ["one target", 1, [0, 1]],
    ["an empty sequence", 40, [0, 13, 13, 40]],
    ["a sequence whose targets are absent", 40, [0, 2, 3, 21, 40]],
    ["many sequences", 300, Array.from({ length: 31 }, (_, b) => 10 * b)],
  ];
  const run = (name: string, args: PolicyLossArguments, offsets: readonly number[]): OpCase => ({
    op: "policyLoss.sequenceClip",
    name,
    scale: lossScale(args),
    run: (ops, make) => {
      const N = args.logprobs.length;
      const ratios = make.filled(N);
      const dlogprobs = make.filled(N);
      const sequenceOffsets = Int32Array.from(offsets);
      const { metrics } = ops.policyLoss.sequenceClip({ ...args, sequenceOffsets, ratios, dlogprobs });
      return { dlogprobs, ratios, ...metricOutcome(metrics) };
    },
  });
  return [
    ...layouts.map(([name, N, offsets]) => run(name, lossArguments(N, { epsLow: 0.03, epsHigh: 0.04 }), offsets)),
    ...clipVariants.map(([name, options]) =>
      run(name, lossArguments(200, { epsLow: 0.03, epsHigh: 0.04, ...options }), [0, 50, 57, 120, 200]),
    ),
  ];
}
