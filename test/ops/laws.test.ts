import { afterEach, describe, expect, it } from "vitest";
import { cpuIsas, numThreads, openOps, setNumThreads } from "../../src/ops/native.ts";
import type { Ops } from "../../src/ops/ops.ts";
import { cases } from "../support/cases.ts";
import { float32 } from "../support/cases/op-case.ts";
import type { Outcome } from "../support/cases/op-case.ts";
import { bits } from "../support/close.ts";
import { rowLaws } from "../support/row-laws.ts";
import { throughViews } from "../support/views.ts";

const threads = numThreads();
afterEach(() => setNumThreads(threads));

/** A product of matrices has a fixed order only where it is our own. */
const portable = (isa: string): Ops => openOps("cpu", { isa, blas: false });

function expectSameBits(got: Outcome, expected: Outcome, what: string): void {
  expect(Object.keys(got)).toEqual(Object.keys(expected));
  for (const [output, values] of Object.entries(got)) {
    if (bits(values) !== bits(expected[output])) expect(values, `${what}: ${output}`).toEqual(expected[output]);
    expect(bits(values), `${what}: ${output}`).toBe(bits(expected[output]));
  }
}

describe.each(cpuIsas())("%s", (isa) => {
  describe.each(rowLaws)("$op", (law) => {
    it("gives a row the bits that it has alone", () => {
      const ops = portable(isa);
      const whole = law.run(ops, 0, law.rows);
      for (let row = 0; row < law.rows; row++) {
        expectSameBits(law.run(ops, row, row + 1), law.slice(whole, row, row + 1), `row ${row}`);
      }
      for (const cut of [1, 2, 3, 5, 8].filter((cut) => cut < law.rows)) {
        expectSameBits(law.run(ops, 0, cut), law.slice(whole, 0, cut), `the first ${cut} rows`);
        expectSameBits(law.run(ops, cut, law.rows), law.slice(whole, cut, law.rows), `rows from ${cut}`);
      }
    });

    it("gives the same bits with any number of threads", () => {
      const ops = portable(isa);
      setNumThreads(1);
      const alone = law.run(ops, 0, law.rows);
      for (const count of [2, 3, 7]) {
        setNumThreads(count);
        expectSameBits(law.run(ops, 0, law.rows), alone, `${count} threads`);
      }
    });
  });

  it("gives every case of the table the same bits with any number of threads", () => {
    const ops = portable(isa);
    for (const { op, name, run } of cases) {
      setNumThreads(1);
      const alone = run(ops, float32);
      setNumThreads(3);
      expectSameBits(run(ops, float32), alone, `${op}: ${name}`);
    }
  });

  it("gives views at odd offsets the bits of whole arrays, and writes nothing around them", () => {
    const ops = portable(isa);
    const viewing = throughViews(ops);
    for (const { op, name, run } of cases) expectSameBits(run(viewing, float32), run(ops, float32), `${op}: ${name}`);
  });
});
