/** How the vectors of advantages name groups and give outcomes. */
import type { GroupId } from "../trajectory/index.ts";
import {
  requiredNumber,
  rows,
  toNumber,
  UnsupportedVector,
  type GoldenVector,
  type Json,
  type JsonRecord,
} from "./vector.ts";

/** Ids of any kind. */
export function groupIds(ids: Json | undefined, where: string): GroupId[] {
  if (!Array.isArray(ids)) throw new Error(`expected ${where} to be a list`);
  return ids.map((id: Json) => (typeof id === "string" ? id : toNumber(id, where)));
}

/** Groups as the vectors of some peers give them: so many rows, one group after another. */
export function consecutiveGroups(rollouts: number, options: JsonRecord): number[] {
  const size = requiredNumber(options, "group_size");
  return Array.from({ length: rollouts }, (_, b) => Math.floor(b / size));
}

export function singletonOf(options: JsonRecord): "raw" | "zero" {
  const singleton = options["singleton"] ?? "raw";
  if (singleton === "raw" || singleton === "zero") return singleton;
  throw new UnsupportedVector(`advantage/${String(options["estimator"])} with singleton ${String(singleton)}`);
}

/** `[B]` the sum of a row's rewards, masked positions included. */
export function outcomesOf(vector: GoldenVector): number[] {
  return rows(vector.inputs["token_rewards"], "token_rewards").map((rewards) =>
    rewards.reduce((total, reward) => total + reward, 0),
  );
}
