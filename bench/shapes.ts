/** The shapes that benches time, named after what they stand for. One table for all ops. */

/** A head's rows of logits. */
export interface Head {
  readonly name: string;
  /** T */
  readonly rows: number;
  /** V */
  readonly vocabulary: number;
}

export const heads: readonly Head[] = [
  { name: "qwen2.5-0.5b", rows: 512, vocabulary: 151936 },
  { name: "llama-2", rows: 1024, vocabulary: 32000 },
];

/** A head with the hidden states that it reads. */
export interface FusedHead extends Head {
  /** H */
  readonly hidden: number;
}

export const fusedHeads: readonly FusedHead[] = [
  { name: "qwen2.5-0.5b", rows: 512, vocabulary: 151936, hidden: 896 },
  { name: "small", rows: 2048, vocabulary: 32000, hidden: 64 },
];

/** Rows of a decoding batch. */
export const decodingHead: Head = { name: "llama-2-decode", rows: 256, vocabulary: 32000 };

/** A layer's activations. */
export interface Layer {
  readonly name: string;
  /** T */
  readonly rows: number;
  /** H */
  readonly hidden: number;
  /** of the wide side: O of the linear layer, F of SwiGLU */
  readonly wide: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** D */
  readonly headSize: number;
}

export const layers: readonly Layer[] = [
  { name: "qwen2.5-0.5b", rows: 512, hidden: 896, wide: 896 * 4, heads: 14, kvHeads: 2, headSize: 64 },
];

/** A layer of the training step's policy, as many rows as one of its stretches. */
export const smallLayer: Layer = {
  name: "small",
  rows: 2048,
  hidden: 128,
  wide: 512,
  heads: 4,
  kvHeads: 4,
  headSize: 32,
};

/** Flat arrays: targets of an update, parameters of a policy. */
export interface Flat {
  readonly name: string;
  readonly count: number;
}

export const targetCounts: readonly Flat[] = [{ name: "1m", count: 2 ** 20 }];
export const parameterCounts: readonly Flat[] = [{ name: "10m", count: 10_000_000 }];

/** Rollouts that share their beginning: `branches` of `length` tokens, the first `shared` of them the same. */
export interface Rollouts {
  readonly name: string;
  readonly branches: number;
  readonly length: number;
  readonly shared: number;
}

/** T of the packed rollouts. */
export const uniqueTokens = ({ branches, length, shared }: Rollouts): number => shared + branches * (length - shared);

export const attentionTrees: readonly Rollouts[] = [
  { name: "chain", branches: 1, length: 1024, shared: 0 },
  { name: "8-share-75", branches: 8, length: 1024, shared: 768 },
];

/** Of a transformer policy. */
export interface PolicySize {
  readonly vocabulary: number;
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads?: number;
  readonly intermediate: number;
  readonly tieEmbeddings?: boolean;
}

/** Weights that a token is multiplied by. */
export function matrixWeights({
  vocabulary,
  hidden,
  layers,
  heads,
  kvHeads = heads,
  intermediate,
}: PolicySize): number {
  const projections = 2 * hidden * hidden * (1 + kvHeads / heads);
  return layers * (projections + 3 * hidden * intermediate) + vocabulary * hidden;
}

/** A policy and the rollouts of one update. */
export interface Training {
  readonly name: string;
  readonly policy: PolicySize;
  readonly problems: number;
  readonly rollouts: Rollouts;
}

/** A policy and what it continues. */
export interface Generating {
  readonly name: string;
  readonly policy: PolicySize;
  readonly prompts: number;
  readonly promptLength: number;
  /** of every continuation, none of which ends earlier */
  readonly maxTokens: number;
}

/** stories260K, a published model of 260 thousand parameters. */
const storiesPolicy: PolicySize = {
  vocabulary: 512,
  hidden: 64,
  layers: 5,
  heads: 8,
  kvHeads: 4,
  intermediate: 172,
  tieEmbeddings: true,
};

const smallPolicy = { vocabulary: 512, hidden: 128, layers: 4, heads: 4, intermediate: 512 };

export const trainings: readonly Training[] = [
  {
    name: "unshared",
    policy: smallPolicy,
    problems: 512,
    rollouts: { name: "1", branches: 1, length: 64, shared: 0 },
  },
  {
    name: "8-share-75",
    policy: smallPolicy,
    problems: 64,
    rollouts: { name: "8-share-75", branches: 8, length: 64, shared: 48 },
  },
  {
    name: "stories260k",
    policy: storiesPolicy,
    problems: 128,
    rollouts: { name: "1", branches: 1, length: 256, shared: 0 },
  },
];

export const generations: readonly Generating[] = [
  { name: "small", policy: smallPolicy, prompts: 64, promptLength: 16, maxTokens: 128 },
  { name: "stories260k", policy: storiesPolicy, prompts: 64, promptLength: 16, maxTokens: 128 },
];
