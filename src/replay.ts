/** Supervised steps on verified solutions of earlier iterations, in the problem's own format, in the repair format and as critiques. */

import { packSequences, type Batch } from "./batch.ts";
import { AdamW, type AdamWState } from "./optimizer.ts";
import type { Policy } from "./policy.ts";
import { Random } from "./random.ts";
import { supervisedStep } from "./supervised.ts";
import type { Task } from "./tasks/task.ts";
import {
  critiqueSequence,
  evenReplay,
  newestReplay,
  repairSequence,
  replayEntries,
  splitSteps,
  type ReplayBuffer,
  type ReplayEntry,
  type ReplayState,
  type Tree,
} from "./trajectory/index.ts";

export interface ReplayConfig {
  /** what is learned again: solutions of problems, repairs of failed solutions, both; critiques of these; or all three */
  readonly of: "solutions" | "repairs" | "both" | "critiques" | "all";
  /** after every iteration, of each kind */
  readonly steps: number;
  /** sequences per step */
  readonly batch: number;
  readonly lr: number;
  /** pairs of a failure and a success that are kept */
  readonly capacity: number;
  /** which those are: the newest (default), or an even sample of all that there were */
  readonly keep?: "newest" | "even";
}

export interface ReplayMetrics {
  /** pairs that are kept */
  readonly entries: number;
  /** steps of its optimizer, in this iteration */
  readonly steps: number;
  /** −log-prob per token, nats, mean over the steps; 0 where there were none */
  readonly loss: number;
}

export const noReplay: ReplayMetrics = { entries: 0, steps: 0, loss: 0 };

/** Where a replay is between two iterations. */
export interface ReplayProgress extends ReplayState {
  /** of the generator that draws batches */
  readonly random: number;
  readonly optimizer: AdamWState;
}

type ReplayTask = Pick<Task, "repair" | "critique" | "segment">;

const kindsOf = {
  solutions: ["solutions"],
  repairs: ["repairs"],
  both: ["solutions", "repairs"],
  critiques: ["critiques"],
  all: ["solutions", "repairs", "critiques"],
} as const satisfies Record<ReplayConfig["of"], readonly string[]>;

type Kind = (typeof kindsOf)["all"][number];

export class Replay {
  readonly #config: ReplayConfig;
  readonly #task: ReplayTask;
  readonly #buffer: ReplayBuffer;
  readonly #random: Random;
  readonly #optimizer: AdamW;

  /** @param task how it asks for repairs and critiques; where it does not there is nothing to replay of them */
  constructor(
    config: ReplayConfig & { readonly beta1: number; readonly beta2: number; readonly maxGradNorm: number },
    task: ReplayTask,
    seed: number,
    from?: ReplayProgress,
  ) {
    this.#config = config;
    this.#task = task;
    this.#random = new Random(from?.random ?? seed);
    const { capacity, keep = "newest" } = config;
    this.#buffer = keep === "even" ? evenReplay(capacity, this.#random.next, from) : newestReplay(capacity, from);
    this.#optimizer = new AdamW(config);
    if (from !== undefined) this.#optimizer.restore(from.optimizer);
  }

  /** Takes in the verified solutions of an iteration, then makes its steps. */
  train(policy: Policy, trees: readonly Tree[]): ReplayMetrics {
    this.#buffer.add(replayEntries(trees));
    const { entries } = this.#buffer.state;
    const { steps, of } = this.#config;
    if (entries.length === 0) return noReplay;
    const losses: number[] = [];
    for (const kind of kindsOf[of]) {
      for (let step = 0; step < steps; step++) {
        const batch = this.#batch(entries, kind);
        if (batch !== undefined) losses.push(supervisedStep(policy, this.#optimizer, batch));
      }
    }
    const loss = losses.reduce((sum, value) => sum + value, 0) / Math.max(1, losses.length);
    return { entries: entries.length, steps: losses.length, loss };
  }

  /** steps of its optimizer so far */
  get steps(): number {
    return this.#optimizer.steps;
  }

  /** The optimizer's arrays are its own, not copies. */
  get state(): ReplayProgress {
    return { ...this.#buffer.state, random: this.#random.state, optimizer: this.#optimizer.state };
  }

  #batch(entries: readonly ReplayEntry[], kind: Kind): Batch | undefined {
    const drawn = Array.from({ length: this.#config.batch }, () => entries[this.#random.below(entries.length)]);
    const sequences = drawn.flatMap((entry) => sequenceOf(kind, entry, this.#task) ?? []);
    if (sequences.length === 0) return undefined;
    return packSequences(
      sequences.map(({ tokens }) => tokens),
      { from: sequences.map(({ from }) => from) },
    );
  }
}

/** What is learned of an entry; null: nothing. */
function sequenceOf(
  kind: Kind,
  { problem, failed, success }: ReplayEntry,
  { repair, critique, segment }: ReplayTask,
): { readonly tokens: readonly number[]; readonly from: number } | null {
  switch (kind) {
    case "solutions":
      return { tokens: [...problem.prompt, ...success], from: problem.prompt.length };
    case "repairs":
      return repair === undefined ? null : repairSequence(repair, problem, failed, success);
    case "critiques": {
      // Steps that follow measurements cannot be found again without them.
      if (critique === undefined || segment.byMeasure === true) return null;
      const [wrong, right] = [failed, success].map((tokens) => splitSteps(tokens, segment));
      return critiqueSequence(critique, problem, wrong, right);
    }
    default:
      return kind satisfies never;
  }
}
