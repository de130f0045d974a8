/** Log-probs under a policy as it is, and under one as it was: the reference of a KL penalty. */

import { floatsOf } from "./ops/halves.ts";
import type { Floats } from "./ops/ops.ts";
import type { Parameters } from "./parameters.ts";
import type { Policy, Reference, ReferenceWeights, TargetBatch } from "./policy.ts";

/** The log-probs of a batch's targets under the policy as it is, `[N]` in nats. */
export function measureLogprobs(policy: Pick<Policy, "ops" | "forward">, batch: TargetBatch): Floats {
  const { targetOffsets, targets } = batch;
  const logprobs = policy.ops.allocate(targets.length);
  policy.ops.logprobs({ logits: policy.forward(batch).logits, targetOffsets, targets, logprobs });
  return logprobs;
}

/** A reference that shares a policy's parameters until a step moves them, and from then on changes places with them to be measured. */
export function referenceOn(
  policy: Pick<Policy, "ops" | "forward">,
  parameters: Parameters,
  from: ReferenceWeights | undefined,
): Reference {
  const snapshot = parameters.snapshot(from);
  return {
    logprobs: (batches) => parameters.exchanged(snapshot, () => batches.map((batch) => measureLogprobs(policy, batch))),
    get bytes() {
      return snapshot.bytes;
    },
    get weights() {
      return snapshot.weights;
    },
    separate: () => snapshot.separate(),
  };
}

/** The reference that a policy makes of itself, or a clone of it where it makes none. Arguments as of `Policy.reference`. */
export function referenceOf(policy: Policy, from?: ReferenceWeights): Reference {
  return policy.reference?.(from) ?? clonedReference(policy.clone(), from);
}

function clonedReference(clone: Policy, from: ReferenceWeights | undefined): Reference {
  const parameters = clone.parameters();
  const numbers = parameters.reduce((sum, { data }) => sum + data.length, 0);
  if (from !== undefined) {
    const values = floatsOf(from);
    if (values.length !== numbers) {
      throw new RangeError(`reference: expected ${numbers} weights, received ${values.length}`);
    }
    let begin = 0;
    for (const { data } of parameters) data.set(values.subarray(begin, (begin += data.length)));
  }
  return {
    logprobs: (batches) => batches.map((batch) => measureLogprobs(clone, batch)),
    bytes: parameters.reduce((sum, { data }) => sum + data.byteLength, 0),
    get weights() {
      const weights = clone.ops.allocate(numbers);
      let begin = 0;
      for (const { data } of parameters) {
        weights.set(data, begin);
        begin += data.length;
      }
      return weights;
    },
    separate: () => undefined,
  };
}

/** Which policy is the reference of a run. */
export interface ReferenceState {
  /** the iteration after which the policy was as the reference is; 0: before the first */
  readonly since: number;
  /** live, not a copy */
  readonly weights: ReferenceWeights;
}

/** The reference of a run: the policy as it was at the start, or as it was after the latest of every so many iterations. */
export class RunReference {
  readonly #policy: Policy;
  readonly #every: number;
  #current: Reference;
  #since: number;

  /** @param every iterations between two references; 0: there is one */
  constructor(policy: Policy, every: number, from?: ReferenceState) {
    this.#policy = policy;
    this.#every = every;
    this.#current = referenceOf(policy, from?.weights);
    this.#since = from?.since ?? 0;
  }

  get current(): Reference {
    return this.#current;
  }

  /** Takes the policy as the reference where it is time. */
  after(iteration: number): void {
    if (this.#every === 0 || iteration % this.#every !== 0) return;
    this.#current = referenceOf(this.#policy);
    this.#since = iteration;
  }

  get state(): ReferenceState {
    return { since: this.#since, weights: this.#current.weights };
  }
}
