/** Sampling token by token, for policies that can give logits at a node of their prefix tree. */

import type { Numbers, PlacedOps } from "../ops/device-ops.ts";
import { release, storage } from "../ops/storage.ts";
import type { PolicySampler, SamplingOptions } from "../policy.ts";
import type { Completion, SampleRequest } from "../trajectory/index.ts";

/** A policy as generation sees it: prefixes are nodes; a node gives logits. */
export interface Decoder {
  readonly ops: PlacedOps;
  readonly vocabulary: number;
  /** longest sequence, prefix and continuation together */
  readonly maxPositions: number;
  /** The node of `token` after `parent`, −1 for a beginning. */
  child(parent: number, token: number): number;
  /** Logits `[nodes, V]` after each of the distinct nodes; what was computed before is not computed again. */
  logits(nodes: Int32Array): Numbers;
}

interface Row {
  readonly request: number;
  readonly stream: number;
  readonly tokens: number[];
  readonly logprobs: number[];
  node: number;
}

/** Every request draws from a stream of its own, numbered on over the life of the sampler. */
export function samplerOf(decoder: Decoder, options: SamplingOptions): PolicySampler {
  let answered = options.answered ?? 0;
  return {
    get answered() {
      return answered;
    },
    async sample(requests) {
      requests.forEach((request, r) => checkRequest(request, r, decoder));
      const first = answered;
      answered += requests.length;
      return generate(decoder, options, requests, first);
    },
  };
}

function checkRequest({ prefix, maxTokens }: SampleRequest, r: number, { vocabulary, maxPositions }: Decoder): void {
  if (prefix.length === 0)
    throw new RangeError(`sample: expected prefix of request ${r} to hold a token, received none`);
  for (const token of prefix) {
    if (!(Number.isInteger(token) && token >= 0 && token < vocabulary)) {
      throw new RangeError(`sample: expected prefix of request ${r} in 0 … ${vocabulary - 1}, received ${token}`);
    }
  }
  if (!(Number.isInteger(maxTokens) && maxTokens >= 1)) {
    throw new RangeError(`sample: expected maxTokens of request ${r} to be an integer ≥ 1, received ${maxTokens}`);
  }
  if (prefix.length + maxTokens > maxPositions) {
    throw new RangeError(
      `sample: expected prefix and maxTokens of request ${r} to fit ${maxPositions} positions, ` +
        `received ${prefix.length} and ${maxTokens}`,
    );
  }
}

function generate(
  decoder: Decoder,
  options: SamplingOptions,
  requests: readonly SampleRequest[],
  firstStream: number,
): Completion[] {
  const rows = requests.map((request, index): Row => {
    let node = -1;
    for (const token of request.prefix) node = decoder.child(node, token);
    return { request: index, stream: firstStream + index, tokens: [], logprobs: [], node };
  });
  let active = rows;
  for (let position = 0; active.length > 0; position++) {
    const { tokens, logprobs } = sampleRows(decoder, options, active, position);
    active = active.filter((row, r) => {
      const token = tokens[r];
      if (token < 0) throw new RangeError(`sample: expected finite logits, received none for request ${row.request}`);
      row.tokens.push(token);
      row.logprobs.push(logprobs[r]);
      const { maxTokens, stop, stopSequences, finished } = requests[row.request];
      if (row.tokens.length >= maxTokens || stop?.includes(token) === true) return false;
      if (finished?.(row.tokens) === true) return false;
      if (stopSequences?.some((sequence) => endsWith(row.tokens, sequence)) === true) return false;
      row.node = decoder.child(row.node, token);
      return true;
    });
  }
  return rows.map(({ tokens, logprobs }) => ({ tokens, logprobs }));
}

const endsWith = (tokens: readonly number[], sequence: readonly number[]): boolean =>
  sequence.length > 0 &&
  sequence.length <= tokens.length &&
  sequence.every((token, i) => token === tokens[tokens.length - sequence.length + i]);

/** One token per row; rows at the same node share its logits. */
function sampleRows(
  { ops, vocabulary, logits }: Decoder,
  { temperature, topK, topP, minP, seed }: SamplingOptions,
  rows: readonly Row[],
  position: number,
): { tokens: Int32Array; logprobs: ArrayLike<number> } {
  const indexOf = new Map<number, number>();
  const ids = new Int32Array(rows.length);
  rows.forEach((row, r) => {
    let index = indexOf.get(row.node);
    if (index === undefined) indexOf.set(row.node, (index = indexOf.size));
    ids[r] = index;
  });
  const table = logits(Int32Array.from(indexOf.keys()));
  const perRow = storage(ops, rows.length * vocabulary);
  try {
    ops.embed({ table, ids, hidden: vocabulary, out: perRow });
    return ops.sample({
      logits: perRow,
      seed,
      streams: Int32Array.from(rows, (row) => row.stream),
      positions: new Int32Array(rows.length).fill(position),
      ...(temperature !== undefined && { temperature }),
      ...(topK !== undefined && { topK }),
      ...(topP !== undefined && { topP }),
      ...(minP !== undefined && { minP }),
    });
  } finally {
    release(perRow);
  }
}
