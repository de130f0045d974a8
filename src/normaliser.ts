/**
 * Normalisers: how the losses of single targets become one number. Every convention in use is a weight per target,
 *
 *   loss = Σ_n weights[n] · l[n]        dloss/dl[n] = weights[n],
 *
 * so it can be read and tested here, and a loss kernel only multiplies. Denominators are named and returned; none of them
 * is the padded width of a batch. Micro-batches add up to the whole batch exactly when the denominator is that of the whole
 * batch: give `globalTokens` or `globalSequences` (the count over all micro-batches and processes), or a constant.
 *
 * B sequences, N targets. `sequenceOffsets [B + 1]`: sequence b owns the targets sequenceOffsets[b] … sequenceOffsets[b + 1);
 * its length n_b counts present targets only, and a sequence may be empty. All functions throw a TypeError for the wrong
 * kind of argument and a RangeError for a wrong size or value.
 */

/** Weights of all targets, and the number behind each of them. */
export interface Normaliser {
  /** `[N]` multiplies the loss of a target; constant within a sequence: 1 / denominators[b] */
  readonly weights: Float64Array;
  /** `[B]` what the summed loss of a sequence is divided by */
  readonly denominators: Float64Array;
}

/** Divides every weight once more, e.g. by the number of accumulated micro-batches. */
export interface LossDivisor {
  /** > 0, default 1 */
  readonly lossDivisor?: number;
}

/** For gradients that are averaged over `processes` afterwards: their mean of sums must become a sum again. */
export interface DataParallel {
  /** number of data-parallel processes, default 1 */
  readonly processes?: number;
}

export interface SequenceMeanOptions extends LossDivisor, DataParallel {
  /** whether a sequence without targets counts in the mean over sequences; default "counted" */
  readonly emptySequences?: "counted" | "excluded";
  /** replaces the number of sequences here by that of the whole batch */
  readonly globalSequences?: number;
}

/** Σ l / N; with `globalTokens` Σ l / globalTokens · processes. Every token counts the same, whichever sequence holds it. */
export function tokenMean(
  sequenceOffsets: Int32Array,
  options: LossDivisor & DataParallel & { readonly globalTokens?: number } = {},
): Normaliser {
  const targets = sequenceLengths("tokenMean", sequenceOffsets).reduce((sum, length) => sum + length, 0);
  const tokens = options.globalTokens ?? targets;
  requireAtLeast("tokenMean", "globalTokens", tokens, 0);
  const processes = options.globalTokens === undefined ? 1 : positive("tokenMean", "processes", options.processes);
  const divisor = positive("tokenMean", "lossDivisor", options.lossDivisor);
  return fromDenominators(sequenceOffsets, () => (Math.max(1, tokens) / processes) * divisor);
}

/** Σ l · processes: no denominator; the step grows with the batch. */
export function tokenSum(sequenceOffsets: Int32Array, options: LossDivisor & DataParallel = {}): Normaliser {
  sequenceLengths("tokenSum", sequenceOffsets);
  const processes = positive("tokenSum", "processes", options.processes);
  const divisor = positive("tokenSum", "lossDivisor", options.lossDivisor);
  return fromDenominators(sequenceOffsets, () => divisor / processes);
}

/**
 * Σ l / (B · constant), empty sequences included. The constant (a token budget per sequence, say) removes the length bias of
 * a mean over tokens. Source: Liu et al. 2025, arXiv:2503.20783 (Dr. GRPO).
 */
export function constantDenominator(
  sequenceOffsets: Int32Array,
  options: LossDivisor & { readonly constant: number },
): Normaliser {
  const lengths = sequenceLengths("constantDenominator", sequenceOffsets);
  const constant = positive("constantDenominator", "constant", options.constant);
  const divisor = positive("constantDenominator", "lossDivisor", options.lossDivisor);
  return fromDenominators(sequenceOffsets, () => lengths.length * constant * divisor);
}

