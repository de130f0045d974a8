/** The part of the OpenAI API that a policy can answer: bodies checked on the way in, answers put together on the way out. */

import { z } from "zod";

/** What a request is refused with. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  /** the field that is wrong */
  readonly param: string | null;

  constructor(status: number, message: string, param: string | null = null) {
    super(message);
    this.status = status;
    this.param = param;
  }
}

const ids = z.array(z.number().int().min(0)).min(1);
const texts = z.union([z.string(), z.array(z.string()).max(4)]);

const sampling = {
  model: z.string().optional(),
  temperature: z.number().min(0).max(100).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  top_k: z.number().int().min(-1).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  n: z.number().int().min(1).max(128).nullish(),
  seed: z.number().int().min(0).nullish(),
  stop: texts.nullish(),
  stop_token_ids: z.array(z.number().int().min(0)).nullish(),
  stream: z.boolean().nullish(),
  return_token_ids: z.boolean().nullish(),
};

/** `POST /v1/completions`. Fields that nobody reads are let through, as other servers do. */
export const completionBody = z.looseObject({
  ...sampling,
  prompt: z.union([z.string(), z.array(z.string()).min(1), ids, z.array(ids).min(1)]),
  max_tokens: z.number().int().min(1).nullish(),
  logprobs: z.number().int().min(0).max(5).nullish(),
  echo: z.boolean().nullish(),
});

const textPart = z.looseObject({ type: z.literal("text"), text: z.string() });

/** `POST /v1/chat/completions`. */
export const chatBody = z.looseObject({
  ...sampling,
  messages: z
    .array(
      z.looseObject({
        role: z.string(),
        content: z.union([z.string(), z.array(textPart).transform((parts) => parts.map(({ text }) => text).join(""))]),
      }),
    )
    .min(1),
  max_tokens: z.number().int().min(1).nullish(),
  max_completion_tokens: z.number().int().min(1).nullish(),
  logprobs: z.boolean().nullish(),
});

export type CompletionBody = z.infer<typeof completionBody>;
export type ChatBody = z.infer<typeof chatBody>;

/** Throws an ApiError of status 400 that names the first wrong field. */
export function parseBody<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const [{ path, message }] = parsed.error.issues;
  const param = path.length === 0 ? null : path.map(String).join(".");
  throw new ApiError(400, param === null ? message : `${param}: ${message}`, param);
}

/** A continuation as both answers tell of it. */
export interface Choice {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly logprobs: readonly number[];
  /** the text of every token */
  readonly pieces: readonly string[];
  readonly finishReason: "stop" | "length";
}

/** A prompt that is shown before its choices. */
export interface Echo {
  readonly text: string;
  /** null: the first token is predicted from nothing */
  readonly logprobs: readonly (number | null)[];
  readonly pieces: readonly string[];
}

export interface Answered {
  readonly id: string;
  readonly created: number;
  readonly model: string;
  /** token ids of the prompts, each of which has `n` choices */
  readonly prompts: readonly (readonly number[])[];
  readonly choices: readonly Choice[];
}

function usageOf({ prompts, choices }: Answered) {
  const prompt = prompts.reduce((sum, { length }) => sum + length, 0);
  const completion = choices.reduce((sum, { tokens }) => sum + tokens.length, 0);
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion };
}

/** Which prompt a choice continues. */
const promptOf = ({ prompts, choices }: Answered, index: number): number =>
  Math.floor((index * prompts.length) / choices.length);

const idsOf = (answered: Answered, index: number, choice: Choice, wanted: boolean | null | undefined) =>
  wanted === true && { token_ids: choice.tokens, prompt_token_ids: answered.prompts[promptOf(answered, index)] };

/** @param echoes per prompt, where they are wanted: they are in the text and the log-probs, and not in the ids */
export function completionAnswer(answered: Answered, body: CompletionBody, echoes?: readonly Echo[]): object {
  const { id, created, model, choices } = answered;
  const shown = (choice: Choice, index: number): Echo => {
    const echo = echoes?.[promptOf(answered, index)];
    if (echo === undefined) return choice;
    return {
      text: echo.text + choice.text,
      logprobs: [...echo.logprobs, ...choice.logprobs],
      pieces: [...echo.pieces, ...choice.pieces],
    };
  };
  return {
    id,
    object: "text_completion",
    created,
    model,
    choices: choices.map((choice, index) => ({
      index,
      text: shown(choice, index).text,
      finish_reason: choice.finishReason,
      logprobs: typeof body.logprobs === "number" ? tokenLogprobs(shown(choice, index)) : null,
      ...idsOf(answered, index, choice, body.return_token_ids),
    })),
    usage: usageOf(answered),
  };
}

function tokenLogprobs({ pieces, logprobs }: Echo): object {
  let offset = 0;
  const offsets = pieces.map((piece) => {
    offset += piece.length;
    return offset - piece.length;
  });
  return { tokens: pieces, token_logprobs: logprobs, top_logprobs: null, text_offset: offsets };
}

export function chatAnswer(answered: Answered, body: ChatBody): object {
  const { id, created, model, choices } = answered;
  return {
    id,
    object: "chat.completion",
    created,
    model,
    choices: choices.map((choice, index) => ({
      index,
      message: { role: "assistant", content: choice.text, refusal: null },
      finish_reason: choice.finishReason,
      logprobs: body.logprobs === true ? { content: contentLogprobs(choice), refusal: null } : null,
      ...idsOf(answered, index, choice, body.return_token_ids),
    })),
    usage: usageOf(answered),
  };
}

const contentLogprobs = ({ pieces, logprobs }: Choice): object[] =>
  pieces.map((token, t) => ({ token, logprob: logprobs[t], bytes: [...Buffer.from(token)], top_logprobs: [] }));

/** An answer as the events of a stream: all of a choice's text at once, then its end. */
export function eventsOf(answer: object): object[] {
  const {
    choices,
    usage: _,
    ...head
  } = answer as {
    readonly object: string;
    readonly usage: object;
    readonly choices: readonly { readonly message?: { readonly content: string }; readonly finish_reason: string }[];
  };
  const isChat = head.object === "chat.completion";
  const chunk = (choice: object): object => ({
    ...head,
    object: isChat ? "chat.completion.chunk" : head.object,
    choices: [choice],
  });
  return choices.flatMap(({ message, finish_reason, ...rest }) =>
    isChat
      ? [
          chunk({ ...rest, delta: { role: "assistant", content: message?.content }, finish_reason: null }),
          chunk({ ...rest, logprobs: null, delta: {}, finish_reason }),
        ]
      : [chunk({ ...rest, finish_reason })],
  );
}
