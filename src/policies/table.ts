/**
 * The smallest trainable policy: a row of logits per context, where a context is the last `order` tokens of a prefix (the whole
 * prefix by default). Contexts get their rows as they are first met; a row begins at 0, the uniform policy.
 */

import type { Batch } from "../batch.ts";
import { openOps } from "../ops/native.ts";
import type { Floats, Ops } from "../ops/ops.ts";
import type { Optimizer } from "../optimizer.ts";
import { Parameters } from "../parameters.ts";
import type {
  ForwardPass,
  Parameter,
  Policy,
  PolicySampler,
  Reference,
  ReferenceWeights,
  SamplingOptions,
} from "../policy.ts";
import { referenceOn } from "../reference.ts";
import { samplerOf } from "./generate.ts";

export interface TableOptions {
  /** V */
  readonly vocabulary: number;
  /** rows of the table: the most contexts that it can hold, those of prompt positions among them */
  readonly contexts: number;
  /** tokens of a prefix that make its context; default all */
  readonly order?: number;
}

export class TablePolicy implements Policy {
  readonly ops: Ops;
  readonly #options: Required<TableOptions>;
  readonly #parameters: Parameters;
  readonly #table: Parameter;
  readonly #rows: Map<string, number>;
  /** prefixes met by the samplers since the last step: the tokens of each node */
  readonly #nodes: (readonly number[])[] = [];

  constructor(options: TableOptions, ops: Ops = openOps("cpu"), rows: ReadonlyMap<string, number> = new Map()) {
    this.ops = ops;
    this.#options = { order: Infinity, ...options };
    this.#parameters = new Parameters(ops, [{ name: "table", shape: [options.contexts, options.vocabulary] }]);
    this.#table = this.#parameters.get("table");
    this.#rows = new Map(rows);
  }

  get vocabulary(): number {
    return this.#options.vocabulary;
  }

  parameters(): readonly Parameter[] {
    return this.#parameters.list;
  }

  clone(): TablePolicy {
    const copy = new TablePolicy(this.#options, this.ops, this.#rows);
    copy.#parameters.copyFrom(this.#parameters);
    return copy;
  }

  /** The policy as it is now, frozen: it shares the table until a step moves it. A context that is first met later is uniform. */
  reference(from?: ReferenceWeights): Reference {
    return referenceOn(this, this.#parameters, from);
  }

  step(optimizer: Optimizer): number {
    try {
      return this.#parameters.step(optimizer);
    } finally {
      this.#nodes.length = 0;
    }
  }

  forward(batch: Pick<Batch, "tokens" | "depth" | "subtreeEnd">): ForwardPass {
    const ids = Int32Array.from(this.#contextsOf(batch), (context) => this.#rowOf(context));
    const hidden = this.vocabulary;
    const logits = this.ops.allocate(ids.length * hidden);
    this.ops.embed({ table: this.#table.data, ids, hidden, out: logits });
    return {
      logits,
      backward: (dlogits) => this.ops.embedBackward({ ids, hidden, dout: dlogits, dtable: this.#table.grad }),
    };
  }

  sampler(options: SamplingOptions): PolicySampler {
    return samplerOf(
      {
        ops: this.ops,
        vocabulary: this.vocabulary,
        maxPositions: Infinity,
        child: (parent, token) => this.#nodes.push([...(parent < 0 ? [] : this.#nodes[parent]), token]) - 1,
        logits: (nodes) => this.#logitsAt(nodes),
      },
      options,
    );
  }

  #logitsAt(nodes: Int32Array): Floats {
    const ids = Int32Array.from(nodes, (node) => this.#rowOf(this.#nodes[node]));
    const out = this.ops.allocate(ids.length * this.vocabulary);
    this.ops.embed({ table: this.#table.data, ids, hidden: this.vocabulary, out });
    return out;
  }

  #rowOf(prefix: readonly number[]): number {
    const { order, contexts } = this.#options;
    const context = (order === Infinity ? prefix : prefix.slice(-order)).join(" ");
    let row = this.#rows.get(context);
    if (row === undefined) {
      row = this.#rows.size;
      if (row === contexts)
        throw new RangeError(`TablePolicy: expected at most ${contexts} contexts, received one more`);
      this.#rows.set(context, row);
    }
    return row;
  }

  /** The tokens from the root to every packed position. */
  #contextsOf({ tokens, subtreeEnd }: Pick<Batch, "tokens" | "subtreeEnd">): number[][] {
    const open: number[] = [];
    return Array.from(tokens, (_, t) => {
      while (open.length > 0 && subtreeEnd[open[open.length - 1]] <= t) open.pop();
      open.push(t);
      return open.map((position) => tokens[position]);
    });
  }
}
