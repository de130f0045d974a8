/** Arguments and results of sampling. */

import type { Floats } from "./values.ts";

export interface SampleArguments {
  /** `[R, V]` */
  readonly logits: Floats;
  /** 0: the most probable token */
  readonly temperature?: number;
  /** 0: none */
  readonly topK?: number;
  /** 1: none */
  readonly topP?: number;
  /** 0: none */
  readonly minP?: number;
  /** an integer in 0 … 2⁵³ − 1 */
  readonly seed: number;
  /** `[R]` which random stream a row draws from */
  readonly streams: Int32Array;
  /** `[R]` which number of the stream */
  readonly positions: Int32Array;
  readonly tokens?: Int32Array;
  readonly logprobs?: Floats;
  /** `[R]` under the renormalised support; `true` allocates it */
  readonly supportLogprobs?: Floats | true;
}

export interface SampleResult {
  /** `[R]` */
  readonly tokens: Int32Array;
  /** `[R]` under the full distribution at this temperature */
  readonly logprobs: Floats;
  readonly supportLogprobs?: Floats;
}
