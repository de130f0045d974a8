import type {
  Ops,
  PolicyLossResult,
  PolicyUpdateArguments,
  PolicyUpdateResult,
  ReinforceArguments,
  ValueLossArguments,
} from "../../../src/ops/ops.ts";
import { randomArrays } from "../arrays.ts";
import type { LossArguments } from "./loss.ts";
import { lossArguments, lossScale } from "./loss.ts";
import type { OpCase } from "./op-case.ts";
import { metricOutcome } from "./op-case.ts";

/** Targets in sequences; an op with one ratio per target does not look at the offsets. */
export type FamilyArguments = LossArguments & { readonly sequenceOffsets: Int32Array };

type FormArguments = ReinforceArguments & { readonly sequenceOffsets: Int32Array };

/** One form of the policy loss with settings of its own. */
export interface LossForm {
  readonly op: keyof Ops["policyLoss"];
  readonly name: string;
  readonly perSequence: boolean;
  run(ops: Ops, args: FormArguments): PolicyLossResult;
  /** the same form fused with the logits */
  update(ops: Ops, args: PolicyUpdateArguments<FormArguments>): PolicyUpdateResult;
}

const clipped = { epsLow: 0.2, epsHigh: 0.28 };
const tight = { epsLow: 0.03, epsHigh: 0.04 };
const moves = { epsLow: 0.02, epsHigh: 0.04 };
const divergence = { epsLow: 0.004, epsHigh: 0.01 };
const unbounded = { epsLow: Infinity, epsHigh: Infinity };
const vespo = { kPositive: 2, lambdaPositive: 3, kNegative: 3, lambdaNegative: 2 };

/** The clipped forms, whose cases are in `loss.ts`. */
export const clipForms: readonly LossForm[] = [
  form("clip", "plain", false, clipped),
  form("sequenceClip", "plain", true, tight),
];

export const lossForms: readonly LossForm[] = [
  form("gspoToken", "plain", true, tight),
  form("gspoToken", "a bounded mean and a dual clip", true, {
    ...tight,
    dualClip: 1.015625,
    sequenceLogRatioMax: 0.03125,
  }),
  form("cispo", "an upper bound", false, { ratioMax: 1.25 }),
  form("cispo", "both bounds", false, { ratioMin: 0.75, ratioMax: 1.5 }),
  form("cispo", "no bound", false, { ratioMax: Infinity }),
  form("sapo", "soft", false, { tauPositive: 1, tauNegative: 1.05 }),
  form("sapo", "sharp", false, { tauPositive: 12, tauNegative: 3 }),
  form("reinforce", "plain", false, {}),
  form("dppoTv", "plain", false, moves),
  form("dppoTv", "capped", false, { ...moves, ratioCap: 1.125 }),
  form("dppoKl", "plain", false, divergence),
  form("dppoKl", "capped", false, { ...divergence, ratioCap: 1.125 }),
  form("gmpo", "plain", true, { epsLow: 0.2, epsHigh: 0.3 }),
  form("gmpo", "unbounded", true, unbounded),
  form("vespo", "plain", true, vespo),
  form("vespo", "bounded", true, { ...vespo, tokenLogRatioMax: 0.25, logWeightMin: -0.5, logWeightMax: 0.25 }),
];

function form<Op extends LossForm["op"]>(
  op: Op,
  name: string,
  perSequence: boolean,
  settings: Omit<Parameters<Ops["policyLoss"][Op]>[0], keyof FormArguments>,
): LossForm {
  type Loss = (args: FormArguments) => PolicyLossResult;
  type Update = (args: PolicyUpdateArguments<FormArguments>) => PolicyUpdateResult;
  return {
    op,
    name,
    perSequence,
    run: (ops, args) => (ops.policyLoss[op] as Loss)({ ...args, ...settings }),
    update: (ops, args) => (ops.policyUpdate[op] as unknown as Update)({ ...args, ...settings }),
  };
}

/** Settings that every form has. */
export const sharedVariants: readonly (readonly [string, Partial<ReinforceArguments>])[] = [
  ["plain", {}],
  ["a clamped log ratio", { logRatioClamp: 0.25 }],
  ["KL k3", { kl: { estimator: "k3", coefficient: 0.1 } }],
  ["KL k2 times the ratio", { logRatioClamp: 0.5, kl: { estimator: "k2", coefficient: 0.1, timesRatio: true } }],
];

