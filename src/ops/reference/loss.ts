import type {
  Floats,
  KlArguments,
  Ops,
  PolicyLossArguments,
  PolicyLossResult,
  PolicyLossSequenceArguments,
  ScatterAdvantagesArguments,
  ScatterAdvantagesBackwardArguments,
} from "../ops.ts";
import type { Round } from "./arithmetic.ts";
import { output } from "./arithmetic.ts";
import { lossFamilyReference } from "./loss-family.ts";
import { clipForm, klEstimate, logRatio, lossOfTargets, MetricSums, targetGradient, times } from "./loss-target.ts";

type LossOps = Pick<Ops, "scatterAdvantages" | "scatterAdvantagesBackward" | "kl" | "policyLoss">;

export function lossReference(round: Round): LossOps {
  return {
    scatterAdvantages(args: ScatterAdvantagesArguments): Floats {
      const stepOf = args.stepOf ?? stepOfOffsets(args.stepOffsets, args.targets);
      const N = stepOf.length;
      const advantages = output(args.advantages, 2 * N);
      for (let n = 0; n < N; n++) {
        const s = stepOf[n];
        for (let c = 0; c < 2; c++) advantages[2 * n + c] = s < 0 ? 0 : args.stepCredits[2 * s + c];
      }
      return advantages;
    },

    scatterAdvantagesBackward(args: ScatterAdvantagesBackwardArguments): Floats {
      const { dadvantages, stepOffsets } = args;
      const stepOf = args.stepOf ?? stepOfOffsets(args.stepOffsets, dadvantages.length / 2);
      const steps = stepOffsets === undefined ? args.steps : stepOffsets.length - 1;
      const sums = new Float64Array(2 * steps); // f64 at every precision, by contract
      stepOf.forEach((s, n) => {
        if (s < 0) return;
        for (let c = 0; c < 2; c++) sums[2 * s + c] += dadvantages[2 * n + c];
      });
      const dstepCredits = output(args.dstepCredits, 2 * steps);
      dstepCredits.set(sums.map(round));
      return dstepCredits;
    },

    kl(args: KlArguments) {
      const N = args.logprobs.length;
      const kl = output(args.kl, N);
      const dlogprobs = output(args.dlogprobs, N);
      for (let n = 0; n < N; n++) {
        const estimate = klEstimate(args.logprobs[n], args.refLogprobs[n], args, round);
        kl[n] = estimate.value;
        const dkl = args.dkl?.[n] ?? 1;
        dlogprobs[n] = dkl === 0 ? 0 : times(dkl, estimate.slope, round);
      }
      return { kl, dlogprobs };
    },

    policyLoss: {
      clip: (args: PolicyLossArguments) => lossOfTargets(args, clipForm(args, round), round),

      sequenceClip(args: PolicyLossSequenceArguments): PolicyLossResult {
        const dlogprobs = output(args.dlogprobs, args.logprobs.length);
        const sums = new MetricSums();
        dlogprobs.fill(0);
        args.ratios?.fill(0);
        for (let b = 0; b + 1 < args.sequenceOffsets.length; b++) {
          const present: number[] = [];
          for (let n = args.sequenceOffsets[b]; n < args.sequenceOffsets[b + 1]; n++)
            if (args.weights[n] !== 0) present.push(n);
          const x = present.map((n) => logRatio(args, n, round));
          const mean = round(x.reduce((sum, { value }) => round(sum + value), 0) / present.length);
          const d = present.map((n) => targetGradient(args, n, mean, clipForm(args, round), sums, round));
          const dmean = d.reduce((sum, { throughRatio }) => round(sum + throughRatio), 0);
          present.forEach((n, i) => {
            dlogprobs[n] = round((x[i].clamped ? 0 : round(dmean / present.length)) + d[i].direct);
          });
        }
        return { dlogprobs, metrics: sums.metrics() };
      },

      ...lossFamilyReference(round),
    },
  };
}

/** `[N]` the step of every target, −1 outside all of them. */
function stepOfOffsets(stepOffsets: Int32Array, targets = stepOffsets[stepOffsets.length - 1]): Int32Array {
  const stepOf = new Int32Array(targets).fill(-1);
  for (let s = 0; s + 1 < stepOffsets.length; s++) stepOf.fill(s, stepOffsets[s], stepOffsets[s + 1]);
  return stepOf;
}
