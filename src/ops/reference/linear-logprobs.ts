import type {
  Floats,
  LinearLogprobsArguments,
  LinearLogprobsBackwardArguments,
  LinearLogprobsInputs,
  LinearLogprobsResult,
  Ops,
} from "../ops.ts";
import { floatsOf } from "../halves.ts";
import type { Round } from "./arithmetic.ts";
import { optionalOutput, output } from "./arithmetic.ts";
import { countedTargets, temperatureOf } from "./logit-rows.ts";
import { logprobsReference } from "./logprobs.ts";

type Head = { readonly hidden: Floats; readonly weight: Floats; readonly bias?: Floats };

/** The arrays of a head, widened. */
const headOf = ({ hidden, weight, bias }: LinearLogprobsInputs): Head => ({
  hidden: floatsOf(hidden),
  weight: floatsOf(weight),
  ...(bias && { bias }),
});

const noLogits = new Float64Array(0);

/** A linear head and the log-probabilities of its logits, one row after the other. */
export function linearLogprobsReference(round: Round): Pick<Ops, "linearLogprobs" | "linearLogprobsBackward"> {
  const { logprobs: rowLogprobs, logprobsBackward: rowBackward } = logprobsReference(round);

  /** product and bias `[V]` of row t, before scale and softcap */
  const logitsOf = ({ hidden, weight, bias }: Head, t: number, H: number) =>
    Float64Array.from({ length: weight.length / H }, (_, v) => {
      let product = 0;
      for (let h = 0; h < H; h++) product = round(product + round(hidden[t * H + h] * weight[v * H + h]));
      return bias ? round(product + bias[v]) : product;
    });

  /** what `logprobs` reads of row t alone */
  const rowOf = (args: LinearLogprobsInputs, t: number, logits: Floats) => {
    const [first, last] = [args.targetOffsets[t], args.targetOffsets[t + 1]];
    const { ignoreIndex, logitScale, softcap } = args;
    return {
      logits,
      targetOffsets: Int32Array.of(0, last - first),
      targets: args.targets.subarray(first, last),
      temperature: temperatureOf(args, t),
      ...(ignoreIndex !== undefined && { ignoreIndex }),
      ...(logitScale !== undefined && { logitScale }),
      ...(softcap !== undefined && { softcap }),
    };
  };

  return {
    linearLogprobs(args: LinearLogprobsArguments): LinearLogprobsResult {
      const { targetOffsets, targets } = args;
      const head = headOf(args);
      const T = targetOffsets.length - 1;
      const lse = output(args.lse, T);
      const logprobs = output(args.logprobs, targets.length);
      const entropy = optionalOutput(args.entropy, T);
      for (let t = 0; t < T; t++) {
        rowLogprobs({
          ...rowOf(
            args,
            t,
            countedTargets(args, t).length === 0 ? noLogits : logitsOf(head, t, head.hidden.length / T),
          ),
          lse: lse.subarray(t, t + 1),
          logprobs: logprobs.subarray(targetOffsets[t], targetOffsets[t + 1]),
          ...(entropy && { entropy: entropy.subarray(t, t + 1) }),
        });
      }
      return { lse, logprobs, ...(entropy && { entropy }) };
    },

    linearLogprobsBackward(args: LinearLogprobsBackwardArguments): void {
      const { targetOffsets, dhidden, dweight, dbias } = args;
      const head = headOf(args);
      const { hidden, weight } = head;
      const T = targetOffsets.length - 1;
      const H = hidden.length / T;
      dhidden?.fill(0);
      for (let t = 0; t < T; t++) {
        const dlogprobs = args.dlogprobs.subarray(targetOffsets[t], targetOffsets[t + 1]);
        const counted = countedTargets(args, t);
        const dentropy = counted.length === 0 ? 0 : (args.dentropy?.[t] ?? 0);
        if (dentropy === 0 && counted.every((n) => args.dlogprobs[n] === 0)) continue;
        const logits = logitsOf(head, t, H);
        const dlogits = rowBackward({
          ...rowOf(args, t, logits),
          lse: args.lse.subarray(t, t + 1),
          dlogprobs,
          ...(args.entropy && { entropy: args.entropy.subarray(t, t + 1), dentropy: Float64Array.of(dentropy) }),
        });
        for (let v = 0; v < logits.length; v++) {
          const d = dlogits[v];
          if (d === 0) continue;
          for (let h = 0; h < H; h++) {
            const [at, of] = [t * H + h, v * H + h];
            if (dhidden) dhidden[at] = round(dhidden[at] + round(d * weight[of]));
            if (dweight) dweight[of] = round(dweight[of] + round(d * hidden[at]));
          }
          if (dbias) dbias[v] = round(dbias[v] + d);
        }
      }
    },
  };
}
