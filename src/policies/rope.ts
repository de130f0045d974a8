/** Rotary position embedding: the tables of angles that the `rope` op rotates with, and the ways to stretch them. */

/** How the angles are changed for contexts longer than those a model was trained on, with the names of `config.json`. */
export type RopeScaling =
  /** every position divided by `factor` (Chen et al. 2023, arXiv:2306.15595) */
  | { readonly type: "linear"; readonly factor: number }
  /** a larger base beyond `originalPositions`, for the policy's longest sequence (NTK-aware, Peng et al. 2023) */
  | { readonly type: "dynamic"; readonly factor: number; readonly originalPositions: number }
  /** slow frequencies divided by `factor`, fast ones kept, between the two a blend (Llama 3.1) */
  | {
      readonly type: "llama3";
      readonly factor: number;
      readonly lowFreqFactor: number;
      readonly highFreqFactor: number;
      readonly originalPositions: number;
    }
  /** the same by numbers of turns, and all keys and queries scaled (Peng et al. 2023, arXiv:2309.00071) */
  | {
      readonly type: "yarn";
      readonly factor: number;
      readonly originalPositions: number;
      /** turns over the original context from which a frequency is kept; default 32 */
      readonly betaFast?: number;
      /** turns below which it is divided by `factor`; default 1 */
      readonly betaSlow?: number;
      /** multiplies cosines and sines; default 0.1 ln factor + 1 */
      readonly attentionFactor?: number;
      /** whole dimensions as the ends of the blend; default true */
      readonly truncate?: boolean;
    };

export interface Rope {
  /** D, even */
  readonly headSize: number;
  /** base of the angles */
  readonly theta: number;
  /** longest sequence */
  readonly positions: number;
  readonly scaling?: RopeScaling;
}

/** Angles per position `[D / 2]` of the pairs (i, i + D / 2), and what multiplies their cosines and sines. */
export function rotaryFrequencies(rope: Rope): { readonly frequencies: Float64Array; readonly amplitude: number } {
  const { scaling } = rope;
  switch (scaling?.type) {
    case undefined:
      return { frequencies: plain(rope, rope.theta), amplitude: 1 };
    case "linear":
      return { frequencies: plain(rope, rope.theta).map((frequency) => frequency / scaling.factor), amplitude: 1 };
    case "dynamic":
      return { frequencies: plain(rope, dynamicBase(rope, scaling)), amplitude: 1 };
    case "llama3":
      return { frequencies: llama3(rope, scaling), amplitude: 1 };
    case "yarn":
      return {
        frequencies: yarn(rope, scaling),
        amplitude: scaling.attentionFactor ?? (scaling.factor <= 1 ? 1 : 0.1 * Math.log(scaling.factor) + 1),
      };
  }
}

function plain({ headSize }: Rope, base: number): Float64Array {
  return Float64Array.from({ length: headSize / 2 }, (_, i) => base ** ((-2 * i) / headSize));
}

type Scaling<Type> = Extract<RopeScaling, { readonly type: Type }>;

/** In a Hugging Face model the base follows the length of the batch at hand; here it is that of the longest sequence. */
function dynamicBase({ theta, headSize, positions }: Rope, scaling: Scaling<"dynamic">): number {
  const { factor, originalPositions } = scaling;
  const length = Math.max(positions, originalPositions);
  return theta * ((factor * length) / originalPositions - (factor - 1)) ** (headSize / (headSize - 2));
}

function llama3(rope: Rope, scaling: Scaling<"llama3">): Float64Array {
  const { factor, lowFreqFactor, highFreqFactor, originalPositions } = scaling;
  return plain(rope, rope.theta).map((frequency) => {
    const turns = (originalPositions * frequency) / (2 * Math.PI);
    if (turns < lowFreqFactor) return frequency / factor;
    if (turns > highFreqFactor) return frequency;
    const kept = (turns - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
    return (1 - kept) * (frequency / factor) + kept * frequency;
  });
}

function yarn(rope: Rope, scaling: Scaling<"yarn">): Float64Array {
  const { headSize, theta } = rope;
  const { factor, originalPositions, betaFast = 32, betaSlow = 1, truncate = true } = scaling;
  // The dimension whose frequency makes this many turns over the original context.
  const dimension = (turns: number): number =>
    (headSize * Math.log(originalPositions / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const whole = (x: number, round: (x: number) => number): number => (truncate ? round(x) : x);
  const low = Math.max(whole(dimension(betaFast), Math.floor), 0);
  const high = Math.min(whole(dimension(betaSlow), Math.ceil), headSize - 1);
  const width = low === high ? 0.001 : high - low;
  return plain(rope, theta).map((frequency, i) => {
    const stretched = Math.min(Math.max((i - low) / width, 0), 1);
    return (frequency / factor) * stretched + frequency * (1 - stretched);
  });
}
