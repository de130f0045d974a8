/** Text to token ids and back: what a policy on text needs of a tokenizer. */

export interface Tokenizer {
  /** ids are 0 … vocabulary − 1 */
  readonly vocabulary: number;
  /**
   * The ids of a text, without the tokens that a model's template adds around it unless `special` is true. Throws where a
   * character has no token.
   */
  encode(text: string, special?: boolean): number[];
  /** The text of ids; special tokens leave no text. Throws a RangeError of an id outside the vocabulary. */
  decode(ids: ArrayLike<number>): string;
  /** The id of a token by its own spelling, special tokens included; undefined where there is none. */
  idOf(token: string): number | undefined;
  /** What `tokenizer.json` says of it, for one that was not read from a directory. Who reads that leaves unknown characters out. */
  readonly description?: Readonly<Record<string, unknown>>;
}

export function checkIds(what: string, ids: ArrayLike<number>, vocabulary: number): void {
  for (let i = 0; i < ids.length; i++) {
    if (!(Number.isInteger(ids[i]) && ids[i] >= 0 && ids[i] < vocabulary)) {
      throw new RangeError(`${what}: expected ids in 0 … ${vocabulary - 1}, received ${ids[i]} at index ${i}`);
    }
  }
}
