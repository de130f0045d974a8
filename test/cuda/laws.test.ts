import { describe, expect, it } from "vitest";
import { openOps } from "../../src/ops/native.ts";
import type { NativeOps } from "../../src/ops/native.ts";
import type { Outcome } from "../support/cases/op-case.ts";
import { bits } from "../support/close.ts";
import { runsOnHost } from "../support/cuda.ts";
import { onHostDevice } from "../support/host-device.ts";
import { rowLaws } from "../support/row-laws.ts";

function expectSameBits(got: Outcome, expected: Outcome, what: string): void {
  for (const [output, values] of Object.entries(got))
    expect(bits(values), `${what}: ${output}`).toBe(bits(expected[output]));
}

describe.skipIf(!runsOnHost)("device code on the host", () => {
  let ops: NativeOps;
  onHostDevice(() => (ops = openOps("cuda")));

  it.each(rowLaws)("$op gives a row the bits that it has alone, wherever it lies", (law) => {
    const whole = law.run(ops, 0, law.rows);
    for (let row = 0; row < law.rows; row++)
      expectSameBits(law.run(ops, row, row + 1), law.slice(whole, row, row + 1), `row ${row}`);
    for (const cut of [1, 3, 8].filter((each) => each < law.rows))
      expectSameBits(law.run(ops, cut, law.rows), law.slice(whole, cut, law.rows), `rows from ${cut}`);
  });
});
