/** Two groups at once: whole episodes of a problem, and single steps taken from the same state. */
import { grpo } from "../trajectory/index.ts";
import type { GroupId } from "../trajectory/groups.ts";

export interface GigpoArguments {
  /** `[S]` one row per step: the reward of the whole episode, the same for all steps of a trajectory */
  readonly episodeRewards: ArrayLike<number>;
  /** `[S]` the (discounted) reward from this step on */
  readonly stepRewards: ArrayLike<number>;
  /** `[S]` the problem */
  readonly groups: ArrayLike<GroupId>;
  /** `[S]` the rollout, unique within its group */
  readonly trajectories: ArrayLike<GroupId>;
  /** `[S]` the state in which the step was taken; equal ids in one group are compared */
  readonly anchors: ArrayLike<GroupId>;
  /** default 1 */
  readonly stepWeight?: number;
  /** divide by the standard deviations; default true */
  readonly std?: boolean;
  /** added to them; default 1e-6 */
  readonly eps?: number;
  /** the variance is divided by k − ddof; default 1 */
  readonly ddof?: number;
}

/**
 * `[S]` A = A_episode + stepWeight · A_step. The episode part compares trajectories, each counted once however many steps it took
 * (alone in its group: the raw reward); the step part compares steps with the same anchor (alone: 0). Equal rewards give exactly
 * 0, NaN ones take no part in their half. Source: Feng et al. 2025, arXiv:2505.10978 (GiGPO).
 */
export function gigpo(args: GigpoArguments): Float64Array {
  const { episodeRewards, stepRewards, groups, trajectories, anchors, stepWeight = 1 } = args;
  const { std = true, eps = 1e-6, ddof = 1 } = args;
  const steps = episodeRewards.length;
  for (const [name, values] of Object.entries({ stepRewards, groups, trajectories, anchors })) {
    if (values.length !== steps) {
      throw new RangeError(`gigpo: expected ${name} [S] of length ${steps}, received ${values.length}`);
    }
  }
  const episodeOf = new Int32Array(steps);
  const firstSteps: number[] = [];
  const episodes = new Map<string, number>();
  for (let s = 0; s < steps; s++) {
    const trajectory = JSON.stringify([groups[s], trajectories[s]]);
    const episode = episodes.get(trajectory) ?? episodes.size;
    if (episode === episodes.size) {
      episodes.set(trajectory, episode);
      firstSteps.push(s);
    }
    episodeOf[s] = episode;
    const reward = episodeRewards[firstSteps[episode]];
    if (!Object.is(episodeRewards[s], reward)) {
      throw new RangeError(
        `gigpo: expected one episode reward per trajectory, received ${reward} and ${episodeRewards[s]} for ${trajectory}`,
      );
    }
  }
  const episodePart = grpo({
    outcomes: firstSteps.map((s) => episodeRewards[s]),
    groups: firstSteps.map((s) => groups[s]),
    ...{ std, eps, ddof, singleton: "raw" },
  });
  const stepPart = grpo({
    outcomes: stepRewards,
    groups: Array.from({ length: steps }, (_, s) => JSON.stringify([groups[s], anchors[s]])),
    ...{ std, eps, ddof, singleton: "zero" },
  });
  return stepPart.map((a, s) => episodePart[episodeOf[s]] + stepWeight * a);
}
