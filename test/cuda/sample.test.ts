import { describe, expect, it } from "vitest";
import { openOps } from "../../src/ops/native.ts";
import type { Ops } from "../../src/ops/ops.ts";
import { sampleArguments, sampleSupports } from "../support/cases/sample.ts";
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
