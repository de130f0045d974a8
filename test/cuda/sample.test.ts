import { describe, expect, it } from "vitest";
import { openOps } from "../../src/ops/native.ts";
import type { Ops, SampleArguments } from "../../src/ops/ops.ts";
import { sampleArguments, sampleSupports } from "../support/cases/sample.ts";
import { bits } from "../support/close.ts";
import { runsOnHost } from "../support/cuda.ts";
import { onHostDevice } from "../support/host-device.ts";

let ops: Ops;
const cpu = openOps("cpu");

onHostDevice(() => (ops = openOps("cuda")));

describe.skipIf(!runsOnHost).each(sampleSupports)("sample in device code, %s", (_name, options) => {
  it.each([1, 2 ** 53 - 1])("draws the tokens of the CPU with seed %d", (seed) => {
    for (const V of [3, 300]) {
      const args = sampleArguments(4, V, { ...options, seed });
      const [device, host] = [ops, cpu].map((backend) => backend.sample({ ...args, supportLogprobs: true }));
      expect(device.tokens, `V = ${V}`).toEqual(host.tokens);
      for (const output of ["logprobs", "supportLogprobs"] as const) {
        device[output]!.forEach((logprob, r) => expect(logprob, output).toBeCloseTo(host[output]![r], 4));
      }
    }
  });
});

/** Six rows, the last four with ties in all runs, of logits ever nearer to one, of few allowed ids, and of integers. */
function awkwardRows(V: number, options: Partial<SampleArguments>): SampleArguments {
  const args = sampleArguments(6, V, options);
  const row = (r: number) => args.logits.subarray(r * V, (r + 1) * V) as Float32Array;
  row(2).fill(9, 200);
  const near = row(3);
  near.set(near.map((x) => -Math.abs(x)));
  near.set([8, -1e30, 2 ** -10]);
  for (let j = 0; j < 23; ++j) near.set([2 ** -10 * (1 + 2 ** -j), 2 ** -10 * (1 - 2 ** -j / 2)], V - 46 + 2 * j);
  row(4).fill(-Infinity, 20);
  row(5).set(row(5).map(Math.round));
  return args;
}

/** Rows of several runs of ids; fewer than the four multiprocessors of the device share its blocks. */
describe.skipIf(!runsOnHost)("sample in device code of few long rows", () => {
  const part = (args: SampleArguments, V: number, first: number, last: number): SampleArguments => ({
    ...args,
    logits: (args.logits as Float32Array).slice(first * V, last * V),
    streams: args.streams.slice(first, last),
    positions: args.positions.slice(first, last),
    supportLogprobs: true,
  });

  it.each([
    [16385, {}],
    [40001, { temperature: 0.5 }],
    [40001, { temperature: 0 }],
    [40001, { minP: 0.01, temperature: 1.3 }],
    [40001, { topK: 40001 }],
    [40001, { topP: 0.9 }],
    [70001, { topK: 26 }],
    [70001, { topP: 0.9 }],
    [70001, { topP: 0.999, minP: 0.001 }],
    [70001, { topK: 1000, topP: 0.7, minP: 0.001, temperature: 1.3 }],
  ])("V = %i, %j: gives a row the token and the bits that it has among many", (V, options) => {
    const args = awkwardRows(V, options);
    const whole = ops.sample(part(args, V, 0, 6));
    expect(whole.tokens).toEqual(cpu.sample(part(args, V, 0, 6)).tokens);
    for (const [first, last] of [
      [0, 1],
      [1, 4],
      [4, 6],
    ]) {
      const few = ops.sample(part(args, V, first, last));
      expect(few.tokens).toEqual(whole.tokens.slice(first, last));
      for (const output of ["logprobs", "supportLogprobs"] as const)
        expect(bits(few[output] as Float32Array), `${output} of rows ${first} to ${last}`).toBe(
          bits((whole[output] as Float32Array).slice(first, last)),
        );
    }
  });

  it.each([
    [20000, {}],
    [70001, { topK: 9, topP: 0.9 }],
  ])("V = %i, %j: draws the other rows, and names a row that it cannot draw from", (V, options) => {
    const args = sampleArguments(3, V, options);
    const tokens = new Int32Array(3);
    args.logits.fill(-Infinity, V, 2 * V);
    expect(() => ops.sample({ ...args, tokens })).toThrow(/row 1/);
    const others = [0, 2].map((r) => cpu.sample(part(args, V, r, r + 1)).tokens[0]);
    expect(Array.from(tokens)).toEqual([others[0], -1, others[1]]);
    args.logits[3 * V - 1] = NaN;
    args.logits.fill(0, V, 2 * V);
    for (const temperature of [0, 1]) expect(() => ops.sample({ ...args, temperature })).toThrow(/row 2/);
  });
});
