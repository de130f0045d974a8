import { describe, it } from "vitest";
import { cpuIsas, openOps } from "../../src/ops/native.ts";
import type { Ops } from "../../src/ops/ops.ts";
import { expectAgreement, expectSampleNamesBadRows } from "../support/agreement.ts";
import { cases } from "../support/cases.ts";

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

describe.each(backends)("$name agrees with the reference (skipped where it is not here)", ({ present, open }) => {
  for (const opCase of cases) {
    it.skipIf(!present)(`${opCase.op}: ${opCase.name}`, () => expectAgreement(open(), opCase));
  }

  it.skipIf(!present)("sample draws the other rows, and names a row it cannot draw from", () =>
    expectSampleNamesBadRows(open()),
  );
});
