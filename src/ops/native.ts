/** The native ops: checks arguments once, then calls the kernels of one instruction set. */

import { loadAddon, type NativeOp } from "./addon.ts";
import { Check } from "./check.ts";
import type {
  AttentionShape,
  ClipSettings,
  DppoArguments,
  Floats,
  KlEstimator,
  KlOptions,
  LinearLogprobsInputs,
  LogprobsInputs,
  LossSettings,
  LossTargets,
  Ops,
  PolicyLossInputs,
  PolicyLossMetrics,
  PolicyLossResult,
  ReinforceArguments,
  RopeArguments,
  TreeAttentionArguments,
} from "./ops.ts";

/** The instruction sets that this build holds and this processor runs, the best first. */
export function cpuIsas(): readonly string[] {
  return Object.keys(loadAddon().backends);
}

/** Threads that take part in an op; `STEPCREDIT_NUM_THREADS` at start, else the usable cores. */
export function numThreads(): number {
  return loadAddon().numThreads();
}

/** Sets the number of threads, 1 … 256. Results do not depend on it. */
export function setNumThreads(threads: number): void {
  loadAddon().setNumThreads(new Check("setNumThreads").integer("threads", threads, 1, 256));
}

/** Which BLAS was compiled in, and whether it is used. */
export function blas(): { readonly name: string | null; readonly enabled: boolean } {
  const addon = loadAddon();
  return { name: addon.blasName(), enabled: addon.blasEnabled() };
}

export interface CpuOptions {
  /** instruction set; default `STEPCREDIT_ISA`, else the best */
  readonly isa?: string;
  /** false: the portable matrix product even where BLAS is at hand. Default true, unless `STEPCREDIT_BLAS=off`. */
  readonly blas?: boolean;
}

const klKinds = { k1: 1, k2: 2, k3: 3, abs: 4, "k1+": 5, "k3+": 6 } satisfies Record<KlEstimator, number>;

const lossMetricCount = 12;

function lossMetrics(sums: Float64Array): PolicyLossMetrics {
  const count = sums[1];
  const mean = (index: number): number => (count > 0 ? sums[index] / count : 0);
  return {
    loss: sums[0],
    count,
    clipFraction: mean(2),
    clipFractionLow: mean(3),
    clipFractionHigh: mean(4),
    clipFractionDual: mean(5),
    negLogRatio: mean(6),
    absLogRatio: mean(7),
    approxKl: mean(8),
    ratioMean: mean(9),
    ratioMax: sums[10],
    kl: mean(11),
  };
}

function klFields(check: Check, options: KlOptions): { kind: number; logRatioClamp: number; valueClamp: number } {
  const kind = klKinds[options.estimator];
  if (kind === undefined) {
    check.fail(`estimator to be one of ${Object.keys(klKinds).join(", ")}`, options.estimator);
  }
  return {
    kind,
    logRatioClamp: check.notNegative("logRatioClamp", options.logRatioClamp ?? Infinity),
    valueClamp: check.notNegative("valueClamp", options.valueClamp ?? Infinity),
  };
}

function settingFields(check: Check, settings: LossSettings): Record<string, number> {
  const kl = settings.kl;
  const fields = kl === undefined ? { kind: 0, logRatioClamp: Infinity, valueClamp: Infinity } : klFields(check, kl);
  return {
    logRatioClamp: check.notNegative("logRatioClamp", settings.logRatioClamp ?? Infinity),
    klKind: fields.kind,
    klTimesRatio: kl?.timesRatio === true ? 1 : 0,
    klCoefficient:
      kl === undefined ? 0 : check.number("kl.coefficient", kl.coefficient, "a finite number", Number.isFinite),
    klLogRatioClamp: fields.logRatioClamp,
    klValueClamp: fields.valueClamp,
  };
}

function clipFields(check: Check, settings: ClipSettings): Record<string, number> {
  return {
    epsLow: check.number("epsLow", settings.epsLow, "a number in 0 … 1", (x) => x >= 0 && x <= 1),
    epsHigh: check.notNegative("epsHigh", settings.epsHigh),
    delta: check.number("delta", settings.delta ?? Infinity, "a number > 0", (x) => x > 0),
    dualClip: check.number("dualClip", settings.dualClip ?? Infinity, "a number > 1", (x) => x > 1),
  };
}