/** `lossArguments` with log-probs of the old policy that are log-probs, and sequences of which one is empty. */
export function familyArguments(N: number, options: Partial<ReinforceArguments> = {}): FamilyArguments {
  const args = lossArguments(N);
  const oldLogprobs = args.oldLogprobs.map((x) => Math.min(x, -0.0078125));
  const cuts = [0, 0.2, 0.2, 0.6, 0.61, 1].map((share) => Math.round(share * N));
  return { ...args, oldLogprobs, sequenceOffsets: Int32Array.from(cuts), ...options } as FamilyArguments;
}

export function lossFamilyCases(): OpCase[] {
  return [...lossForms.flatMap(formCases), ...valueCases()];
}

function formCases(lossForm: LossForm): OpCase[] {
  const plain = familyArguments(37);
  return [
    ...[0, 1, 2, 33, 4097].map((N) => formCase(lossForm, `N = ${N}`, familyArguments(N))),
    ...sharedVariants.map(([name, options]) => formCase(lossForm, name, familyArguments(200, options))),
    formCase(lossForm, "one advantage per target", { ...plain, advantages: randomArrays(5).normals(37) }),
    formCase(lossForm, "every target absent", { ...plain, weights: new Float32Array(37) }),
    formCase(lossForm, "zero advantages", { ...plain, advantages: new Float32Array(74) }),
    formCase(lossForm, "log ratios of 1e4", distant(), 1e4),
  ];
}

/** Log ratios of ±1e4 under both signs, each in a sequence of its own. */
export function distant(): FamilyArguments {
  const x = [1e4, -1e4, 1e4, -1e4];
  return {
    ...familyArguments(4),
    logprobs: Float32Array.from(x, (value) => Math.min(value, 0) - 0.25),
    oldLogprobs: Float32Array.from(x, (value) => Math.min(-value, 0) - 0.25),
    advantages: Float32Array.of(1, 0, 1, 0, 0, -1, 0, -1),
    weights: new Float32Array(4).fill(0.5),
    multipliers: new Float32Array(4).fill(1.5),
    sequenceOffsets: Int32Array.of(0, 1, 2, 3, 4),
  };
}

const largestLogprob = 4;

function formCase(lossForm: LossForm, name: string, args: FamilyArguments, largest = largestLogprob): OpCase {
  const N = args.logprobs.length;
  return {
    op: `policyLoss.${lossForm.op}`,
    name: `${lossForm.name}, ${name}`,
    scale: lossScale(args, largest),
    run: (ops, make) => {
      const ratios = make.filled(N);
      const { dlogprobs, metrics } = lossForm.run(ops, { ...args, ratios, dlogprobs: make.filled(N) });
      return { dlogprobs, ratios, ...metricOutcome(metrics) };
    },
  };
}

const junk = [NaN, Infinity, -Infinity];

/** Values, old values and returns around 0; every fifth target is absent and holds junk. */
export function valueArguments(N: number, offset = 0) {
  const draw = randomArrays(N + 11);
  const values = draw.normals(N);
  const args = {
    values,
    oldValues: values.map((value) => value + 0.3 * draw.normal()),
    returns: draw.normals(N),
    weights: Float32Array.from({ length: N }, () => (0.5 + draw.uniform()) / Math.max(N, 1)),
  };
  for (let n = 2; n < N; n += 5) {
    args.weights[n] = 0;
    [args.values, args.oldValues, args.returns].forEach((array, i) => (array[n] = junk[(n + i + offset) % 3]));
  }
  return args;
}

function valueCases(): OpCase[] {
  const run = (name: string, args: ValueLossArguments, largest = 16): OpCase => ({
    op: "valueLoss",
    name,
    scale: { loss: largest, dvalues: 1 / Math.max(1, args.values.length) },
    run: (ops, make) => {
      const { dvalues, metrics } = ops.valueLoss({ ...args, dvalues: make.filled(args.values.length) });
      const numbers = Object.entries(metrics).map(([key, value]: [string, number]) => [key, Float64Array.of(value)]);
      return { dvalues, ...(Object.fromEntries(numbers) as Record<string, Float64Array>) };
    },
  });
  return [0, 1, 33, 4097].flatMap((N) => [
    run(`N = ${N}`, valueArguments(N)),
    run(`N = ${N}, clipped`, { ...valueArguments(N), clip: 0.2 }),
    run(`N = ${N}, a clip of 0`, { ...valueArguments(N), clip: 0 }),
  ]);
}
