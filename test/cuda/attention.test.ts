import { describe, expect, it } from "vitest";
import { openOps } from "../../src/ops/native.ts";
import type { Floats, Ops } from "../../src/ops/ops.ts";
import { randomArrays } from "../support/arrays.ts";
import { forests, severalStretches, treeInputs } from "../support/cases/attention.ts";
import { bits } from "../support/close.ts";
import { runsOnHost } from "../support/cuda.ts";
import { onHostDevice } from "../support/host-device.ts";
import { rowLaws } from "../support/row-laws.ts";

let ops: Ops;

onHostDevice(() => (ops = openOps("cuda")));

/** The positions that i descends from, itself last. */
const path = (subtreeEnd: Int32Array, i: number): number[] =>
  Array.from(subtreeEnd.keys()).filter((j) => j <= i && i < subtreeEnd[j]);

const layout = [2, 1, 6] as const;

function attended(parents: readonly number[], window: number | undefined) {
  const inputs = { ...treeInputs(parents, layout), ...(window !== undefined && { window }) };
  const saved = { out: new Float32Array(inputs.q.length), lse: new Float32Array(parents.length * layout[0]) };
  ops.treeAttention({ ...inputs, ...saved });
  return { inputs, saved };
}

describe.skipIf(!runsOnHost)("attention in device code", () => {
  it.each([
    ["branches in branches", forests["branches in branches, three trees"], undefined],
    ["branches and a window", forests["a long chain with three leaves"], 17],
    ["a path of several stretches", severalStretches, undefined],
    ["a window that begins in the second stretch", severalStretches, 60],
  ])("gives a decoding row the bits of its packed position: %s", (_name, parents, window) => {
    const { inputs, saved } = attended(parents, window);
    const rows = [...parents.keys()].slice(-16);
    const width = layout[0] * layout[2];
    const paths = rows.map((i) => path(inputs.subtreeEnd, i));
    const slotOffsets = Int32Array.from([0, ...paths.map((_, r) => paths.slice(0, r + 1).flat().length)]);
    const out = new Float32Array(rows.length * width);
    const cache = { keys: inputs.k, values: inputs.v, slotOffsets, slots: Int32Array.from(paths.flat()) };
    ops.decodeAttention({ ...inputs, q: inputs.q.slice(rows[0] * width), ...cache, out });
    expect(bits(out)).toBe(bits(saved.out.slice(rows[0] * width)));
  });

  it.each([undefined, 3])("changes no bit of a position for what it does not see, with a window of %s", (window) => {
    const parents = forests["a long chain with three leaves"];
    const { inputs, saved } = attended(parents, window);
    const last = parents.length - 1;
    const [row, key] = [layout[0] * layout[2], layout[1] * layout[2]];
    const seen = path(inputs.subtreeEnd, last).slice(-(window ?? parents.length));
    const dout = new Float32Array(inputs.q.length).fill(1, last * row);
    const junk = (array: ArrayLike<number>): Float32Array =>
      Float32Array.from(array, (x, i) => (seen.includes(Math.floor(i / key)) ? x : NaN));
    const results = [inputs, { ...inputs, k: junk(inputs.k), v: junk(inputs.v) }].map((given) => {
      const again = { out: saved.out.slice(), lse: saved.lse.slice() };
      ops.treeAttention({ ...given, ...again });
      const gradients = { dq: inputs.q.slice(), dk: inputs.k.slice(), dv: inputs.v.slice() };
      ops.treeAttentionBackward({ ...given, ...saved, dout, ...gradients });
      return [bits(again.out.slice(last * row)), bits(Float32Array.from(gradients.dq.slice(last * row)))];
    });
    expect(seen.length).toBeLessThan(parents.length);
    expect(results[1]).toEqual(results[0]);
  });

  it.each([NaN, Infinity, -Infinity])("weighs a value of %s for those who see it, and for nobody else", (value) => {
    const parents = forests["branches in branches, three trees"];
    const inputs = treeInputs(parents, layout);
    const width = layout[0] * layout[2];
    const of = (device: Ops, v: Floats) => {
      const saved = { out: new Float32Array(inputs.q.length), lse: new Float32Array(parents.length * layout[0]) };
      device.treeAttention({ ...inputs, v, ...saved });
      return saved.out;
    };
    const at = 3;
    const v = Float32Array.from(inputs.v).fill(value, at * layout[2] + 1, at * layout[2] + 3);
    const [known, seen] = [of(ops, inputs.v), of(ops, v)];
    const cpu = of(openOps("cpu"), v);
    for (let i = 0; i < known.length; i++) {
      const sees = path(inputs.subtreeEnd, Math.floor(i / width)).includes(at) && [1, 2].includes(i % layout[2]);
      expect(seen[i], `element ${i}`).toBe(sees ? cpu[i] : known[i]);
      expect(Number.isFinite(seen[i]), `element ${i}`).toBe(!sees);
    }
  });

  it("gives who sees one key its value, bit for bit, and no gradient to query and key", () => {
    const { inputs, saved } = attended([-1, -1, 1, -1], undefined);
    const width = layout[0] * layout[2];
    const gradients = { dq: inputs.q.slice(), dk: inputs.k.slice(), dv: inputs.v.slice() };
    const dout = randomArrays(1).normals(inputs.q.length);
    ops.treeAttentionBackward({ ...inputs, ...saved, dout, ...gradients });
    for (const root of [0, 3]) {
      const value = inputs.v.subarray(root * layout[2], (root + 1) * layout[2]);
      expect(saved.out.subarray(root * width, (root + 1) * width)).toEqual(Float32Array.of(...value, ...value));
      expect(gradients.dq.slice(root * width, (root + 1) * width)).toEqual(new Float32Array(width));
      expect(gradients.dk.slice(root * layout[2], (root + 1) * layout[2])).toEqual(new Float32Array(layout[2]));
    }
    expect(gradients.dq.slice(2 * width, 3 * width)).not.toContain(0);
  });

  it.each(rowLaws.filter(({ op }) => /ttention/.test(op)))("gives a row of $op the bits that it has alone", (law) => {
    const whole = law.run(ops, 0, law.rows);
    for (let row = 0; row < law.rows; row++) {
      const alone = law.run(ops, row, row + 1);
      for (const [output, values] of Object.entries(law.slice(whole, row, row + 1)))
        expect(bits(alone[output]), `row ${row}: ${output}`).toBe(bits(values));
    }
  });
});
