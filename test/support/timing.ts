/** The arithmetic of benches: what samples say, what a record holds, when a kernel agrees with its specification. */

/** Milliseconds. */
export interface Summary {
  readonly medianMs: number;
  readonly p20Ms: number;
  readonly p80Ms: number;
}

/** The q-quantile of samples in any order, interpolated between the two nearest. */
export function quantile(samples: readonly number[], q: number): number {
  if (samples.length === 0) throw new RangeError("quantile: expected samples, received none");
  const sorted = samples.toSorted((a, b) => a - b);
  const position = q * (sorted.length - 1);
  const below = Math.floor(position);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (position - below) * (sorted[above] - sorted[below]);
}

export function summarise(samples: readonly number[]): Summary {
  return { medianMs: quantile(samples, 0.5), p20Ms: quantile(samples, 0.2), p80Ms: quantile(samples, 0.8) };
}

/** Where and from what a record was made. */
export interface BenchEnvironment {
  readonly cpu: string;
  /** usable by this process */
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  readonly isa: string;
  /** null: portable matrix products */
  readonly blas: string | null;
  readonly node: string;
  /** of the working tree; ends in `-dirty` where it differs from the commit */
  readonly commit: string;
  /** ISO 8601 */
  readonly date: string;
  readonly command: string;
  /** versions of the peers found, and of the OpenBLAS behind the floors of matrix products */
  readonly peers: Readonly<Record<string, string>>;
  /** what a reader must know besides, such as other work on the machine */
  readonly note?: string;
}

export interface BenchRecord extends Summary {
  readonly op: string;
  readonly shape: string;
  readonly dtype: string;
  readonly device: string;
  readonly threads: number;
  /** that must move between memory and processor: read and written */
  readonly bytes: number;
  /** of the formula; 0 where memory is the only cost that counts */
  readonly flops: number;
  /** the least time that the machine could take, measured beside the op; null: none is measurable from here */
  readonly floorMs: number | null;
  /** medianMs / floorMs */
  readonly ratioToFloor: number | null;
  /** ratio: peer time / ours */
  readonly peers: Readonly<Record<string, { readonly medianMs: number; readonly ratio: number }>>;
  readonly env: BenchEnvironment;
}

export interface Measurement {
  readonly op: string;
  readonly shape: string;
  readonly dtype: string;
  readonly device: string;
  readonly threads: number;
  readonly bytes: number;
  readonly flops: number;
  /** milliseconds, one per call */
  readonly samples: readonly number[];
  /** milliseconds; null: no floor */
  readonly floorSamples: readonly number[] | null;
  /** what the floor's samples are multiplied by; default 1 */
  readonly floorFactor?: number;
  readonly peerSamples: Readonly<Record<string, readonly number[]>>;
  readonly env: BenchEnvironment;
}

export function benchRecord(measurement: Measurement): BenchRecord {
  const { samples, floorSamples, floorFactor = 1, peerSamples, env, ...subject } = measurement;
  const summary = summarise(samples);
  const floorMs = floorSamples === null ? null : quantile(floorSamples, 0.5) * floorFactor;
  const peers = Object.entries(peerSamples).map(([name, times]) => {
    const medianMs = quantile(times, 0.5);
    return [name, { medianMs, ratio: medianMs / summary.medianMs }] as const;
  });
  return {
    ...subject,
    ...summary,
    floorMs,
    ratioToFloor: floorMs === null ? null : summary.medianMs / floorMs,
    peers: Object.fromEntries(peers),
    env,
  };
}

/**
 * What is wrong with a kernel's result, in words; undefined where nothing is. A float may be off by twice the largest error
 * of plain float32 code and 2⁻²⁰ of the largest magnitude besides (8 units in the last place); integers must be equal.
 */
export function disagreement(
  kernel: ArrayLike<number>,
  truth: ArrayLike<number>,
  plain: ArrayLike<number>,
): string | undefined {
  if (kernel.length !== truth.length) return `${kernel.length} elements, expected ${truth.length}`;
  const exact = kernel instanceof Int32Array;
  let plainError = 0;
  let largest = 0;
  for (let i = 0; i < truth.length; i++) {
    plainError = Math.max(plainError, Math.abs(plain[i] - truth[i]));
    largest = Math.max(largest, Math.abs(truth[i]));
  }
  const bound = exact ? 0 : 2 * plainError + 2 ** -20 * largest;
  for (let i = 0; i < truth.length; i++) {
    if (!(Math.abs(kernel[i] - truth[i]) <= bound)) {
      return `element ${i} is ${kernel[i]}, expected ${truth[i]} to within ${bound.toExponential(1)}`;
    }
  }
  return undefined;
}
