/**
 * The bridge: trees of steps laid flat, once. From here on everything is arrays.
 *
 *   P problems · G rollouts per problem · L leaves · S credit rows · T packed token positions · N targets · V vocabulary
 */

export interface Batch {
  /** `[T]` depth-first: parents before children, siblings in order */
  readonly tokens: Int32Array;
  /** `[T]` position id: the distance from the root, not the packed index */
  readonly depth: Int32Array;
  /** `[T]` i may attend to j ⇔ j ≤ i < subtreeEnd[j] */
  readonly subtreeEnd: Int32Array;
  /** `[T + 1]` position t predicts `targets[targetOffsets[t] … targetOffsets[t + 1])` */
  readonly targetOffsets: Int32Array;
  /** `[N]` */
  readonly targets: Int32Array;
  /** `[N]` the credit row a target inherits; −1: none */
  readonly stepOf: Int32Array;
  /** `[S, 2]` Σ positive, Σ negative */
  readonly stepCredits: Float32Array;
  /** `[N]` the loss normaliser, one number per target; 0: absent */
  readonly weights: Float32Array;
}
