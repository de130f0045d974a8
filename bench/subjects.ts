/** Everything that can be timed, in the order of the table. */

import { attentionBench } from "./attention.bench.ts";
import type { Subject } from "./harness.ts";
import { generateBench } from "./generate.bench.ts";
import { halfRowsBench } from "./half-rows.bench.ts";
import { linearBench } from "./linear.bench.ts";
import { linearLogprobsBench } from "./linear-logprobs.bench.ts";
import { logprobsBench } from "./logprobs.bench.ts";
import { modelBackwardBench } from "./model-backward.bench.ts";
import { modelBench } from "./model.bench.ts";
import { optimizerBench } from "./optimizer.bench.ts";
import { policyLossBench } from "./policy-loss.bench.ts";
import { policyUpdateBench } from "./policy-update.bench.ts";
import { sampleBench } from "./sample.bench.ts";
import { trainStepBench } from "./train-step.bench.ts";
import { valueLossBench } from "./value-loss.bench.ts";

export const allSubjects: readonly Subject[] = [
  ...logprobsBench,
  ...linearLogprobsBench,
  ...policyUpdateBench,
  ...halfRowsBench,
  ...policyLossBench,
  ...valueLossBench,
  ...optimizerBench,
  ...linearBench,
  ...modelBench,
  ...modelBackwardBench,
  ...attentionBench,
  ...sampleBench,
  ...trainStepBench,
  ...generateBench,
];