/** `[N]` of any sign becomes `[N, 2]`: positive ones in the first column, negative ones in the second. */
function advantagePairs(check: Check, advantages: Floats, N: number): Float32Array {
  if (advantages instanceof Float32Array && advantages.length === N && N > 0) {
    const pairs = new Float32Array(2 * N);
    for (let n = 0; n < N; n++) pairs[2 * n + (advantages[n] < 0 ? 1 : 0)] = advantages[n];
    return pairs;
  }
  return check.floats("advantages", "[N, 2]", advantages, 2 * N);
}

function lossTargetFields(check: Check, args: LossSettings & LossTargets, N: number): Record<string, unknown> {
  if (args.kl !== undefined && args.refLogprobs === undefined) check.fail("refLogprobs [N] with kl", "none");
  return {
    N,
    ...settingFields(check, args),
    oldLogprobs: check.floats("oldLogprobs", "[N]", args.oldLogprobs, N),
    refLogprobs: check.optionalFloats("refLogprobs", "[N]", args.refLogprobs, N),
    advantages: advantagePairs(check, args.advantages, N),
    weights: check.floats("weights", "[N]", args.weights, N),
    multipliers: check.optionalFloats("multipliers", "[N]", args.multipliers, N),
    ratios: check.optionalFloats("ratios", "[N]", args.ratios, N),
  };
}

function lossFields(check: Check, args: PolicyLossInputs, N: number): Record<string, unknown> {
  return { ...clipFields(check, args), ...lossTargetFields(check, args, N) };
}

/** Calls one form of the loss, with the fields that it has besides the shared ones. */
function runLoss(
  kernel: NativeOp,
  check: Check,
  args: ReinforceArguments,
  fieldsOf: (N: number) => Record<string, unknown>,
): PolicyLossResult {
  const logprobs = check.floats("logprobs", "[N]", args.logprobs);
  const N = logprobs.length;
  const fields = fieldsOf(N);
  const dlogprobs = check.output("dlogprobs", "[N]", args.dlogprobs, N);
  const metrics = new Float64Array(lossMetricCount);
  kernel({ ...lossTargetFields(check, args, N), ...fields, logprobs, dlogprobs, metrics });
  return { dlogprobs, metrics: lossMetrics(metrics) };
}

function sequenceFields(
  check: Check,
  args: { readonly sequenceOffsets: Int32Array },
  N: number,
): { readonly B: number; readonly sequenceOffsets: Int32Array } {
  const sequenceOffsets = check.offsets("sequenceOffsets", "[B + 1]", args.sequenceOffsets, N);
  return { B: sequenceOffsets.length - 1, sequenceOffsets };
}

function dppoFields(check: Check, args: DppoArguments): Record<string, number> {
  return {
    epsLow: check.notNegative("epsLow", args.epsLow),
    epsHigh: check.notNegative("epsHigh", args.epsHigh),
    ratioCap: check.number("ratioCap", args.ratioCap ?? Infinity, "a number > 0", (x) => x > 0),
  };
}

interface TargetFields {
  readonly T: number;
  readonly N: number;
  readonly targetOffsets: Int32Array;
  readonly targets: Int32Array;
  readonly temperature: number;
  readonly temperatures: Float32Array | undefined;
}

/** The rows' targets and temperatures; the range of the targets is left to the caller, who knows V. */
function targetFields(
  check: Check,
  args: Pick<LogprobsInputs, "targetOffsets" | "targets" | "temperature">,
): TargetFields {
  const targets = check.ints("targets", "[N]", args.targets);
  const N = targets.length;
  const targetOffsets = check.offsets("targetOffsets", "[T + 1]", args.targetOffsets, N);
  const T = targetOffsets.length - 1;
  const given = args.temperature ?? 1;
  const perRow = typeof given !== "number";
  const temperatures = perRow ? check.floats("temperature", "[T]", given, T) : undefined;
  if (temperatures !== undefined) {
    const wrong = temperatures.findIndex((value) => !(value > 0 && value < Infinity));
    if (wrong >= 0) check.fail("temperature [T] to be positive", `${temperatures[wrong]} at index ${wrong}`);
  }
  const temperature = perRow ? 1 : check.positive("temperature", given);
  return { T, N, targetOffsets, targets, temperature, temperatures };
}

interface RowFields extends TargetFields {
  readonly V: number;
  readonly logits: Float32Array;
}

