import { describe, expect, it } from "vitest";
import { measuredGate, openGate, type GateState, type RepairExperience } from "../../src/trajectory/index.ts";

/** 10 groups of 8 without a success and 5 with one: a fresh rollout of the former would succeed 5 times in 85. */
const iteration = (accepted: number, tried = 10): RepairExperience => ({
  tried,
  accepted,
  tokens: 20 * tried,
  groupsWithoutSuccess: 10,
  groupsWithOneSuccess: 5,
  groupSize: 8,
  tokensPerRollout: 25,
});

describe("a measured gate", () => {
  it("asks for probes first, and for all once repairs give more successes per token than rollouts would", () => {
    const gate = measuredGate({ probes: 16 });
    expect(gate.allowance()).toBe(16);
    gate.observe(iteration(1));
    expect(gate.allowance()).toBe(16);
    gate.observe(iteration(1));
    // 1 success in 200 tokens against 5 / 85 in 25: 0.005 and 0.00235.
    expect(gate.state.repair).toBeCloseTo(0.005, 12);
    expect(gate.state.fresh).toBeCloseTo(5 / 85 / 25, 12);
    expect(gate.allowance()).toBe(Infinity);
  });

  it("shuts when repairs no longer pay", () => {
    const gate = measuredGate({ decay: 0.5 });
    gate.observe(iteration(1));
    gate.observe(iteration(1));
    expect(gate.allowance()).toBe(Infinity);
    gate.observe(iteration(0));
    expect(gate.state.repair).toBeCloseTo(0.0025, 12);
    expect(gate.allowance()).toBe(Infinity);
    gate.observe(iteration(0));
    expect(gate.allowance()).toBe(16);
  });

  it("learns nothing from an iteration that asked for none", () => {
    const gate = measuredGate();
    gate.observe(iteration(0, 0));
    expect(gate.state.iterations).toBe(0);
  });

  it("goes on from its state", () => {
    const gate = measuredGate();
    gate.observe(iteration(1));
    gate.observe(iteration(1));
    const later = measuredGate({}, JSON.parse(JSON.stringify(gate.state)) as GateState);
    expect(later.allowance()).toBe(Infinity);
    later.observe(iteration(0));
    gate.observe(iteration(0));
    expect(later.state).toEqual(gate.state);
  });
});

it("an open gate asks for all, whatever was seen", () => {
  const gate = openGate();
  gate.observe(iteration(0));
  expect(gate.allowance()).toBe(Infinity);
});
