/** Whether a backend agrees with the reference on a case of the table, and on rows that cannot be drawn from. */

import { expect } from "vitest";
import type { Ops } from "../../src/ops/ops.ts";
import { reference } from "../../src/ops/reference.ts";
import type { OpCase } from "./cases.ts";
import { sampleArguments } from "./cases/sample.ts";
import { float32, float64, type Outcome } from "./cases/op-case.ts";
import { expectClose } from "./close.ts";

const truthOf = reference();
const plainOf = reference(Math.fround);

/** What the reference gives for a case, the same for every backend. */
const expected = new Map<OpCase, { readonly truth: Outcome; readonly plain: Outcome }>();

/** Runs a case on a backend, and compares with the reference within the error of plain code at f32. */
export function expectAgreement(ops: Ops, opCase: OpCase): void {
  const { name, run, scale, ulps } = opCase;
  const known = expected.get(opCase) ?? { truth: run(truthOf, float64), plain: run(plainOf, float64) };
  expected.set(opCase, known);
  const { truth, plain } = known;
  const kernel = run(ops, float32);
  expect(Object.keys(kernel)).toEqual(Object.keys(truth));
  for (const [output, values] of Object.entries(kernel)) {
    const what = `${name}: ${output}`;
    if (values instanceof Int32Array) {
      expect(values, what).toEqual(truth[output]);
    } else {
      expectClose(values, truth[output], plain[output], { what, ulps: ulps ?? 4, scale: scale?.[output] ?? 0 });
    }
  }
}

/** `sample` draws the rows that can be drawn from, and names the first that cannot. */
export function expectSampleNamesBadRows(ops: Ops): void {
  const args = { ...sampleArguments(6, 33), tokens: new Int32Array(6), logprobs: new Float32Array(6) };
  args.logits.fill(-Infinity, 2 * 33, 3 * 33);
  args.logits[4 * 33 + 32] = NaN;
  for (const options of [{}, { temperature: 0 }, { topK: 4, topP: 0.9 }]) {
    const truth = truthOf.sample({ ...args, ...options, tokens: new Int32Array(6), logprobs: new Float64Array(6) });
    expect(() => ops.sample({ ...args, ...options })).toThrow(/row 2/);
    expect(args.tokens).toEqual(truth.tokens);
    expect(Array.from(args.logprobs, Number.isNaN)).toEqual([false, false, true, false, true, false]);
  }
}
