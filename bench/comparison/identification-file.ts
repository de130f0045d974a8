import type { StrategyResult } from "./strategies.ts";

export interface NamedStrategyResult extends StrategyResult {
  readonly name: string;
}

/** What `identify.ts` writes. */
export interface IdentificationFile {
  /** of the start */
  readonly name: string;
  readonly problems: number;
  readonly groupSize: number;
  readonly results: readonly NamedStrategyResult[];
}
