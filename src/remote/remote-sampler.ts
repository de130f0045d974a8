/** Samples from a server that speaks the OpenAI completions API: vLLM, SGLang, or `stepcredit serve`. */

import { setTimeout as wait } from "node:timers/promises";

import type { Completion, MeasureTokens, SampleRequest, Sampler } from "../trajectory/index.ts";

export interface RemoteOptions {
  /** such as http://localhost:8000/v1 */
  readonly baseUrl: string;
  readonly model: string;
  /** sent as a bearer token; default none */
  readonly key?: string;
  /** default 1 */
  readonly temperature?: number;
  /** of the first request; the next ones count on. Default: the server's choice. */
  readonly seed?: number;
  /** requests at a time; default 8 */
  readonly concurrency?: number;
  /** of one attempt; default 10 minutes */
  readonly timeoutMs?: number;
  /** attempts after the first one, for answers 408, 409, 429 and 5xx and where there is none; default 4 */
  readonly retries?: number;
  /** before the first retry, doubled for each that follows, and never beyond a minute; default 500 */
  readonly backoffMs?: number;
  /** ids of a text, for servers that give no token ids; default none, then such an answer is an error */
  readonly encode?: (text: string) => readonly number[];
  /**
   * The text of ids, where they are none of the model's, such as characters. Then prompts are sent as texts, what is written is
   * read by `encode`, and requests say nothing of token ids; `maxTokens` of a request still counts the model's. Default: ids
   * are the model's tokens.
   */
  readonly decode?: (ids: readonly number[]) => string;
  /** texts that end a continuation, and are no part of it; only with `decode` */
  readonly stop?: readonly string[];
  /** lets this sampler take turns with others; default it has `concurrency` for itself */
  readonly turns?: { take<T>(work: () => Promise<T>): Promise<T> };
  /** gives up at once */
  readonly signal?: AbortSignal;
}

/** An answer that cannot be used, or none after all attempts. */
export class RemoteError extends Error {
  override readonly name = "RemoteError";
  /** of HTTP; undefined where no answer came */
  readonly status: number | undefined;

  constructor(message: string, status?: number, cause?: unknown) {
    super(message, { cause });
    this.status = status;
  }
}

/** Tokens, and the first of them that is measured. */
type MeasuredSequence = Parameters<MeasureTokens>[0][number];

interface Answer {
  readonly choices?: readonly Choice[];
  readonly usage?: { readonly completion_tokens?: unknown } | null;
}

interface Choice {
  readonly text?: unknown;
  readonly token_ids?: unknown;
  readonly finish_reason?: unknown;
  readonly logprobs?: {
    readonly tokens?: readonly unknown[];
    readonly token_logprobs?: readonly unknown[];
  } | null;
}

/**
 * One HTTP request per sample, with the prompt as token ids, or as a text where ids are none of the model's. The answers come in
 * the order of the requests, each exactly once; the first request that fails for good fails the call, and what is still on its
 * way is given up.
 */
export class RemoteSampler implements Sampler {
  readonly #options: RemoteOptions;
  #sent = 0;
  #retried = 0;

  constructor(options: RemoteOptions) {
    const { concurrency = 1, retries = 0 } = options;
    if (!(Number.isInteger(concurrency) && concurrency >= 1)) {
      throw new RangeError(`RemoteSampler: expected concurrency to be an integer ≥ 1, received ${concurrency}`);
    }
    if (!(Number.isInteger(retries) && retries >= 0)) {
      throw new RangeError(`RemoteSampler: expected retries to be an integer ≥ 0, received ${retries}`);
    }
    this.#options = options;
  }

  /** attempts beyond the first of every request so far */
  get retried(): number {
    return this.#retried;
  }