function rowFields(check: Check, args: LogprobsInputs): RowFields {
  const fields = targetFields(check, args);
  const { T } = fields;
  const logits = check.floats("logits", "[T, V]", args.logits);
  const V = T === 0 ? 1 : logits.length / T;
  if (!Number.isInteger(V) || (T > 0 && V === 0)) {
    check.fail(`the length of logits [T, V] to be a positive multiple of T = ${T}`, String(logits.length));
  }
  check.range("targets", "[N]", fields.targets, 0, V - 1);
  return { ...fields, V, logits };
}

interface HeadFields extends TargetFields {
  readonly V: number;
  readonly H: number;
  readonly hidden: Float32Array;
  readonly weight: Float32Array;
  readonly bias: Float32Array | undefined;
  readonly logitScale: number;
  readonly softcap: number;
}

/** V is the length of an array `[V]` where there is one: without rows, H cannot be told from `hidden [T, H]`. */
function headFields(check: Check, args: LinearLogprobsInputs, perToken: Floats | undefined): HeadFields {
  const fields = targetFields(check, args);
  const { T } = fields;
  const hidden = check.floats("hidden", "[T, H]", args.hidden);
  const weight = check.floats("weight", "[V, H]", args.weight);
  let [V, H] = [perToken?.length ?? 1, weight.length];
  if (T > 0) {
    H = check.rows("hidden", "[T, H]", hidden.length, T);
    V = check.rows("weight", "[V, H]", weight.length, H);
    if (V === 0) check.fail("weight [V, H] to have a row", "none");
  } else {
    check.floats("hidden", "[T, H]", hidden, 0);
    H = V === 0 ? 0 : check.rows("weight", "[V, H]", weight.length, V);
  }
  check.range("targets", "[N]", fields.targets, 0, V - 1);
  return {
    ...fields,
    V,
    H,
    hidden,
    weight,
    bias: check.optionalFloats("bias", "[V]", args.bias, V),
    logitScale: check.positive("logitScale", args.logitScale ?? 1),
    softcap: args.softcap === undefined ? 0 : check.positive("softcap", args.softcap),
  };
}

function attentionFields(
  check: Check,
  shape: AttentionShape,
): { heads: number; kvHeads: number; D: number; scale: number } {
  const heads = check.integer("heads", shape.heads, 1);
  const kvHeads = check.integer("kvHeads", shape.kvHeads, 1);
  if (heads % kvHeads !== 0) check.fail("heads to be a multiple of kvHeads", `${heads} and ${kvHeads}`);
  const D = check.integer("headSize", shape.headSize, 1);
  return { heads, kvHeads, D, scale: check.number("scale", shape.scale, "a finite number", Number.isFinite) };
}

function treeFields(check: Check, args: TreeAttentionArguments): Record<string, unknown> & { T: number } {
  const shape = attentionFields(check, args);
  const subtreeEnd = check.ints("subtreeEnd", "[T]", args.subtreeEnd);
  const T = subtreeEnd.length;
  checkNested(check, subtreeEnd);
  const width = shape.heads * shape.D;
  const kvWidth = shape.kvHeads * shape.D;
  return {
    T,
    ...shape,
    subtreeEnd,
    q: check.floats("q", "[T, heads, D]", args.q, T * width),
    k: check.floats("k", "[T, kvHeads, D]", args.k, T * kvWidth),
    v: check.floats("v", "[T, kvHeads, D]", args.v, T * kvWidth),
    out: check.floats("out", "[T, heads, D]", args.out, T * width),
    lse: check.floats("lse", "[T, heads]", args.lse, T * shape.heads),
  };
}

/** Subtrees are nested: one that begins inside another ends inside it. */
function checkNested(check: Check, subtreeEnd: Int32Array): void {
  const open: number[] = [];
  for (let t = 0; t < subtreeEnd.length; t++) {
    while (open.length > 0 && open[open.length - 1] <= t) open.pop();
    const end = subtreeEnd[t];
    const most = open.length > 0 ? open[open.length - 1] : subtreeEnd.length;
    if (end <= t || end > most) {
      check.fail(`subtreeEnd [T] at ${t} in ${t + 1} … ${most}`, String(end));
    }
    open.push(end);
  }
}

function ropeFields(check: Check, args: RopeArguments): Record<string, unknown> {
  const D = check.integer("headSize", args.headSize, 2);
  if (D % 2 !== 0) check.fail("headSize to be even", String(D));
  const heads = check.integer("heads", args.heads, 1);
  const depth = check.ints("depth", "[T]", args.depth);
  const cosines = check.floats("cosines", "[positions, D / 2]", args.cosines);
  const positions = check.rows("cosines", "[positions, D / 2]", cosines.length, D / 2);
  check.range("depth", "[T]", depth, 0, positions - 1);
  return {
    T: depth.length,
    heads,
    D,
    positions,
    depth,
    cosines,
    sines: check.floats("sines", "[positions, D / 2]", args.sines, cosines.length),
    x: check.floats("x", "[T, heads, D]", args.x, depth.length * heads * D),
  };
}

