/** What users of such libraries were bitten by, guarantees 27 to 32: the advantage of a rollout, a token, a step. */
import { describe, expect, it } from "vitest";
import {
  gae,
  gdpo,
  gigpo,
  gpg,
  maxrl,
  opo,
  optimalTokenBaseline,
  passAtK,
  perToken,
  reinforcePlusPlus,
  reinforcePlusPlusBaseline,
  remax,
  returnToGo,
  stepAdvantages,
  stepOfTokens,
  type TokenLayout,
} from "../../src/advantages/index.ts";
import { grpo, mapBoundaries, rloo, type GroupId } from "../../src/trajectory/index.ts";
import { pick, random } from "../support/random.ts";

interface Rollouts {
  readonly outcomes: readonly number[];
  readonly groups: readonly GroupId[];
  readonly lengths: readonly number[];
}

type Estimator = (rollouts: Rollouts) => Float64Array;

/** Everything that compares outcomes within groups, each as one number per rollout. */
const estimators: Readonly<Record<string, Estimator>> = {
  grpo: (rollouts) => grpo(rollouts),
  "grpo without std": (rollouts) => grpo({ ...rollouts, std: false }),
  "grpo without eps": (rollouts) => grpo({ ...rollouts, eps: 0 }),
  "grpo by the batch": (rollouts) => grpo({ ...rollouts, std: "batch" }),
  rloo: (rollouts) => rloo(rollouts),
  "rloo, normalised": (rollouts) => rloo({ ...rollouts, normalise: true }),
  opo: (rollouts) => opo(rollouts),
  gpg: (rollouts) => gpg(rollouts),
  maxrl: (rollouts) => maxrl(rollouts),
  passAtK: (rollouts) => passAtK(rollouts),
};

const offsetsOf = (lengths: readonly number[]): Int32Array => {
  const offsets = new Int32Array(lengths.length + 1);
  lengths.forEach((length, b) => (offsets[b + 1] = offsets[b] + length));
  return offsets;
};
const first = (values: Float64Array, lengths: readonly number[]) =>
  Float64Array.from(offsetsOf(lengths).subarray(0, -1), (n) => values[n]);

/** The same for estimators that whiten over tokens, seen at the first token of each rollout. */
const whitened: Readonly<Record<string, Estimator>> = {
  reinforcePlusPlusBaseline: (rollouts) =>
    first(reinforcePlusPlusBaseline({ ...rollouts, sequenceOffsets: offsetsOf(rollouts.lengths) }), rollouts.lengths),
  gdpo: ({ outcomes, groups, lengths }) =>
    first(gdpo({ rewards: outcomes, weights: [1], groups, sequenceOffsets: offsetsOf(lengths) }), lengths),
};

function randomRollouts(next: () => number, count: number, groupCount: number): Rollouts {
  return {
    outcomes: Array.from({ length: count }, () => pick(next, 64) / 64),
    groups: Array.from({ length: count }, () => ["a", "b", 3, 4][pick(next, groupCount)]),
    lengths: Array.from({ length: count }, () => 1 + pick(next, 4)),
  };
}

const zeros = (count: number): number[] => new Array<number>(count).fill(0);

describe.each(Object.entries({ ...estimators, ...whitened }))(
  "27. zero-variance groups are zero: %s",
  (_, estimate) => {
    it.each([
      [12, 0.7],
      [7, 0.95],
      [3, 0.1],
      [64, 1 / 3],
      [5, 1e300],
      [5, 0],
      [2, -0.3],
    ])("%i outcomes of %f", (count, value) => {
      const outcomes = new Array<number>(count).fill(value);
      const lengths = outcomes.map((__, l) => 1 + (l % 3));
      expect([...estimate({ outcomes, groups: zeros(count), lengths })].map(Math.abs)).toEqual(zeros(count));
    });
  },
);

describe("27. zero-variance groups are zero", () => {
  it("beside groups that are not, where nothing is centred over the batch", () => {
    const outcomes = [0.7, 0, 0.7, 1, 0.7, 0.3];
    const groups = [0, 1, 0, 1, 0, 1];
    for (const [name, estimate] of Object.entries(estimators)) {
      const advantages = estimate({ outcomes, groups, lengths: [1, 2, 3, 4, 5, 6] });
      expect([advantages[0], advantages[2], advantages[4]].map(Math.abs), name).toEqual([0, 0, 0]);
      expect(Math.abs(advantages[3]), name).toBeGreaterThan(0.1);
    }
  });

  it("for steps, episodes and single positions", () => {
    const stepRewards = new Array<number>(7).fill(0.95);
    expect([...stepAdvantages({ stepRewards, stepOffsets: Int32Array.of(0, 3, 7), eps: 0 })]).toEqual(zeros(7));
    const ids = stepRewards.map(String);
    const trajectories = stepRewards.map((__, s) => s);
    expect([
      ...gigpo({ episodeRewards: stepRewards, stepRewards, groups: ids, trajectories, anchors: ids, eps: 0 }),
    ]).toEqual(zeros(7));
    const next = random(2);
    const { advantages } = optimalTokenBaseline({
      sequenceOffsets: Int32Array.of(0, 3, 6, 9),
      rewards: [0, 0, 0.7, 0, 0, 0.7, 0, 0, 0.7],
      oldLogprobs: Array.from({ length: 9 }, () => -next()),
      sumPiSquared: Array.from({ length: 9 }, next),
    });
    expect([...advantages]).toEqual(zeros(9));
  });
});