  async sample(requests: readonly SampleRequest[]): Promise<readonly Completion[]> {
    const first = this.#sent;
    this.#sent += requests.length;
    return this.#each(requests, (request, r, signal) =>
      this.#ask(bodyOf(request, first + r, this.#options), signal, (answer) => this.#read(answer, request)),
    );
  }

  /**
   * Of each sequence, the log-probs in nats of its tokens from `from` on, which is 1 or more. Each is one request that echoes its
   * prompt and writes a token that nobody reads.
   *
   * @throws RemoteError where the server gives no log-probs of a prompt
   */
  async measure(sequences: readonly MeasuredSequence[]): Promise<readonly Float64Array[]> {
    const { model, decode } = this.#options;
    if (decode !== undefined) throw new TypeError("measure: expected ids that are the model's tokens, received decode");
    return this.#each(sequences, (sequence, _, signal) => {
      const asked = { model, prompt: sequence.tokens, max_tokens: 1, temperature: 0, echo: true, logprobs: 0 };
      return this.#ask(asked, signal, (answer) => readMeasured(answer, sequence));
    });
  }

  /** Works on items, several at a time. The first that fails for good ends it. */
  async #each<Item, Result>(
    items: readonly Item[],
    work: (item: Item, index: number, signal: AbortSignal) => Promise<Result>,
  ): Promise<readonly Result[]> {
    const { concurrency = 8, signal } = this.#options;
    const failed = new AbortController();
    const given = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal]);
    const results = new Array<Result>(items.length);
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let i = next++; i < items.length; i = next++) results[i] = await work(items[i], i, given);
    };
    try {
      await Promise.all(Array.from({ length: Math.min(concurrency, items.length) }, worker));
    } catch (error) {
      failed.abort(error);
      throw error;
    }
    return results;
  }

  async #ask<Result>(body: object, signal: AbortSignal, read: (answer: unknown) => Result): Promise<Result> {
    const { retries = 4, backoffMs = 500, turns } = this.#options;
    const post = (): Promise<unknown> => this.#post(body, signal);
    for (let attempt = 0; ; attempt++) {
      try {
        return read(await (turns === undefined ? post() : turns.take(post)));
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof RemoteError) || !isTransient(error) || attempt >= retries) throw error;
      }
      this.#retried++;
      await wait(Math.min(60_000, backoffMs * 2 ** attempt), undefined, { signal });
    }
  }

  async #post(body: object, signal: AbortSignal): Promise<unknown> {
    const { baseUrl, key, timeoutMs = 600_000 } = this.#options;
    const url = `${baseUrl.replace(/\/+$/, "")}/completions`;
    const limit = AbortSignal.timeout(timeoutMs);
    let text: string;
    let status: number;
    try {
      const response = await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json", ...(key !== undefined && { authorization: `Bearer ${key}` }) },
        body: JSON.stringify(body),
        signal: AbortSignal.any([signal, limit]),
      });
      ({ status } = response);
      text = await response.text();
    } catch (error) {
      const reason = limit.aborted ? `no answer within ${timeoutMs} ms` : reasonOf(error);
      throw new RemoteError(`${url}: ${reason}`, undefined, error);
    }
    if (status < 200 || status >= 300) throw new RemoteError(`${url}: ${status}: ${text.slice(0, 500)}`, status);
    try {
      return JSON.parse(text) as unknown;
    } catch (error) {
      throw new RemoteError(`${url}: expected JSON, received ${JSON.stringify(text.slice(0, 200))}`, status, error);
    }
  }

  #read(answer: unknown, { maxTokens }: SampleRequest): Completion {
    const choice = (answer as Answer | null)?.choices?.[0];
    if (choice === undefined) throw new RemoteError("sample: expected a choice in the answer, received none", 200);
    const { finish_reason: reason } = choice;
    const finished = typeof reason === "string" ? reason !== "length" : undefined;
    const said = finished === undefined ? {} : { finished };
    if (this.#options.decode !== undefined) {
      const tokens = this.#encoded(choice);
      return { tokens, logprobs: tokens.map(() => NaN), generated: countOf(answer as Answer, choice), ...said };
    }
    const tokens = idsOf(choice) ?? this.#encoded(choice);
    const logprobs = (choice.logprobs?.token_logprobs ?? []).map(Number);
    if (tokens.length > maxTokens) {
      throw new RemoteError(`sample: expected at most ${maxTokens} tokens, received ${tokens.length}`, 200);
    }
    // Without them the trainer measures its own; with others than one per token nobody knows whose they are.
    return { tokens, logprobs: logprobs.length === tokens.length ? logprobs : tokens.map(() => NaN), ...said };
  }

  #encoded({ text }: Choice): readonly number[] {
    const { encode } = this.#options;
    if (encode === undefined || typeof text !== "string") {
      throw new RemoteError(
        "sample: expected token ids in the answer (token_ids, or token_id:N in logprobs.tokens), received none; " +
          "give encode to make them of the text",
        200,
      );
    }
    return encode(text);
  }
}

function bodyOf(
  { prefix, maxTokens, stop, stopSequences }: SampleRequest,
  index: number,
  options: RemoteOptions,
): object {
  if (stopSequences !== undefined && stopSequences.length > 0) {
    throw new RangeError("RemoteSampler: expected no stopSequences, which the API has only as texts");
  }
  const { model, temperature = 1, seed, decode } = options;
  const shared = {
    model,
    max_tokens: maxTokens,
    temperature,
    ...(seed !== undefined && { seed: seed + index }),
  };
  if (decode !== undefined) {
    return { ...shared, prompt: decode(prefix), ...(options.stop !== undefined && { stop: options.stop }) };
  }
  return {
    ...shared,
    prompt: prefix,
    ...(stop !== undefined && { stop_token_ids: stop, include_stop_str_in_output: true }),
    logprobs: 0,
    return_token_ids: true, // vLLM, stepcredit
    return_tokens_as_token_ids: true, // older vLLM: the names of the tokens are token_id:N
  };
}

function idsOf({ token_ids: given, logprobs }: Choice): readonly number[] | undefined {
  const isId = (id: unknown): id is number => Number.isInteger(id) && (id as number) >= 0;
  if (Array.isArray(given) && given.every(isId)) return given;
  const named = logprobs?.tokens?.map((token) => /^token_id:(\d+)$/.exec(String(token))?.[1]);
  return named?.every((id) => id !== undefined) === true ? named.map(Number) : undefined;
}

/** Those of a prompt that is echoed; the first token has none. */
function readMeasured(answer: unknown, { tokens, from }: MeasuredSequence): Float64Array {
  const echoed = (answer as Answer | null)?.choices?.[0]?.logprobs?.token_logprobs ?? [];
  const measured = echoed.slice(from, tokens.length);
  if (measured.length === tokens.length - from && measured.every((logprob) => typeof logprob === "number")) {
    return Float64Array.from(measured);
  }
  throw new RemoteError("measure: expected the log-probs of the prompt in the answer (echo), received none", 200);
}

/** How many tokens a continuation has, of an answer in text. */
function countOf({ usage }: Answer, { token_ids: given, logprobs }: Choice): number {
  const count = Array.isArray(given) ? given.length : (logprobs?.tokens?.length ?? usage?.completion_tokens);
  if (Number.isInteger(count)) return count as number;
  throw new RemoteError("sample: expected usage.completion_tokens in the answer, to count what is spent", 200);
}

const isTransient = ({ status }: RemoteError): boolean =>
  status === undefined || status === 408 || status === 409 || status === 429 || status >= 500;

/** fetch hides the reason in the cause. */
function reasonOf(error: unknown): string {
  const { message, cause } = error as { readonly message?: string; readonly cause?: { readonly message?: string } };
  return cause?.message ?? message ?? String(error);
}