/** Opens the ops of a device. Throws where the device or the instruction set is not at hand; nothing falls back silently. */
export function openOps(device: "cpu" | "cuda" = "cpu", options: CpuOptions = {}): Ops {
  if (device === "cuda") throw new Error("openOps: the cuda backend is not part of this build");
  if (device !== "cpu")
    throw new RangeError(`openOps: expected device to be "cpu" or "cuda", received "${String(device)}"`);
  const isa = options.isa ?? process.env["STEPCREDIT_ISA"] ?? cpuIsas()[0];
  const kernels = loadAddon().backends[isa];
  if (kernels === undefined) {
    throw new RangeError(`openOps: expected isa to be one of ${cpuIsas().join(", ")}, received "${isa}"`);
  }
  return nativeOps(`cpu/${isa}`, kernels, options.blas === false ? 1 : 0);
}

function nativeOps(name: string, kernels: Readonly<Record<string, NativeOp>>, portable: 0 | 1): Ops {
  return {
    name,

    allocate: (length) => new Float32Array(length),

    logprobs(args) {
      const check = new Check("logprobs");
      const rows = rowFields(check, args);
      const lse = check.output("lse", "[T]", args.lse, rows.T);
      const logprobs = check.output("logprobs", "[N]", args.logprobs, rows.N);
      const entropy = check.requested("entropy", "[T]", args.entropy, rows.T);
      const sumSquares = check.requested("sumSquares", "[T]", args.sumSquares, rows.T);
      kernels["logprobs"]({ ...rows, lse, logprobs, entropy, sumSquares });
      return { lse, logprobs, ...(entropy && { entropy }), ...(sumSquares && { sumSquares }) };
    },

    logprobsBackward(args) {
      const check = new Check("logprobsBackward");
      const rows = rowFields(check, args);
      if (args.dentropy !== undefined && args.entropy === undefined) check.fail("entropy [T] with dentropy", "none");
      const dlogits = check.output("dlogits", "[T, V]", args.dlogits, rows.logits.length);
      kernels["logprobs_backward"]({
        ...rows,
        lse: check.floats("lse", "[T]", args.lse, rows.T),
        entropy: check.optionalFloats("entropy", "[T]", args.entropy, rows.T),
        dlogprobs: check.floats("dlogprobs", "[N]", args.dlogprobs, rows.N),
        dentropy: check.optionalFloats("dentropy", "[T]", args.dentropy, rows.T),
        dlogits,
      });
      return dlogits;
    },

    linearLogprobs(args) {
      const check = new Check("linearLogprobs");
      const head = headFields(check, args, args.bias);
      const lse = check.output("lse", "[T]", args.lse, head.T);
      const logprobs = check.output("logprobs", "[N]", args.logprobs, head.N);
      const entropy = check.requested("entropy", "[T]", args.entropy, head.T);
      kernels["linear_logprobs"]({ ...head, portable, lse, logprobs, entropy });
      return { lse, logprobs, ...(entropy && { entropy }) };
    },

    linearLogprobsBackward(args) {
      const check = new Check("linearLogprobsBackward");
      const head = headFields(check, args, args.bias ?? args.dbias);
      if (args.dentropy !== undefined && args.entropy === undefined) check.fail("entropy [T] with dentropy", "none");
      kernels["linear_logprobs_backward"]({
        ...head,
        portable,
        lse: check.floats("lse", "[T]", args.lse, head.T),
        logprobs: check.floats("logprobs", "[N]", args.logprobs, head.N),
        entropy: check.optionalFloats("entropy", "[T]", args.entropy, head.T),
        dlogprobs: check.floats("dlogprobs", "[N]", args.dlogprobs, head.N),
        dentropy: check.optionalFloats("dentropy", "[T]", args.dentropy, head.T),
        dhidden: check.optionalFloats("dhidden", "[T, H]", args.dhidden, head.hidden.length),
        dweight: check.optionalFloats("dweight", "[V, H]", args.dweight, head.weight.length),
        dbias: check.optionalFloats("dbias", "[V]", args.dbias, head.V),
      });
    },

    scatterAdvantages(args) {
      const check = new Check("scatterAdvantages");
      const stepCredits = check.floats("stepCredits", "[S, 2]", args.stepCredits);
      const S = check.rows("stepCredits", "[S, 2]", stepCredits.length, 2);
      const stepOf = check.ints("stepOf", "[N]", args.stepOf);
      check.range("stepOf", "[N]", stepOf, -1, S - 1);
      const advantages = check.output("advantages", "[N, 2]", args.advantages, 2 * stepOf.length);
      kernels["scatter_advantages"]({ N: stepOf.length, S, stepCredits, stepOf, advantages });
      return advantages;
    },

    scatterAdvantagesBackward(args) {
      const check = new Check("scatterAdvantagesBackward");
      const S = check.integer("steps", args.steps, 0);
      const stepOf = check.ints("stepOf", "[N]", args.stepOf);
      check.range("stepOf", "[N]", stepOf, -1, S - 1);
      const dadvantages = check.floats("dadvantages", "[N, 2]", args.dadvantages, 2 * stepOf.length);
      const dstepCredits = check.output("dstepCredits", "[S, 2]", args.dstepCredits, 2 * S);
      kernels["scatter_advantages_backward"]({ N: stepOf.length, S, dadvantages, stepOf, dstepCredits });
      return dstepCredits;
    },

    kl(args) {
      const check = new Check("kl");
      const logprobs = check.floats("logprobs", "[N]", args.logprobs);
      const N = logprobs.length;
      const kl = check.output("kl", "[N]", args.kl, N);
      const dlogprobs = check.output("dlogprobs", "[N]", args.dlogprobs, N);
      kernels["kl"]({
        N,
        ...klFields(check, args),
        logprobs,
        refLogprobs: check.floats("refLogprobs", "[N]", args.refLogprobs, N),
        dkl: check.optionalFloats("dkl", "[N]", args.dkl, N),
        kl,
        dlogprobs,
      });
      return { kl, dlogprobs };
    },

    policyLoss: {
      clip(args) {
        const check = new Check("policyLoss.clip");
        const logprobs = check.floats("logprobs", "[N]", args.logprobs);
        const N = logprobs.length;
        const dlogprobs = check.output("dlogprobs", "[N]", args.dlogprobs, N);
        const metrics = new Float64Array(lossMetricCount);
        kernels["policy_loss_clip"]({ ...lossFields(check, args, N), logprobs, dlogprobs, metrics });
        return { dlogprobs, metrics: lossMetrics(metrics) };
      },

      sequenceClip(args) {
        const check = new Check("policyLoss.sequenceClip");
        const logprobs = check.floats("logprobs", "[N]", args.logprobs);
        const N = logprobs.length;
        const sequenceOffsets = check.offsets("sequenceOffsets", "[B + 1]", args.sequenceOffsets, N);
        const dlogprobs = check.output("dlogprobs", "[N]", args.dlogprobs, N);
        const metrics = new Float64Array(lossMetricCount);
        const fields = lossFields(check, args, N);
        const B = sequenceOffsets.length - 1;
        kernels["policy_loss_sequence_clip"]({ ...fields, B, sequenceOffsets, logprobs, dlogprobs, metrics });
        return { dlogprobs, metrics: lossMetrics(metrics) };
      },

      gspoToken(args) {
        const check = new Check("policyLoss.gspoToken");
        return runLoss(kernels["policy_loss_gspo_token"], check, args, (N) => ({
          ...sequenceFields(check, args, N),
          ...clipFields(check, args),
          sequenceLogRatioMax: check.number(
            "sequenceLogRatioMax",
            args.sequenceLogRatioMax ?? Infinity,
            "a number",
            (x) => !Number.isNaN(x),
          ),
        }));
      },

      cispo(args) {
        const check = new Check("policyLoss.cispo");
        return runLoss(kernels["policy_loss_cispo"], check, args, () => ({
          ratioMin: check.number("ratioMin", args.ratioMin ?? 0, "a number in 0 … 1", (x) => x >= 0 && x <= 1),
          ratioMax: check.number("ratioMax", args.ratioMax, "a number ≥ 1 (a ratio, not an ε)", (x) => x >= 1),
        }));
      },

      sapo(args) {
        const check = new Check("policyLoss.sapo");
        return runLoss(kernels["policy_loss_sapo"], check, args, () => ({
          tauPositive: check.positive("tauPositive", args.tauPositive),
          tauNegative: check.positive("tauNegative", args.tauNegative),
        }));
      },

      reinforce(args) {
        return runLoss(kernels["policy_loss_reinforce"], new Check("policyLoss.reinforce"), args, () => ({}));
      },

      dppoTv(args) {
        const check = new Check("policyLoss.dppoTv");
        return runLoss(kernels["policy_loss_dppo_tv"], check, args, () => dppoFields(check, args));
      },

      dppoKl(args) {
        const check = new Check("policyLoss.dppoKl");
        return runLoss(kernels["policy_loss_dppo_kl"], check, args, () => dppoFields(check, args));
      },

      gmpo(args) {
        const check = new Check("policyLoss.gmpo");
        return runLoss(kernels["policy_loss_gmpo"], check, args, (N) => ({
          ...sequenceFields(check, args, N),
          epsLow: check.notNegative("epsLow", args.epsLow),
          epsHigh: check.notNegative("epsHigh", args.epsHigh),
        }));
      },
    },

    valueLoss(args) {
      const check = new Check("valueLoss");
      const values = check.floats("values", "[N]", args.values);
      const N = values.length;
      if (args.clip !== undefined && args.oldValues === undefined) check.fail("oldValues [N] with clip", "none");
      const dvalues = check.output("dvalues", "[N]", args.dvalues, N);
      const sums = new Float64Array(3);
      kernels["value_loss"]({
        N,
        clip: args.oldValues === undefined ? Infinity : check.notNegative("clip", args.clip ?? Infinity),
        values,
        oldValues: check.optionalFloats("oldValues", "[N]", args.oldValues, N),
        returns: check.floats("returns", "[N]", args.returns, N),
        weights: check.floats("weights", "[N]", args.weights, N),
        dvalues,
        metrics: sums,
      });
      const [loss, count, clipped] = sums;
      return { dvalues, metrics: { loss, count, clipFraction: count > 0 ? clipped / count : 0 } };
    },

    policyUpdate: {
      clip(args) {
        const check = new Check("policyUpdate.clip");
        const rows = rowFields(check, args);
        const logprobs = check.output("logprobs", "[N]", args.logprobs, rows.N);
        const lse = check.output("lse", "[T]", args.lse, rows.T);
        const entropy = check.requested("entropy", "[T]", args.entropy, rows.T);
        const dlogprobs = check.output("dlogprobs", "[N]", args.dlogprobs, rows.N);
        const dlogits = check.output("dlogits", "[T, V]", args.dlogits, rows.logits.length);
        const metrics = new Float64Array(lossMetricCount);
        kernels["policy_update_clip"]({
          ...lossFields(check, args, rows.N),
          ...rows,
          entropyWeights: check.optionalFloats("entropyWeights", "[T]", args.entropyWeights, rows.T),
          logprobs,
          lse,
          entropy,
          dlogprobs,
          dlogits,
          metrics,
        });
        return { logprobs, lse, dlogprobs, dlogits, metrics: lossMetrics(metrics), ...(entropy && { entropy }) };
      },
    },

    gradNorm(args) {
      const grads = new Check("gradNorm").floats("grads", "[count]", args.grads);
      const norm = new Float64Array(1);
      kernels["grad_norm"]({ count: grads.length, grads, norm });
      return norm[0];
    },

    adamw(args) {
      const check = new Check("adamw");
      const params = check.floats("params", "[count]", args.params);
      const count = params.length;
      const fraction = (field: string, value: number): number =>
        check.number(field, value, "a number in 0 … 1, 1 excluded", (x) => x >= 0 && x < 1);
      kernels["adamw"]({
        count,
        step: check.integer("step", args.step, 1),
        lr: check.notNegative("lr", args.lr),
        beta1: fraction("beta1", args.beta1),
        beta2: fraction("beta2", args.beta2),
        eps: check.notNegative("eps", args.eps),
        weightDecay: check.notNegative("weightDecay", args.weightDecay),
        gradScale: check.number("gradScale", args.gradScale, "a finite number", Number.isFinite),
        grads: check.floats("grads", "[count]", args.grads, count),
        params,
        m: check.floats("m", "[count]", args.m, count),
        v: check.floats("v", "[count]", args.v, count),
      });
    },

    sample(args) {
      const check = new Check("sample");
      const streams = check.ints("streams", "[R]", args.streams);
      const R = streams.length;
      const logits = check.floats("logits", "[R, V]", args.logits);
      const V = R === 0 ? 1 : logits.length / R;
      if (!Number.isInteger(V) || (R > 0 && V === 0)) {
        check.fail(`the length of logits [R, V] to be a positive multiple of R = ${R}`, String(logits.length));
      }
      const tokens = args.tokens === undefined ? new Int32Array(R) : check.ints("tokens", "[R]", args.tokens, R);
      const logprobs = check.output("logprobs", "[R]", args.logprobs, R);
      const supportLogprobs = check.requested("supportLogprobs", "[R]", args.supportLogprobs, R);
      kernels["sample"]({
        R,
        V,
        topK: check.integer("topK", args.topK ?? 0, 0, 2 ** 31 - 1),
        temperature: check.number(
          "temperature",
          args.temperature ?? 1,
          "a finite number ≥ 0",
          (x) => x >= 0 && x < Infinity,
        ),
        topP: check.number("topP", args.topP ?? 1, "a number in 0 … 1, 0 excluded", (x) => x > 0 && x <= 1),
        minP: check.number("minP", args.minP ?? 0, "a number in 0 … 1", (x) => x >= 0 && x <= 1),
        seed: check.integer("seed", args.seed, 0),
        logits,
        streams,
        positions: check.ints("positions", "[R]", args.positions, R),
        tokens,
        logprobs,
        supportLogprobs,
      });
      const wrong = tokens.indexOf(-1);
      if (wrong >= 0) check.fail("a row of logits [R, V] to hold a number above −∞ and no NaN", `row ${wrong} without`);
      return { tokens, logprobs, ...(supportLogprobs && { supportLogprobs }) };
    },

    embed(args) {
      const check = new Check("embed");
      const H = check.integer("hidden", args.hidden, 1);
      const table = check.floats("table", "[V, H]", args.table);
      const V = check.rows("table", "[V, H]", table.length, H);
      const ids = check.ints("ids", "[T]", args.ids);
      check.range("ids", "[T]", ids, 0, V - 1);
      const out = check.floats("out", "[T, H]", args.out, ids.length * H);
      kernels["embed"]({ T: ids.length, V, H, accumulate: args.accumulate === true ? 1 : 0, table, ids, out });
    },

    embedBackward(args) {
      const check = new Check("embedBackward");
      const H = check.integer("hidden", args.hidden, 1);
      const dtable = check.floats("dtable", "[V, H]", args.dtable);
      const V = check.rows("dtable", "[V, H]", dtable.length, H);
      const ids = check.ints("ids", "[T]", args.ids);
      check.range("ids", "[T]", ids, 0, V - 1);
      const dout = check.floats("dout", "[T, H]", args.dout, ids.length * H);
      kernels["embed_backward"]({ T: ids.length, V, H, ids, dout, dtable });
    },

    linear(args) {
      const check = new Check("linear");
      const T = check.integer("rows", args.rows, 0);
      const weight = check.floats("weight", "[O, I]", args.weight);
      const { I, O } = linearShape(check, T, args.x, args.y, weight.length);
      kernels["linear"]({
        T,
        I,
        O,
        accumulate: args.accumulate === true ? 1 : 0,
        portable,
        x: check.floats("x", "[T, I]", args.x, T * I),
        weight,
        bias: check.optionalFloats("bias", "[O]", args.bias, O),
        y: check.floats("y", "[T, O]", args.y, T * O),
      });
    },

    linearBackward(args) {
      const check = new Check("linearBackward");
      const T = check.integer("rows", args.rows, 0);
      const weight = check.floats("weight", "[O, I]", args.weight);
      const { I, O } = linearShape(check, T, args.x, args.dy, weight.length);
      kernels["linear_backward"]({
        T,
        I,
        O,
        accumulate: args.accumulate === true ? 1 : 0,
        portable,
        x: check.floats("x", "[T, I]", args.x, T * I),
        weight,
        dy: check.floats("dy", "[T, O]", args.dy, T * O),
        dx: check.optionalFloats("dx", "[T, I]", args.dx, T * I),
        dweight: check.optionalFloats("dweight", "[O, I]", args.dweight, O * I),
        dbias: check.optionalFloats("dbias", "[O]", args.dbias, O),
      });
    },

    rmsNorm(args) {
      const check = new Check("rmsNorm");
      const weight = check.floats("weight", "[H]", args.weight);
      const x = check.floats("x", "[T, H]", args.x);
      const T = check.rows("x", "[T, H]", x.length, weight.length);
      kernels["rms_norm"]({
        T,
        H: weight.length,
        eps: check.notNegative("eps", args.eps),
        x,
        weight,
        y: check.floats("y", "[T, H]", args.y, x.length),
        rrms: check.floats("rrms", "[T]", args.rrms, T),
      });
    },

    rmsNormBackward(args) {
      const check = new Check("rmsNormBackward");
      const weight = check.floats("weight", "[H]", args.weight);
      const x = check.floats("x", "[T, H]", args.x);
      const T = check.rows("x", "[T, H]", x.length, weight.length);
      kernels["rms_norm_backward"]({
        T,
        H: weight.length,
        accumulate: args.accumulate === true ? 1 : 0,
        x,
        weight,
        rrms: check.floats("rrms", "[T]", args.rrms, T),
        dy: check.floats("dy", "[T, H]", args.dy, x.length),
        dx: check.floats("dx", "[T, H]", args.dx, x.length),
        dweight: check.floats("dweight", "[H]", args.dweight, weight.length),
      });
    },

    rope(args) {
      kernels["rope"](ropeFields(new Check("rope"), args));
    },

    ropeBackward(args) {
      kernels["rope_backward"](ropeFields(new Check("ropeBackward"), args));
    },

    treeAttention(args) {
      kernels["tree_attention"](treeFields(new Check("treeAttention"), args));
    },

    treeAttentionBackward(args) {
      const check = new Check("treeAttentionBackward");
      const fields = treeFields(check, args);
      kernels["tree_attention_backward"]({
        ...fields,
        dout: check.floats("dout", "[T, heads, D]", args.dout, args.q.length),
        dq: check.floats("dq", "[T, heads, D]", args.dq, args.q.length),
        dk: check.floats("dk", "[T, kvHeads, D]", args.dk, args.k.length),
        dv: check.floats("dv", "[T, kvHeads, D]", args.dv, args.k.length),
      });
    },

    decodeAttention(args) {
      const check = new Check("decodeAttention");
      const shape = attentionFields(check, args);
      const slots = check.ints("slots", "[K]", args.slots);
      const slotOffsets = check.offsets("slotOffsets", "[R + 1]", args.slotOffsets, slots.length);
      const R = slotOffsets.length - 1;
      const keys = check.floats("keys", "[slots, kvHeads, D]", args.keys);
      const cached = check.rows("keys", "[slots, kvHeads, D]", keys.length, shape.kvHeads * shape.D);
      check.range("slots", "[K]", slots, 0, cached - 1);
      for (let r = 0; r < R; r++) {
        if (slotOffsets[r] === slotOffsets[r + 1]) check.fail("every row to see at least one slot", `none in row ${r}`);
      }
      kernels["decode_attention"]({
        R,
        ...shape,
        q: check.floats("q", "[R, heads, D]", args.q, R * shape.heads * shape.D),
        keys,
        values: check.floats("values", "[slots, kvHeads, D]", args.values, keys.length),
        slotOffsets,
        slots,
        out: check.floats("out", "[R, heads, D]", args.out, R * shape.heads * shape.D),
      });
    },

    swiglu(args) {
      const check = new Check("swiglu");
      const gate = check.floats("gate", "[count]", args.gate);
      const count = gate.length;
      kernels["swiglu"]({
        count,
        gate,
        up: check.floats("up", "[count]", args.up, count),
        out: check.floats("out", "[count]", args.out, count),
      });
    },

    swigluBackward(args) {
      const check = new Check("swigluBackward");
      const gate = check.floats("gate", "[count]", args.gate);
      const count = gate.length;
      kernels["swiglu_backward"]({
        count,
        gate,
        up: check.floats("up", "[count]", args.up, count),
        dout: check.floats("dout", "[count]", args.dout, count),
        dgate: check.floats("dgate", "[count]", args.dgate, count),
        dup: check.floats("dup", "[count]", args.dup, count),
      });
    },
  };
}

/** I and O of a linear layer from the arrays and the number of rows; from the weight where there are no rows. */
function linearShape(check: Check, T: number, x: Floats, y: Floats, weights: number): { I: number; O: number } {
  if (T === 0) return { I: weights, O: weights > 0 ? 1 : 0 };
  const I = check.rows("x", "[T, I]", x.length, T);
  const O = check.rows("y", "[T, O]", y.length, T);
  if (I * O !== weights) check.fail(`weight [O, I] to have ${O} · ${I} = ${I * O} elements`, String(weights));
  return { I, O };
}
