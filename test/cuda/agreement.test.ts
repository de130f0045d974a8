import { beforeAll, describe, it } from "vitest";
import { cudaReport } from "../../src/ops/cuda.ts";
import { openOps } from "../../src/ops/native.ts";
import type { NativeOps } from "../../src/ops/native.ts";
import { expectAgreement, expectSampleNamesBadRows } from "../support/agreement.ts";
import { cases } from "../support/cases.ts";
import { hostPlugin, runsOnHost } from "../support/cuda.ts";

const deviceHere = cudaReport().status === "ready";

const backends = [
  { name: "device code on the host", present: runsOnHost, plugin: hostPlugin },
  { name: "cuda/0", present: deviceHere, plugin: () => cudaReport().path },
];

describe.each(backends)("$name agrees with the reference (skipped where it is not here)", ({ present, plugin }) => {
  let ops: NativeOps;
  beforeAll(() => {
    if (!present) return;
    process.env["STEPCREDIT_CUDA_PLUGIN"] = plugin();
    ops = openOps("cuda");
    return () => delete process.env["STEPCREDIT_CUDA_PLUGIN"];
  });

  for (const opCase of cases) {
    it.skipIf(!present)(`${opCase.op}: ${opCase.name}`, () => expectAgreement(ops, opCase));
  }

  it.skipIf(!present)("sample draws the other rows, and names a row it cannot draw from", () =>
    expectSampleNamesBadRows(ops),
  );
});
