/** A seeded generator of numbers in [0, 1): mulberry32 (Ettinger 2017), 32 bits of state. */
export function random(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** An integer in 0 … count − 1. */
export function pick(next: () => number, count: number): number {
  return Math.floor(next() * count);
}
