/**
 * Seeded uniform numbers in [0, 1) on the host: problems, demonstrations, shuffles and starting weights. (Sampling from a
 * policy draws from the counter-based generator of the `sample` op.) The state is one 32-bit word: Steele's SplitMix with
 * Murmur3's finaliser.
 */
export class Random {
  #state: number;

  /** @param seed any integer, of which the low 32 bits count; also a state, to go on from there */
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** What a generator that goes on from here begins with. */
  get state(): number {
    return this.#state;
  }

  /** uniform in [0, 1) */
  readonly next = (): number => {
    this.#state = (this.#state + 0x9e3779b9) >>> 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return ((z ^ (z >>> 16)) >>> 0) / 2 ** 32;
  };

  /** an integer in 0 … end − 1 */
  below(end: number): number {
    return Math.floor(this.next() * end);
  }
}

/** A seed for one purpose, from the run's seed and the purpose's name (FNV-1a): streams of different names are unrelated. */
export function deriveSeed(seed: number, purpose: string): number {
  let hash = 0x811c9dc5 ^ (seed >>> 0);
  hash = Math.imul(hash, 0x01000193);
  for (let i = 0; i < purpose.length; i++) hash = Math.imul(hash ^ purpose.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/** The items in random order (Fisher and Yates); `random` is uniform in [0, 1). */
export function shuffle<T>(items: readonly T[], random: () => number): T[] {
  const shuffled = [...items];
  for (let i = shuffled.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [shuffled[i], shuffled[j]] = [shuffled[j], shuffled[i]];
  }
  return shuffled;
}
