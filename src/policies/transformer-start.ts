/** Random starts of a transformer's weights. */

import type { Parameter } from "../policy.ts";
import { embeddingName, headName, positionsName, type ResolvedConfig } from "./transformer-config.ts";

export interface TransformerStart {
  /** uniform in [0, 1) */
  readonly random: () => number;
  /** standard deviation of the embedding; default 0.5 */
  readonly embedding?: number;
  /** standard deviation of the head; default 0.1 */
  readonly head?: number;
  /** `[maxPositions, H]` start of the position table; default normal with deviation 0.5 */
  readonly positions?: Float32Array;
}

/** Standard normal numbers from a uniform generator, by Box and Muller. */
export function normals(random: () => number): () => number {
  let spare: number | undefined;
  return () => {
    if (spare !== undefined) {
      const value = spare;
      spare = undefined;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - random()));
    const angle = 2 * Math.PI * random();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
}

/**
 * Weights normal with variance 1 / fan-in, those that write to the residual stream divided by √(2 · layers) besides, norms 1,
 * biases 0.
 */
export function startParameters(
  parameters: readonly Parameter[],
  config: ResolvedConfig,
  { random, embedding = 0.5, head = 0.1, positions }: TransformerStart,
): void {
  const normal = normals(random);
  const residual = 1 / Math.sqrt(2 * config.layers);
  const deviationOf = ({ name, shape }: Parameter): number => {
    if (name === embeddingName || name === positionsName) return embedding;
    if (name === headName) return head;
    const writes = name.endsWith("o_proj.weight") || name.endsWith("down_proj.weight");
    return (writes ? residual : 1) / Math.sqrt(shape[1]);
  };
  for (const parameter of parameters) {
    const { name, shape, data } = parameter;
    if (shape.length === 1) {
      data.fill(name.endsWith(".bias") ? 0 : 1);
    } else if (name === positionsName && positions !== undefined) {
      if (positions.length !== data.length) {
        throw new RangeError(
          `TransformerPolicy: expected positions [maxPositions, H] of length ${data.length}, received ${positions.length}`,
        );
      }
      data.set(positions);
    } else {
      const deviation = deviationOf(parameter);
      for (let i = 0; i < data.length; i++) data[i] = deviation * normal();
    }
  }
}
