/** What the outside supplies: problems, a judge of finished solutions, and something that writes them. Tokens are ids ≥ 0. */

export interface Problem {
  readonly id: string;
  /** token ids; at least one when the problem's tree is packed, because its last token predicts the first of a solution */
  readonly prompt: readonly number[];
  readonly answer?: unknown;
  /** the prompt as it was written, of a problem in words */
  readonly text?: string;
}

/**
 * The outcome of a finished solution: 1, 0 or any other real number. A throw, NaN or an infinity means that it could not be
 * verified, which is never a reward.
 */
export type Verifier = (
  problem: Problem,
  completion: readonly number[],
  /** false: its sampler says that it was cut off at its limit; else its tokens tell, if anything does */
  finished?: boolean,
) => number | Promise<number>;

export interface SampleRequest {
  /** token ids to continue */
  readonly prefix: readonly number[];
  /** of the continuation */
  readonly maxTokens: number;
  /** token ids that end a continuation; the one that ended it is kept */
  readonly stop?: readonly number[];
  /** runs of token ids that end a continuation; the one that ended it is kept */
  readonly stopSequences?: readonly (readonly number[])[];
  /** asked after every token whether the continuation may end with it; a sampler that cannot ask writes on */
  readonly finished?: (tokens: readonly number[]) => boolean;
}

/** What a policy said while it wrote, one number per token, in nats; NaN: not known. */
export interface TokenMeasures {
  /** of each token that was written */
  readonly logprobs?: readonly number[] | undefined;
  /** of the distribution that each token was drawn from */
  readonly entropies?: readonly number[] | undefined;
}

export interface Completion extends TokenMeasures {
  /** the continuation alone */
  readonly tokens: readonly number[];
  /** of each token, under the policy that sampled it, in nats */
  readonly logprobs: readonly number[];
  /** false: it was cut off at its limit; undefined: the sampler does not say */
  readonly finished?: boolean | undefined;
  /** tokens that the policy wrote for it, where `tokens` are not its own but characters, say; default their number */
  readonly generated?: number | undefined;
}

export interface Sampler {
  /** One completion per request, in the order of the requests. */
  sample(requests: readonly SampleRequest[]): Promise<readonly Completion[]>;
}

/** A half-open range. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** Cuts a completion into steps: half-open token ranges in order, every token in exactly one. */
export interface Segmenter {
  (completion: readonly number[], measured?: TokenMeasures): readonly Range[];
  /** steps follow what was measured, so that equal tokens with other numbers are cut elsewhere; default no */
  readonly byMeasure?: boolean;
}