/** Mean over sequences of their mean over tokens: every sequence counts the same. Source: arXiv:2402.03300, eq. 3 (GRPO). */
export function sequenceMeanTokenMean(sequenceOffsets: Int32Array, options: SequenceMeanOptions = {}): Normaliser {
  const sequences = sequenceDivisor("sequenceMeanTokenMean", sequenceOffsets, options);
  return fromDenominators(sequenceOffsets, (length) => Math.max(1, length) * sequences);
}

/** Mean over sequences of their sum over tokens. */
export function sequenceMeanTokenSum(sequenceOffsets: Int32Array, options: SequenceMeanOptions = {}): Normaliser {
  const sequences = sequenceDivisor("sequenceMeanTokenSum", sequenceOffsets, options);
  return fromDenominators(sequenceOffsets, () => sequences);
}

/** Mean over sequences of their sum over tokens, divided by a constant: `constantDenominator` that may skip the empty ones. */
export function sequenceMeanTokenSumNorm(
  sequenceOffsets: Int32Array,
  options: SequenceMeanOptions & { readonly constant: number },
): Normaliser {
  const sequences = sequenceDivisor("sequenceMeanTokenSumNorm", sequenceOffsets, options);
  const constant = positive("sequenceMeanTokenSumNorm", "constant", options.constant);
  return fromDenominators(sequenceOffsets, () => sequences * constant);
}

/**
 * Mean over prompts of the mean over all tokens of the prompt's rollouts.
 *
 * @param options.promptOffsets `[P + 1]` prompt p owns sequences promptOffsets[p] … promptOffsets[p + 1); from 0 to B
 */
export function promptMean(
  sequenceOffsets: Int32Array,
  options: LossDivisor & { readonly promptOffsets: Int32Array },
): Normaliser {
  const lengths = sequenceLengths("promptMean", sequenceOffsets);
  return meanOfTokenMeans("promptMean", sequenceOffsets, lengths, options.promptOffsets, options);
}

/** Mean over consecutive blocks of `sequencesPerMicrobatch` sequences (the last may be shorter) of their token means. */
export function microbatchTokenMean(
  sequenceOffsets: Int32Array,
  options: LossDivisor & { readonly sequencesPerMicrobatch: number },
): Normaliser {
  const lengths = sequenceLengths("microbatchTokenMean", sequenceOffsets);
  const size = options.sequencesPerMicrobatch;
  if (!Number.isSafeInteger(size) || size < 1) {
    throw new RangeError(`microbatchTokenMean: expected sequencesPerMicrobatch to be an integer ≥ 1, received ${size}`);
  }
  const blocks = Math.ceil(lengths.length / size);
  const offsets = Int32Array.from({ length: blocks + 1 }, (_, block) => Math.min(block * size, lengths.length));
  return meanOfTokenMeans("microbatchTokenMean", sequenceOffsets, lengths, offsets, options);
}

/**
 * Σ_b n_b l_b / B for a loss l_b that all targets of a sequence share (one ratio per sequence), which is Σ l / B over targets:
 * it undoes the shrinking of long sequences by the length-normalised ratio. With `width`, for one ratio per token, the mean
 * runs over B · width elements of n_b · l[n] instead; the width is then part of the objective, so prefer the first form.
 *
 * Source: arXiv:2602.05261 (LUSPO).
 */
export function lengthUnbiasedMean(
  sequenceOffsets: Int32Array,
  options: LossDivisor & { readonly width?: number } = {},
): Normaliser {
  const sequences = sequenceLengths("lengthUnbiasedMean", sequenceOffsets).length;
  const divisor = positive("lengthUnbiasedMean", "lossDivisor", options.lossDivisor);
  if (options.width === undefined) return fromDenominators(sequenceOffsets, () => sequences * divisor);
  const elements = sequences * positive("lengthUnbiasedMean", "width", options.width);
  return fromDenominators(sequenceOffsets, (length) => (elements * divisor) / Math.max(1, length));
}

