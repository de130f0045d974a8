import { describe, expect, it } from "vitest";
import { reference } from "../../src/ops/reference.ts";
import { awkwardRows } from "../support/cases/rows.ts";
import { updateArguments } from "../support/cases/update.ts";
import { expectGradient } from "../support/differences.ts";

const ops = reference();
const rows = awkwardRows.find(({ name }) => name === "V = 15")!;
const entropyWeights = Float64Array.of(0.3, 0.2, 0, -0.1);

describe("policyUpdate.clip", () => {
  it("gives the slope of its loss by the logits, entropy included", () => {
    const logits = Float64Array.from(rows.logits);
    const kl = { estimator: "k3", coefficient: 0.1, timesRatio: true } as const;
    const args = { ...updateArguments(rows), logits, kl, entropyWeights };
    const { dlogits } = ops.policyUpdate.clip(args);
    expectGradient(dlogits, () => ops.policyUpdate.clip(args).metrics.loss, logits, "dlogits");
  });

  it("counts the entropy of rows that have targets, times their weight, as a gain", () => {
    const args = updateArguments(rows);
    const { metrics } = ops.policyUpdate.clip(args);
    const { metrics: withEntropy, entropy } = ops.policyUpdate.clip({ ...args, entropyWeights, entropy: true });
    const gain = 0.3 * entropy![0] - 0.1 * entropy![3];
    expect(withEntropy.loss).toBeCloseTo(metrics.loss - gain, 13);
  });
});
