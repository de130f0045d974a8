import type { AdamwArguments, Floats, Ops } from "../ops.ts";
import type { Round } from "./arithmetic.ts";

export function optimizerReference(round: Round): Pick<Ops, "gradNorm" | "adamw"> {
  return {
    gradNorm({ grads }: { readonly grads: Floats }): number {
      let squares = 0; // f64 at every precision, by contract
      for (const grad of grads) squares += grad * grad;
      return Math.sqrt(squares);
    },

    adamw(args: AdamwArguments): void {
      const { params, grads, m, v, beta1, beta2 } = args;
      const unbias1 = 1 - beta1 ** args.step;
      const unbias2 = 1 - beta2 ** args.step;
      for (let i = 0; i < params.length; i++) {
        const g = round(grads[i] * args.gradScale);
        m[i] = round(round(beta1 * m[i]) + round((1 - beta1) * g));
        v[i] = round(round(beta2 * v[i]) + round((1 - beta2) * round(g * g)));
        const mean = round(m[i] / unbias1);
        const deviation = round(Math.sqrt(round(v[i] / unbias2)));
        const direction = round(round(mean / round(deviation + args.eps)) + round(args.weightDecay * params[i]));
        params[i] = round(params[i] - round(args.lr * direction));
      }
    },
  };
}