describe.each(Object.entries({ ...estimators, ...whitened }))("28. groups are named, not placed: %s", (_, estimate) => {
  it("the order of rollouts and the names of groups change nothing", () => {
    const next = random(28);
    for (let round = 0; round < 10; round++) {
      const rollouts = randomRollouts(next, 11, 4);
      const order = rollouts.outcomes.map((__, l) => l).sort(() => next() - 0.5);
      const shuffled = {
        outcomes: order.map((l) => rollouts.outcomes[l]),
        groups: order.map((l) => `group ${rollouts.groups[l]}`),
        lengths: order.map((l) => rollouts.lengths[l]),
      };
      const advantages = estimate(rollouts);
      estimate(shuffled).forEach((a, i) => expect(a).toBeCloseTo(advantages[order[i]], 10));
    }
  });
});

describe("28. groups are named, not placed", () => {
  it("a group gives the same advantages alone as between groups of other sizes", () => {
    const next = random(29);
    for (const name of ["grpo", "grpo without std", "rloo", "opo", "maxrl", "passAtK"]) {
      const estimate = estimators[name];
      const rollouts = randomRollouts(next, 13, 4);
      const advantages = estimate(rollouts);
      for (const group of new Set(rollouts.groups)) {
        const members = rollouts.outcomes.map((__, l) => l).filter((l) => rollouts.groups[l] === group);
        const alone = estimate({
          outcomes: members.map((l) => rollouts.outcomes[l]),
          groups: members.map(() => 0),
          lengths: members.map((l) => rollouts.lengths[l]),
        });
        expect([...alone], name).toEqual(members.map((l) => advantages[l]));
      }
    }
  });
});

describe("29. a rollout of several rows counts once", () => {
  it("cutting a trajectory into more steps does not move the baseline of its group", () => {
    const episode = (rows: readonly (readonly [trajectory: string, reward: number])[]) =>
      gigpo({
        episodeRewards: rows.map(([, reward]) => reward),
        stepRewards: rows.map(() => 0),
        groups: rows.map(() => 0),
        trajectories: rows.map(([trajectory]) => trajectory),
        anchors: rows.map(() => "anywhere"),
      });
    const [x, y] = episode([["x", 0], ["y", 1]]); // prettier-ignore
    expect([...episode([["x", 0], ["x", 0], ["y", 1], ["x", 0], ["x", 0]])]).toEqual([x, x, y, x, x]); // prettier-ignore
  });
});

describe.each(Object.entries({ ...estimators, ...whitened }))(
  "30. what has no reward takes no part: %s",
  (_, estimate) => {
    it("unverified rollouts get 0, and the others what they would get without them", () => {
      const next = random(30);
      for (let round = 0; round < 10; round++) {
        const rollouts = randomRollouts(next, 12, 3);
        const verified = rollouts.outcomes.map((__, l) => l).filter((l) => l % 4 !== 1);
        const outcomes = rollouts.outcomes.map((outcome, l) => (l % 4 === 1 ? Number.NaN : outcome));
        const rest = estimate({
          outcomes: verified.map((l) => outcomes[l]),
          groups: verified.map((l) => rollouts.groups[l]),
          lengths: verified.map((l) => rollouts.lengths[l]),
        });
        const expected = zeros(12);
        verified.forEach((l, i) => (expected[l] = rest[i]));
        expect([...estimate({ ...rollouts, outcomes })]).toEqual(expected);
      }
    });
  },
);

describe("30. what has no reward takes no part", () => {
  it("and what a group of one gets is an option", () => {
    const args = { outcomes: [0.5], groups: [0], lengths: [2] };
    for (const estimate of [grpo, rloo, opo, gpg, maxrl, passAtK]) {
      expect(estimate({ ...args, singleton: "zero" })[0]).toBe(0);
      expect(estimate({ ...args, singleton: "raw" })[0]).not.toBe(0);
    }
  });
});

