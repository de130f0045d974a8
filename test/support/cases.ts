/**
 * The case table: every op on the shapes and values that break kernels. The same cases run on every backend; the reference
 * says what they should give.
 */

import { attentionCases } from "./cases/attention.ts";
import { halfCases } from "./cases/half-rows.ts";
import { linearLogprobsCases } from "./cases/linear-logprobs.ts";
import { logprobsCases } from "./cases/logprobs.ts";
import { lossCases } from "./cases/loss.ts";
import { lossFamilyCases } from "./cases/loss-family.ts";
import { modelCases } from "./cases/model.ts";
import { optimizerCases } from "./cases/optimizer.ts";
import type { OpCase } from "./cases/op-case.ts";
import { sampleCases } from "./cases/sample.ts";
import { updateCases } from "./cases/update.ts";

export type { OpCase } from "./cases/op-case.ts";

export const cases: readonly OpCase[] = [
  ...logprobsCases(),
  ...linearLogprobsCases(),
  ...halfCases(),
  ...lossCases(),
  ...lossFamilyCases(),
  ...updateCases(),
  ...optimizerCases(),
  ...sampleCases(),
  ...modelCases(),
  ...attentionCases(),
];
