import { describe, expect, it } from "vitest";
import { cpuIsas, openOps } from "../../src/ops/native.ts";
import type { Ops } from "../../src/ops/ops.ts";
import { reference } from "../../src/ops/reference.ts";
import type { OpCase } from "../support/cases.ts";
import { cases } from "../support/cases.ts";
import { sampleArguments } from "../support/cases/sample.ts";
import { float32, float64, type Outcome } from "../support/cases/op-case.ts";
import { expectClose } from "../support/close.ts";

const isas = ["generic", "avx2", "avx512", "neon"];

/** Every instruction set with our own matrix product, and the backend that users get, with the BLAS the build found. */
const backends: readonly { readonly name: string; readonly present: boolean; readonly open: () => Ops }[] = [
  ...isas.map((isa) => ({
    name: `cpu/${isa}`,
    present: cpuIsas().includes(isa),
    open: () => openOps("cpu", { isa, blas: false }),
  })),
  { name: "cpu, as opened by default", present: true, open: () => openOps("cpu") },
];

const truthOf = reference();
const plainOf = reference(Math.fround);

describe.each(backends)("$name agrees with the reference", ({ present, open }) => {
  for (const opCase of cases) {
    it.skipIf(!present)(`${opCase.op}: ${opCase.name}`, () => expectAgreement(open(), opCase));
  }

  it.skipIf(!present)("sample draws the other rows, and names a row it cannot draw from", () => {
    const args = { ...sampleArguments(6, 33), tokens: new Int32Array(6), logprobs: new Float32Array(6) };
    args.logits.fill(-Infinity, 2 * 33, 3 * 33);
    args.logits[4 * 33 + 32] = NaN;
    for (const options of [{}, { temperature: 0 }, { topK: 4, topP: 0.9 }]) {
      const truth = truthOf.sample({ ...args, ...options, tokens: new Int32Array(6), logprobs: new Float64Array(6) });
      expect(() => open().sample({ ...args, ...options })).toThrow(/row 2/);
      expect(args.tokens).toEqual(truth.tokens);
      expect(Array.from(args.logprobs, Number.isNaN)).toEqual([false, false, true, false, true, false]);
    }
  });
});

/** What the reference gives for a case, the same for every backend. */
const expected = new Map<OpCase, { readonly truth: Outcome; readonly plain: Outcome }>();

function expectAgreement(ops: Ops, opCase: OpCase): void {
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
