import { describe, expect, it } from "vitest";
import { reference } from "../../src/ops/reference.ts";
import { randomArrays } from "../support/arrays.ts";
import { dot, expectGradient } from "../support/differences.ts";

const ops = reference();
const one = { targetOffsets: Int32Array.of(0, 1), targets: Int32Array.of(0) };
const doubles = (...values: number[]) => Float64Array.from(values);

describe("linearLogprobs", () => {
  it("gives the log-probability of a target under the logits of the head", () => {
    // hidden (1, 2), weight rows (ln 2, 0), (0, 0), (2, −1): logits (ln 2, 0, 0), p = (1/2, 1/4, 1/4), entropy 1.5 ln 2
    const head = { hidden: doubles(1, 2), weight: doubles(Math.LN2, 0, 0, 0, 2, -1) };
    const { logprobs, lse, entropy } = ops.linearLogprobs({ ...one, ...head, entropy: true });
    expect(logprobs[0]).toBeCloseTo(-Math.LN2, 14);
    expect(lse[0]).toBeCloseTo(Math.log(4), 14);
    expect(entropy![0]).toBeCloseTo(1.5 * Math.LN2, 14);
  });

  it("adds the bias, then scales, then caps, then divides by the temperature", () => {
    // products (1, 0), bias (1, 0), scale 3: (6, 0); cap 2: (2 tanh 3, 0); temperature 4: (½ tanh 3, 0)
    const head = { hidden: doubles(1), weight: doubles(1, 0), bias: doubles(1, 0) };
    const settings = { logitScale: 3, softcap: 2, temperature: 4 };
    const { lse, logprobs } = ops.linearLogprobs({ ...one, ...head, ...settings });
    const z = 0.5 * Math.tanh(3);
    expect(lse[0]).toBeCloseTo(Math.log(Math.exp(z) + 1), 14);
    expect(logprobs[0]).toBeCloseTo(z - Math.log(Math.exp(z) + 1), 14);
  });

  it("takes a bias of −∞ as masked vocabulary, and under a softcap as −softcap", () => {
    const head = { hidden: doubles(1), weight: doubles(0, 0, 0), bias: doubles(-Infinity, 0, 0) };
    const masked = ops.linearLogprobs({ ...one, ...head, entropy: true });
    expect(masked.logprobs[0]).toBe(-Infinity);
    expect(masked.entropy![0]).toBeCloseTo(Math.LN2, 14);
    // logits (−1, 0, 0): p of the first is e⁻¹ / (e⁻¹ + 2)
    const capped = ops.linearLogprobs({ ...one, ...head, softcap: 1 });
    expect(capped.logprobs[0]).toBeCloseTo(-1 - Math.log(Math.exp(-1) + 2), 14);
  });

  it("leaves the outputs of rows without targets alone", () => {
    const lse = doubles(7, 7);
    const rows = { targetOffsets: Int32Array.of(0, 0, 1), targets: Int32Array.of(0) };
    ops.linearLogprobs({ ...rows, hidden: doubles(NaN, 1), weight: doubles(0), lse });
    expect(Array.from(lse)).toEqual([7, 0]);
  });
});

describe("linearLogprobsBackward", () => {
  it("carries the pull on the logits to hidden states, weight and bias", () => {
    // p = (1/2, 1/4, 1/4), upstream 2: dlogits (1, −½, −½). dhidden = Σ dlogits · weight = (ln 2 − ½ · 2, ½);
    // dweight = dlogits · hidden, added to 10; dbias = dlogits, added to 20
    const head = { hidden: doubles(1, 2), weight: doubles(Math.LN2, 0, 0, 0, 2, -1) };
    const gradients = {
      dhidden: doubles(NaN, NaN),
      dweight: doubles(...Array<number>(6).fill(10)),
      dbias: doubles(20, 20, 20),
    };
    const saved = { lse: doubles(Math.log(4)), logprobs: doubles(-Math.LN2) };
    ops.linearLogprobsBackward({ ...one, ...head, ...saved, dlogprobs: doubles(2), ...gradients });
    const near = (got: Float64Array, expected: number[]) =>
      expected.forEach((value, i) => expect(got[i]).toBeCloseTo(value, 13));
    near(gradients.dhidden, [Math.LN2 - 1, 0.5]);
    near(gradients.dweight, [11, 12, 9.5, 9, 9.5, 9]);
    near(gradients.dbias, [21, 19.5, 19.5]);
  });

  it.each([{}, { logitScale: 1.7 }, { softcap: 2 }, { logitScale: 0.6, softcap: 3 }])(
    "is the slope of log-probs and entropies, with %o and a temperature per row",
    (settings) => {
      const draw = randomArrays(3);
      const [H, V, T] = [3, 5, 4];
      const normals = (count: number) => Float64Array.from(draw.normals(count));
      const head = {
        hidden: normals(T * H),
        weight: normals(V * H),
        bias: normals(V),
        targetOffsets: Int32Array.of(0, 1, 1, 4, 5),
        targets: Int32Array.of(2, 4, 4, 0, 3),
        temperature: doubles(1, 0.7, 0.5, 2),
        ...settings,
      };
      const [dlogprobs, dentropy] = [draw.normals(5), draw.normals(T)];
      const objective = () => {
        const { logprobs, entropy } = ops.linearLogprobs({ ...head, entropy: true });
        return dot(dlogprobs, logprobs) + dot(dentropy, entropy!);
      };
      const { lse, logprobs, entropy } = ops.linearLogprobs({ ...head, entropy: true });
      const [dhidden, dweight, dbias] = [T * H, V * H, V].map((length) => new Float64Array(length));
      const saved = { lse, logprobs, entropy: entropy! };
      ops.linearLogprobsBackward({ ...head, ...saved, dlogprobs, dentropy, dhidden, dweight, dbias });
      expectGradient(dhidden, objective, head.hidden, "dhidden");
      expectGradient(dweight, objective, head.weight, "dweight");
      expectGradient(dbias, objective, head.bias, "dbias");
    },
  );
});
