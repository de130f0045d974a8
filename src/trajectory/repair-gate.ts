/** Whether repairs pay for their tokens. */

/** What an iteration showed. */
export interface RepairExperience {
  /** samples asked for, those accepted, and tokens generated for them */
  readonly tried: number;
  readonly accepted: number;
  readonly tokens: number;
  /** groups by their number of successful rollouts: none, exactly one */
  readonly groupsWithoutSuccess: number;
  readonly groupsWithOneSuccess: number;
  /** rollouts per group, and tokens of all rollouts over their number */
  readonly groupSize: number;
  readonly tokensPerRollout: number;
}

/** What a gate remembers from iteration to iteration, in JSON. */
export interface GateState {
  readonly iterations: number;
  /** verified solutions per generated token: of repairs, and of fresh rollouts on problems without a success; smoothed */
  readonly repair: number;
  readonly fresh: number;
}

export interface RepairGate {
  /** failed solutions to ask at most in the next iteration */
  allowance(): number;
  observe(experience: RepairExperience): void;
  readonly state: GateState;
}

export const freshGate: GateState = { iterations: 0, repair: 0, fresh: 0 };

/** Always asks for all. */
export function openGate(state: GateState = freshGate): RepairGate {
  return { allowance: () => Infinity, observe: () => undefined, state };
}

export interface MeasuredGateOptions {
  /** failed solutions asked per iteration while the gate is shut, to notice when repairs begin to pay; default 16 */
  readonly probes?: number;
  /** weight of the past in the smoothed rates, 0 … 1; default 0.8 */
  readonly decay?: number;
  /** iterations of probes before the gate may open; default 2 */
  readonly patience?: number;
}

/**
 * Asks for all repairs while they give more verified solutions per generated token than fresh rollouts of the same problems
 * would, and for a few probes otherwise. What a fresh rollout would give on a problem without a success is estimated without
 * generating any: of the groups with exactly one success, leave that one out and the rest is such a group (Good 1953,
 * Biometrika 40): rate = n₁ / (G · n₀ + n₁), n₀ groups without, n₁ with exactly one success.
 */
export function measuredGate(options: MeasuredGateOptions = {}, from: GateState = freshGate): RepairGate {
  const { probes = 16, decay = 0.8, patience = 2 } = options;
  let state = from;
  return {
    get state() {
      return state;
    },
    allowance: () => (state.iterations >= patience && state.repair > state.fresh ? Infinity : probes),
    observe({ tried, accepted, tokens, groupSize, tokensPerRollout, ...groups }) {
      if (tried === 0) return;
      const { groupsWithoutSuccess: none, groupsWithOneSuccess: one } = groups;
      const rate = one / Math.max(1, groupSize * none + one);
      // The mean of what was seen so far, until the past is as long as the decay remembers.
      const past = Math.min(decay, state.iterations / (state.iterations + 1));
      const smooth = (before: number, now: number): number => past * before + (1 - past) * now;
      state = {
        iterations: state.iterations + 1,
        repair: smooth(state.repair, accepted / Math.max(1, tokens)),
        fresh: smooth(state.fresh, rate / tokensPerRollout),
      };
    },
  };
}
