/** Which repairs a training run believes, by its own policy where probabilities are asked for. */

import { packSequences } from "./batch.ts";
import type { Floats } from "./ops/ops.ts";
import type { Policy } from "./policy.ts";
import { measureLogprobs } from "./reference.ts";
import {
  everyFilter,
  plausibleRepairs,
  smallRepairs,
  type MeasureTokens,
  type RepairFilter,
} from "./trajectory/index.ts";

export interface RepairBelief {
  /**
   * of repairs, the least probability of each changed token under the policy without the repair's prompt; default none is too
   * small
   */
  readonly repairPlausibility?: number;
  /** of repairs, the least share of the failed solution's tokens that is kept, from its beginning; default 0 */
  readonly repairKeptShare?: number;
  /** tokens that are measured at a time, about; default and 0: 16,384 */
  readonly positionsPerPass?: number;
}

const measuredPositions = 16_384;

/** The filter that the configuration asks for. What costs nothing comes first. */
export function repairFilter(policy: Policy, config: RepairBelief): RepairFilter | undefined {
  const { repairKeptShare = 0, repairPlausibility = 0 } = config;
  const filters = [
    ...(repairKeptShare > 0 ? [smallRepairs(repairKeptShare)] : []),
    ...(repairPlausibility > 0 ? [plausibleRepairs(measureBy(policy, config), repairPlausibility)] : []),
  ];
  return filters.length === 0 ? undefined : everyFilter(...filters);
}

/** The policy as it is at each call. */
function measureBy(policy: Policy, { positionsPerPass }: RepairBelief): MeasureTokens {
  return (sequences) => {
    const measured: Floats[] = [];
    let begin = 0;
    while (begin < sequences.length) {
      let end = begin;
      for (let positions = 0; end < sequences.length; end++) {
        positions += sequences[end].tokens.length;
        if (end > begin && positions > (positionsPerPass || measuredPositions)) break;
      }
      const part = sequences.slice(begin, end);
      const batch = packSequences(
        part.map(({ tokens }) => tokens),
        { from: part.map(({ from }) => from) },
      );
      const logprobs = measureLogprobs(policy, batch);
      let n = 0;
      for (const { tokens, from } of part) measured.push(logprobs.slice(n, (n += tokens.length - from)));
      begin = end;
    }
    return measured;
  };
}
