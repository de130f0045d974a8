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
import { clipForm, klEstimate, logRatio, lossOfTargets, MetricSums, targetGradient } from "./loss-target.ts";

type LossOps = Pick<Ops, "scatterAdvantages" | "scatterAdvantagesBackward" | "kl" | "policyLoss">;

export function lossReference(round: Round): LossOps {
  return {
    scatterAdvantages(args: ScatterAdvantagesArguments): Floats {
      const N = args.stepOf.length;
      const advantages = output(args.advantages, 2 * N);
      for (let n = 0; n < N; n++) {
        const s = args.stepOf[n];
        for (let c = 0; c < 2; c++) advantages[2 * n + c] = s < 0 ? 0 : args.stepCredits[2 * s + c];
      }
      return advantages;
    },

    scatterAdvantagesBackward(args: ScatterAdvantagesBackwardArguments): Floats {
      const sums = new Float64Array(2 * args.steps); // f64 at every precision, by contract
      args.stepOf.forEach((s, n) => {
        if (s < 0) return;
        for (let c = 0; c < 2; c++) sums[2 * s + c] += args.dadvantages[2 * n + c];
      });
      const dstepCredits = output(args.dstepCredits, 2 * args.steps);
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
        dlogprobs[n] = dkl === 0 ? 0 : round(dkl * estimate.slope);
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
