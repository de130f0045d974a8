import type {
  Floats,
  LinearLogprobsArguments,
  LinearLogprobsBackwardArguments,
  LinearLogprobsInputs,
  LinearLogprobsResult,
  Ops,
} from "../ops.ts";
import type { Round } from "./arithmetic.ts";
import { optionalOutput, output } from "./arithmetic.ts";
import { logprobsReference, temperatureOf } from "./logprobs.ts";

/** A linear head and the log-probabilities of its logits, one row after the other. */
export function linearLogprobsReference(round: Round): Pick<Ops, "linearLogprobs" | "linearLogprobsBackward"> {
  const { logprobs: rowLogprobs, logprobsBackward: rowBackward } = logprobsReference(round);

  /** y `[V]` of row t, scaled and capped */
  const logitsOf = ({ hidden, weight, bias, logitScale = 1, softcap }: LinearLogprobsInputs, t: number, H: number) =>
    Float64Array.from({ length: weight.length / H }, (_, v) => {
      let product = 0;
      for (let h = 0; h < H; h++) product = round(product + round(hidden[t * H + h] * weight[v * H + h]));
      const y = round(logitScale * (bias ? round(product + bias[v]) : product));
      return softcap === undefined ? y : round(softcap * round(Math.tanh(round(y / softcap))));
    });

  /** what `logprobs` reads of row t alone */
  const rowOf = (args: LinearLogprobsInputs, t: number, logits: Floats) => {
    const [first, last] = [args.targetOffsets[t], args.targetOffsets[t + 1]];
    return {
      logits,
      targetOffsets: Int32Array.of(0, last - first),
      targets: args.targets.subarray(first, last),
      temperature: temperatureOf(args, t),
    };
  };

  return {
    linearLogprobs(args: LinearLogprobsArguments): LinearLogprobsResult {
      const { hidden, targetOffsets, targets } = args;
      const T = targetOffsets.length - 1;
      const lse = output(args.lse, T);
      const logprobs = output(args.logprobs, targets.length);
      const entropy = optionalOutput(args.entropy, T);
      for (let t = 0; t < T; t++) {
        if (targetOffsets[t] === targetOffsets[t + 1]) continue;
        rowLogprobs({
          ...rowOf(args, t, logitsOf(args, t, hidden.length / T)),
          lse: lse.subarray(t, t + 1),
          logprobs: logprobs.subarray(targetOffsets[t], targetOffsets[t + 1]),
          ...(entropy && { entropy: entropy.subarray(t, t + 1) }),
        });
      }
      return { lse, logprobs, ...(entropy && { entropy }) };
    },

    linearLogprobsBackward(args: LinearLogprobsBackwardArguments): void {
      const { hidden, weight, targetOffsets, logitScale = 1, softcap, dhidden, dweight, dbias } = args;
      const T = targetOffsets.length - 1;
      const H = hidden.length / T;
      dhidden?.fill(0);
      for (let t = 0; t < T; t++) {
        const dlogprobs = args.dlogprobs.subarray(targetOffsets[t], targetOffsets[t + 1]);
        const dentropy = dlogprobs.length === 0 ? 0 : (args.dentropy?.[t] ?? 0);
        if (dentropy === 0 && dlogprobs.every((g) => g === 0)) continue;
        const logits = logitsOf(args, t, H);
        const dlogits = rowBackward({
          ...rowOf(args, t, logits),
          lse: args.lse.subarray(t, t + 1),
          dlogprobs,
          ...(args.entropy && { entropy: args.entropy.subarray(t, t + 1), dentropy: Float64Array.of(dentropy) }),
        });
        for (let v = 0; v < logits.length; v++) {
          const bend = softcap === undefined ? 1 : round(1 - round((logits[v] / softcap) ** 2));
          const d = round(round(dlogits[v] * logitScale) * bend);
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
