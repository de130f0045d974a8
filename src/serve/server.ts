/** A policy behind the OpenAI API: `/v1/models`, `/v1/completions`, `/v1/chat/completions`. */

import { createHash, randomUUID, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";

import { packSequences } from "../batch.ts";
import type { TransformerPolicy } from "../policies/transformer.ts";
import { Random } from "../random.ts";
import type { HuggingFaceTokenizer } from "../tokenizers/hugging-face.ts";
import type { Completion } from "../trajectory/index.ts";
import {
  ApiError,
  chatAnswer,
  chatBody,
  completionAnswer,
  completionBody,
  eventsOf,
  parseBody,
  type Answered,
  type ChatBody,
  type Choice,
  type CompletionBody,
  type Echo,
} from "./protocol.ts";

export interface ServeOptions {
  /** what it is called; requests for another model are refused */
  readonly model: string;
  /** asked for as a bearer token; default none */
  readonly key?: string;
  /** of a request's body; default 16 MiB */
  readonly maxBodyBytes?: number;
}

interface Route {
  readonly method: "GET" | "POST";
  answer(body: unknown): Promise<object>;
}

/**
 * A server that has still to listen. Requests are answered in the order in which they came, each whole; the process does
 * nothing else while a policy writes.
 */
export function servePolicy(policy: TransformerPolicy, options: ServeOptions): Server {
  const { tokenizer } = policy;
  if (tokenizer === undefined) throw new Error("serve: expected a policy with a tokenizer, found none");
  const { model, maxBodyBytes = 16 * 2 ** 20 } = options;
  const routes: Readonly<Record<string, Route>> = {
    "/v1/models": {
      method: "GET",
      answer: async () => ({
        object: "list",
        data: [{ id: model, object: "model", created: 0, owned_by: "stepcredit" }],
      }),
    },
    "/v1/completions": {
      method: "POST",
      async answer(given) {
        const body = parseBody(completionBody, given);
        const prompts = promptsOf(body.prompt).map((prompt) =>
          typeof prompt === "string" ? tokenizer.encode(prompt, true) : prompt,
        );
        const answered = await answer(policy, tokenizer, model, prompts, body, body.max_tokens ?? 16);
        return completionAnswer(answered, body, body.echo === true ? echoesOf(prompts, policy, tokenizer) : undefined);
      },
    },
    "/v1/chat/completions": {
      method: "POST",
      async answer(given) {
        const body = parseBody(chatBody, given);
        if (!tokenizer.hasChatTemplate) throw new ApiError(400, "the model has no chat template", "messages");
        const prompt = tokenizer.encode(tokenizer.chat(body.messages));
        const room = policy.config.maxPositions - prompt.length;
        const most = body.max_completion_tokens ?? body.max_tokens ?? room;
        return chatAnswer(await answer(policy, tokenizer, model, [prompt], body, most), body);
      },
    },
  };
  let queue: Promise<unknown> = Promise.resolve();
  return createServer((request, response) => {
    const work = async (): Promise<void> => {
      authorize(request, options.key);
      const { pathname } = new URL(request.url ?? "/", "http://localhost");
      const route = Object.hasOwn(routes, pathname) ? routes[pathname] : undefined;
      if (route === undefined) throw new ApiError(404, `no such path: ${pathname}`);
      if (route.method !== request.method) throw new ApiError(405, `${pathname} wants ${route.method}`);
      const body = route.method === "GET" ? undefined : await readBody(request, maxBodyBytes);
      const mine = queue.then(() => (response.destroyed ? undefined : route.answer(body)));
      queue = mine.catch(() => undefined);
      const answered = await mine;
      if (answered !== undefined) send(response, answered, isStream(body));
    };
    work().catch((error: unknown) => refuse(response, error));
  });
}

const isStream = (body: unknown): boolean => (body as { readonly stream?: unknown } | undefined)?.stream === true;

function promptsOf(prompt: CompletionBody["prompt"]): readonly (string | readonly number[])[] {
  if (typeof prompt === "string") return [prompt];
  return typeof prompt[0] === "number" ? [prompt as number[]] : (prompt as string[] | number[][]);
}

/** `n` continuations of every prompt. */
async function answer(
  policy: TransformerPolicy,
  tokenizer: HuggingFaceTokenizer,
  model: string,
  prompts: readonly (readonly number[])[],
  body: CompletionBody | ChatBody,
  maxTokens: number,
): Promise<Answered> {
  if (body.model !== undefined && body.model !== model) {
    throw new ApiError(
      404,
      `the model ${JSON.stringify(body.model)} is not served; ${JSON.stringify(model)} is`,
      "model",
    );
  }
  const { maxPositions } = policy.config;
  for (const [p, prompt] of prompts.entries()) {
    if (prompt.length === 0) throw new ApiError(400, `prompt ${p} has no tokens`, "prompt");
    const wrong = prompt.find((token) => token >= policy.vocabulary);
    if (wrong !== undefined) throw new ApiError(400, `token ${wrong} is not below ${policy.vocabulary}`, "prompt");
    if (maxTokens < 1 || prompt.length + maxTokens > maxPositions) {
      throw new ApiError(
        400,
        `prompt ${p} of ${prompt.length} tokens and max_tokens ${maxTokens} do not fit the model's ${maxPositions} positions`,
        "max_tokens",
      );
    }
  }
  const stopTexts = typeof body.stop === "string" ? [body.stop] : (body.stop ?? []);
  const n = body.n ?? 1;
  const repeated = prompts.flatMap((prompt) => Array.from({ length: n }, () => prompt));
  const stopIds = [...policy.endTokens, ...(body.stop_token_ids ?? [])];
  const written = await policy.generate(repeated, {
    maxTokens,
    stop: stopIds,
    stopSequences: stopTexts.filter((text) => text !== "").map((text) => tokenizer.encode(text)),
    temperature: body.temperature ?? 1,
    topP: body.top_p ?? 1,
    topK: Math.max(0, body.top_k ?? 0),
    minP: body.min_p ?? 0,
    seed: body.seed ?? Math.floor(new Random(Date.now()).next() * 2 ** 31),
  });
  const choices = written.map((completion) => choiceOf(completion, stopTexts, stopIds, tokenizer));
  return { id: `cmpl-${randomUUID()}`, created: Math.floor(Date.now() / 1000), model, prompts, choices };
}

/** The prompts as the policy measures them. */
function echoesOf(
  prompts: readonly (readonly number[])[],
  policy: TransformerPolicy,
  tokenizer: HuggingFaceTokenizer,
): readonly Echo[] {
  return prompts.map((tokens) => ({
    text: tokenizer.decode(tokens),
    logprobs: [null, ...policy.logprobs(packSequences([tokens]))],
    pieces: tokens.map((token) => tokenizer.decode([token])),
  }));
}

/** What is written, up to the first of the stop texts, which is left out; its tokens up to the one that completed it. */
function choiceOf(
  { tokens, logprobs }: Completion,
  stopTexts: readonly string[],
  stopIds: readonly number[],
  tokenizer: HuggingFaceTokenizer,
): Choice {
  const stopIn = (text: string): number =>
    Math.min(text.length, ...stopTexts.map((stop) => text.indexOf(stop)).filter((at) => at >= 0));
  const whole = tokenizer.decode(tokens);
  let count = tokens.length;
  if (stopIn(whole) < whole.length) {
    count = 1;
    for (let text = ""; count < tokens.length; count++) {
      text = tokenizer.decode(tokens.slice(0, count));
      if (stopIn(text) < text.length) break;
    }
  }
  const kept = tokens.slice(0, count);
  return {
    text: whole.slice(0, stopIn(whole)),
    tokens: kept,
    logprobs: logprobs.slice(0, count),
    pieces: kept.map((token) => tokenizer.decode([token])),
    finishReason: stopIn(whole) < whole.length || stopIds.includes(kept[kept.length - 1]) ? "stop" : "length",
  };
}

function authorize(request: IncomingMessage, key: string | undefined): void {
  if (key === undefined) return;
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  if (!timingSafeEqual(digest(request.headers.authorization ?? ""), digest(`Bearer ${key}`))) {
    throw new ApiError(401, "the key is missing or wrong");
  }
}

async function readBody(request: IncomingMessage, most: number): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > most) throw new ApiError(413, `the body is larger than ${most} bytes`);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8")) as unknown;
  } catch (error) {
    throw new ApiError(400, `the body is no JSON: ${(error as Error).message}`);
  }
}

function send(response: ServerResponse, answered: object, stream: boolean): void {
  if (!stream) {
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answered));
    return;
  }
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  for (const event of eventsOf(answered)) response.write(`data: ${JSON.stringify(event)}\n\n`);
  response.end("data: [DONE]\n\n");
}

function refuse(response: ServerResponse, error: unknown): void {
  const status = error instanceof ApiError ? error.status : 500;
  const param = error instanceof ApiError ? error.param : null;
  const message = error instanceof Error ? error.message : String(error);
  const type = status >= 500 ? "server_error" : "invalid_request_error";
  if (!response.headersSent) response.writeHead(status, { "content-type": "application/json", connection: "close" });
  response.end(JSON.stringify({ error: { message, type, param, code: null } }));
}
