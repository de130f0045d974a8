import type { Numbers, PlacedOps } from "../ops/device-ops.ts";
import { copyNumbers, release, storage } from "../ops/storage.ts";

/**
 * Keys, values and last hidden states of every token that a policy has read since its weights last changed, as a tree of
 * tokens: prefixes that were read once are never computed again, whoever asks for them.
 *
 * A node is a slot. Nodes are numbered as they are added, so that the keys and values of the nodes of one pass lie in one
 * contiguous run.
 */
export class PrefixCache {
  readonly #ops: PlacedOps;
  readonly #vocabulary: number;
  readonly #widths: readonly number[];
  readonly #children = new Map<number, number>();
  #parent = new Int32Array(1024);
  #token = new Int32Array(1024);
  #depth = new Int32Array(1024);
  #stores: Numbers[];
  #length = 0;

  /** @param widths floats per node of each store, layer by layer */
  constructor(ops: PlacedOps, vocabulary: number, widths: readonly number[]) {
    this.#ops = ops;
    this.#vocabulary = vocabulary;
    this.#widths = widths;
    this.#stores = widths.map((width) => storage(ops, 1024 * width));
  }

  get length(): number {
    return this.#length;
  }

  /** Forgets everything; the arrays are kept for what comes next. */
  clear(): void {
    this.#children.clear();
    this.#length = 0;
  }

  /** Gives memory on a device back; the cache cannot be used any more. */
  dispose(): void {
    this.clear();
    this.#stores.forEach(release);
  }

  /** The node of `token` after `parent` (−1: a beginning), added if it is not there. */
  child(parent: number, token: number): number {
    const key = (parent + 1) * this.#vocabulary + token;
    const known = this.#children.get(key);
    if (known !== undefined) return known;
    const node = this.#length++;
    if (node === this.#parent.length) this.#grow();
    this.#parent[node] = parent;
    this.#token[node] = token;
    this.#depth[node] = parent < 0 ? 0 : this.#depth[parent] + 1;
    this.#children.set(key, node);
    return node;
  }

  tokens(from: number, to: number): Int32Array {
    return this.#token.slice(from, to);
  }

  /** Distances from the beginning: the position ids. */
  depths(from: number, to: number): Int32Array {
    return this.#depth.slice(from, to);
  }

  /** The slots that each of the nodes `from … to` sees, itself last, and where each list begins. */
  paths(from: number, to: number): { slotOffsets: Int32Array; slots: Int32Array } {
    const slotOffsets = new Int32Array(to - from + 1);
    for (let node = from; node < to; node++) {
      slotOffsets[node - from + 1] = slotOffsets[node - from] + this.#depth[node] + 1;
    }
    const slots = new Int32Array(slotOffsets[to - from]);
    for (let node = from; node < to; node++) {
      let at = slotOffsets[node - from + 1];
      for (let step = node; step >= 0; step = this.#parent[step]) slots[--at] = step;
    }
    return { slotOffsets, slots };
  }

  /** A store as far as it is filled: `[length, width]`. */
  store(index: number): Numbers {
    return this.#stores[index].subarray(0, this.#length * this.#widths[index]);
  }

  /** The part of a store that belongs to the nodes `from … to`: `[to − from, width]`. */
  slice(index: number, from: number, to: number): Numbers {
    const width = this.#widths[index];
    return this.#stores[index].subarray(from * width, to * width);
  }

  #grow(): void {
    const enlarged = (old: Int32Array): Int32Array<ArrayBuffer> => {
      const larger = new Int32Array(2 * old.length);
      larger.set(old);
      return larger;
    };
    this.#parent = enlarged(this.#parent);
    this.#token = enlarged(this.#token);
    this.#depth = enlarged(this.#depth);
    this.#stores = this.#stores.map((old) => {
      const larger = storage(this.#ops, 2 * old.length);
      copyNumbers(old, larger.subarray(0, old.length));
      release(old);
      return larger;
    });
  }
}