describe("31. credit crosses tool tokens", () => {
  const next = random(31);
  const lengths = [9, 1, 6, 4];
  const mask = Array.from({ length: 20 }, () => (next() < 0.4 ? 0 : 1));
  const kept = mask.flatMap((valid, n) => (valid === 0 ? [] : [n]));
  const numbers = () => Array.from({ length: 20 }, (_, n) => (mask[n] === 0 ? Number.NaN : next() - 0.5));
  const arrays = { rewards: numbers(), values: numbers(), oldLogprobs: numbers(), sumPiSquared: numbers() };
  const offsets = offsetsOf(lengths);
  const whole = { ...arrays, sequenceOffsets: offsets, mask };
  const compressed = {
    ...Object.fromEntries(Object.entries(arrays).map(([name, values]) => [name, kept.map((n) => values[n])])),
    sequenceOffsets: Int32Array.from(offsets, (offset) => kept.filter((n) => n < offset).length),
  } as typeof arrays & TokenLayout;
  const outcomes = [1, 0, 0.25, 0.5];
  const groups = [0, 0, 1, 1];

  it.each([
    ["returnToGo", (args) => returnToGo({ ...args, gamma: 0.9 })],
    ["the advantages of gae", (args) => gae({ ...args, gamma: 0.9, lambda: 0.8 }).advantages],
    ["the returns of gae", (args) => gae({ ...args, gamma: 0.9, lambda: 0.8 }).returns],
    ["reinforcePlusPlus", (args) => reinforcePlusPlus({ ...args, gamma: 0.9 }).advantages],
    ["reinforcePlusPlusBaseline", (args) => reinforcePlusPlusBaseline({ ...args, outcomes, groups })],
    [
      "gdpo",
      ({ sequenceOffsets, mask }) => gdpo({ ...layout(sequenceOffsets, mask), rewards: outcomes, weights: [1] }),
    ],
    ["remax", (args) => remax({ ...args, baselines: outcomes }).advantages],
    ["perToken", (args) => perToken({ ...args, values: outcomes })],
  ] satisfies [string, (args: typeof arrays & TokenLayout) => Float64Array][])(
    "%s of a rollout are the same with and without them",
    (_, estimate) => {
      const expected = zeros(20);
      const without = estimate(compressed);
      kept.forEach((n, i) => (expected[n] = without[i]));
      expect([...estimate(whole)]).toEqual(expected);
      expect(without.filter((a) => a !== 0).length).toBeGreaterThan(5);
    },
  );
});

describe("32. every token is in exactly one step", () => {
  it("a token that straddles two steps belongs to the one that holds its first character", () => {
    // "ab|cde|f" as the tokens "a", "bc", "de", "f" and an end marker.
    const charRanges = [{ start: 0, end: 2 }, { start: 2, end: 5 }, { start: 5, end: 6 }]; // prettier-ignore
    const steps = mapBoundaries(charRanges, [0, 1, 3, 5], 5);
    expect([...stepOfTokens({ sequenceOffsets: Int32Array.of(0, 5), steps: [steps] })]).toEqual([0, 0, 1, 2, 2]);
  });

  it("whatever the boundaries", () => {
    const next = random(32);
    for (let round = 0; round < 20; round++) {
      const cuts = Array.from({ length: 4 }, () => 1 + pick(next, 38));
      const ends = [...new Set([...cuts, 40])].sort((a, b) => a - b);
      const charRanges = ends.map((end, k) => ({ start: k === 0 ? 0 : ends[k - 1], end }));
      const starts = [...new Set([0, ...Array.from({ length: 9 }, () => pick(next, 40))])].sort((a, b) => a - b);
      const steps = mapBoundaries(charRanges, starts);
      const stepOf = stepOfTokens({ sequenceOffsets: Int32Array.of(0, starts.length), steps: [steps] });
      // A range in which no token begins has no step, so steps are numbered among those that have one.
      const ranges = starts.map((start) => charRanges.findIndex(({ end }) => start < end));
      const used = [...new Set(ranges)];
      expect([...stepOf]).toEqual(ranges.map((range) => used.indexOf(range)));
    }
  });

  it("overlapping steps are refused", () => {
    const steps = [[{ start: 0, end: 3 }, { start: 2, end: 4 }]]; // prettier-ignore
    expect(() => stepOfTokens({ sequenceOffsets: Int32Array.of(0, 4), steps })).toThrow(RangeError);
  });
});

function layout(sequenceOffsets: Int32Array, mask: ArrayLike<number> | undefined): TokenLayout {
  return mask === undefined ? { sequenceOffsets } : { sequenceOffsets, mask };
}
