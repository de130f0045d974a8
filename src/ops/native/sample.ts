/** The plan of `sample`. */

import { Check } from "../check.ts";
import { call, type KernelPlans } from "./call.ts";

export function samplePlans(): Pick<KernelPlans, "sample"> {
  return {
    sample(args) {
      const check = new Check("sample");
      const streams = check.ints("streams", "[R]", args.streams);
      const R = streams.length;
      const logits = check.floats("logits", "[R, V]", args.logits);
      const V = R === 0 ? 1 : logits.length / R;
      if (!Number.isInteger(V) || (R > 0 && V === 0)) {
        check.fail(`the length of logits [R, V] to be a positive multiple of R = ${R}`, String(logits.length));
      }
      const tokens = args.tokens === undefined ? new Int32Array(R) : check.intOutput("tokens", "[R]", args.tokens, R);
      const logprobs = check.output("logprobs", "[R]", args.logprobs, R);
      const supportLogprobs = check.requested("supportLogprobs", "[R]", args.supportLogprobs, R);
      return call(
        "sample",
        {
          R,
          V,
          dtype: 0,
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
        },
        () => {
          const wrong = tokens.indexOf(-1);
          if (wrong >= 0) {
            check.fail("a row of logits [R, V] to hold a number above −∞ and no NaN", `row ${wrong} without`);
          }
          return { tokens, logprobs, ...(supportLogprobs && { supportLogprobs }) };
        },
      );
    },
  };
}
