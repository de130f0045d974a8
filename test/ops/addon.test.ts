import { describe, expect, it } from "vitest";
import { loadAddon } from "../../src/ops/addon.ts";

const kernels = Object.values(loadAddon().backends)[0];
const rows = {
  T: 2,
  N: 2,
  V: 3,
  dtype: 0,
  ignoreIndex: -1,
  temperature: 1,
  logitScale: 1,
  softcap: 0,
  logits: new Float32Array(6),
  targetOffsets: Int32Array.of(0, 1, 2),
  targets: Int32Array.of(0, 2),
  lse: new Float32Array(2),
  logprobs: new Float32Array(2),
};

describe("the addon refuses what its own sizes do not cover", () => {
  it.each([
    ["an array that is too short", { logits: new Float32Array(5) }, "logits to be [T V], 6 elements and not 5"],
    [
      "offsets without their last",
      { targetOffsets: Int32Array.of(0, 1) },
      "targetOffsets to be [T+1], 3 elements and not 2",
    ],
    ["sizes whose product overflows", { T: 2 ** 40, V: 2 ** 40 }, "logits to be [T V], -1 elements and not 6"],
    ["a negative size", { V: -3 }, "logits to be [T V], -1 elements and not 6"],
    ["floats where the dtype asks for halves", { dtype: 1 }, "logits to be a Uint16Array"],
    ["halves where the dtype asks for floats", { logits: new Uint16Array(6) }, "logits to be a Float32Array"],
    ["a missing array", { targets: undefined }, "targets to be an array"],
    ["a missing size", { N: undefined }, "N to be a number"],
  ])("%s", (_name, change, message) => {
    expect(() => kernels["logprobs"]({ ...rows, ...change })).toThrow(`logprobs: expected ${message}`);
  });

  it("takes what fits", () => {
    kernels["logprobs"](rows);
    expect(Array.from(rows.logprobs)).toEqual([Math.fround(-Math.log(3)), Math.fround(-Math.log(3))]);
  });
});
