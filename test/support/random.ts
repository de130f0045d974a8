/** A seeded stream of random numbers for tests: the same seed gives the same numbers. */
export interface Random {
  /** in [0, 1) */
  uniform(): number;
  /** mean 0, standard deviation 1 */
  normal(): number;
  /** in 0 … below − 1 */
  integer(below: number): number;
  /** `count` float32 normals times `scale` */
  normals(count: number, scale?: number): Float32Array;
  /** `count` integers in 0 … below − 1 */
  integers(count: number, below: number): Int32Array;
}

export function random(seed: number): Random {
  let counter = Math.imul(seed, 0x2545f491) | 0;
  const word = () => {
    counter = (counter + 0x6d2b79f5) | 0; // a hash of a counter: odd steps, two rounds of multiply and shift
    let x = Math.imul(counter ^ (counter >>> 16), 0x45d9f3b);
    x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d);
    return (x ^ (x >>> 16)) >>> 0;
  };
  const uniform = () => word() / 2 ** 32;
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  const integer = (below: number) => Math.floor(uniform() * below);
  return {
    uniform,
    normal,
    integer,
    normals: (count, scale = 1) => Float32Array.from({ length: count }, () => normal() * scale),
    integers: (count, below) => Int32Array.from({ length: count }, () => integer(below)),
  };
}