/** Lengths n_b `[B]` of the sequences that `sequenceOffsets [B + 1]` delimits; checks that they start at 0 and never fall. */
export function sequenceLengths(caller: string, sequenceOffsets: Int32Array): Int32Array {
  if (!(sequenceOffsets instanceof Int32Array)) {
    throw new TypeError(
      `${caller}: expected sequenceOffsets [B + 1] to be an Int32Array, received ${typeof sequenceOffsets}`,
    );
  }
  if (sequenceOffsets.length === 0 || sequenceOffsets[0] !== 0) {
    throw new RangeError(
      `${caller}: expected sequenceOffsets [B + 1] to start with 0, received [${sequenceOffsets.slice(0, 4).join(", ")}]`,
    );
  }
  const lengths = new Int32Array(sequenceOffsets.length - 1);
  for (let b = 0; b < lengths.length; b++) {
    lengths[b] = sequenceOffsets[b + 1] - sequenceOffsets[b];
    if (lengths[b] < 0) {
      throw new RangeError(
        `${caller}: expected sequenceOffsets [B + 1] never to fall, received a fall after entry ${b}`,
      );
    }
  }
  return lengths;
}

function meanOfTokenMeans(
  caller: string,
  sequenceOffsets: Int32Array,
  lengths: Int32Array,
  blockOffsets: Int32Array,
  options: LossDivisor,
): Normaliser {
  const blockLengths = sequenceLengths(caller, blockOffsets);
  const covered = blockOffsets[blockLengths.length];
  if (covered !== lengths.length) {
    throw new RangeError(`${caller}: expected the blocks to end at sequence ${lengths.length}, received ${covered}`);
  }
  const divisor = positive(caller, "lossDivisor", options.lossDivisor);
  const denominators = new Float64Array(lengths.length);
  for (let block = 0; block < blockLengths.length; block++) {
    const tokens = sequenceOffsets[blockOffsets[block + 1]] - sequenceOffsets[blockOffsets[block]];
    denominators.fill(
      Math.max(1, tokens) * blockLengths.length * divisor,
      blockOffsets[block],
      blockOffsets[block + 1],
    );
  }
  return fromDenominators(sequenceOffsets, (_, b) => denominators[b]);
}

function sequenceDivisor(caller: string, sequenceOffsets: Int32Array, options: SequenceMeanOptions): number {
  const lengths = sequenceLengths(caller, sequenceOffsets);
  const divisor = positive(caller, "lossDivisor", options.lossDivisor);
  if (options.globalSequences !== undefined) {
    requireAtLeast(caller, "globalSequences", options.globalSequences, 0);
    return (Math.max(1, options.globalSequences) / positive(caller, "processes", options.processes)) * divisor;
  }
  const present =
    options.emptySequences === "excluded" ? lengths.filter((length) => length > 0).length : lengths.length;
  return Math.max(1, present) * divisor;
}

function fromDenominators(sequenceOffsets: Int32Array, denominator: (length: number, b: number) => number): Normaliser {
  const sequences = sequenceOffsets.length - 1;
  const denominators = new Float64Array(sequences);
  const weights = new Float64Array(sequenceOffsets[sequences]);
  for (let b = 0; b < sequences; b++) {
    denominators[b] = denominator(sequenceOffsets[b + 1] - sequenceOffsets[b], b);
    weights.fill(1 / denominators[b], sequenceOffsets[b], sequenceOffsets[b + 1]);
  }
  return { weights, denominators };
}

function requireAtLeast(caller: string, name: string, value: number, least: number): void {
  if (!(value >= least && value < Infinity)) {
    throw new RangeError(`${caller}: expected ${name} to be a finite number ≥ ${least}, received ${value}`);
  }
}

function positive(caller: string, name: string, value: number | undefined): number {
  if (value === undefined) return 1;
  if (!(value > 0 && value < Infinity)) {
    throw new RangeError(`${caller}: expected ${name} to be a finite number > 0, received ${value}`);
  }
  return value;
}
