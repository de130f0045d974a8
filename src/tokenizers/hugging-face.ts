/** The tokenizer of a Hugging Face directory: `tokenizer.json`, `tokenizer_config.json` and the chat template. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { Template } from "@huggingface/jinja";
import * as library from "@huggingface/tokenizers";

import { checkIds, type Tokenizer } from "./tokenizer.ts";

/** What is used of the library's Tokenizer; its own declarations do not resolve from modules with file extensions. */
interface Model {
  encode(text: string, options: { readonly add_special_tokens: boolean }): { readonly ids: number[] };
  decode(
    ids: number[],
    options: { readonly skip_special_tokens: boolean; readonly clean_up_tokenization_spaces: boolean },
  ): string;
  token_to_id(token: string): number | undefined;
  get_vocab(withAddedTokens: boolean): Map<string, number>;
}

const Model = (library as unknown as { readonly Tokenizer: new (tokenizer: object, config: object) => Model })
  .Tokenizer;

export interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

export interface ChatOptions {
  /** ends with the beginning of an answer; default true */
  readonly addGenerationPrompt?: boolean;
  /** more variables for the template */
  readonly variables?: Readonly<Record<string, unknown>>;
}

export class HuggingFaceTokenizer implements Tokenizer {
  readonly vocabulary: number;
  readonly directory: string;
  readonly #model: Model;
  readonly #template: Template | undefined;
  readonly #specialTokens: Readonly<Record<string, string>>;

  private constructor(directory: string, model: Model, config: Readonly<Record<string, unknown>>, template?: string) {
    this.directory = directory;
    this.#model = model;
    this.vocabulary = Array.from(model.get_vocab(true).values()).reduce((most, id) => Math.max(most, id), -1) + 1;
    this.#template = template === undefined ? undefined : new Template(template);
    this.#specialTokens = specialTokens(config);
  }

  /** Reads a directory. Throws an Error that names the file where one is missing or holds no tokenizer. */
  static async load(directory: string): Promise<HuggingFaceTokenizer> {
    const path = join(directory, "tokenizer.json");
    const tokenizer = await readJson(path);
    const config = (await readJsonIfThere(join(directory, "tokenizer_config.json"))) ?? {};
    let model: Model;
    try {
      model = new Model(tokenizer, config);
    } catch (error) {
      throw new Error(`${path}: no tokenizer can be made of it: ${(error as Error).message}`, { cause: error });
    }
    return new HuggingFaceTokenizer(directory, model, config, await chatTemplate(directory, config));
  }

  encode(text: string, special = false): number[] {
    return [...this.#model.encode(text, { add_special_tokens: special }).ids];
  }

  decode(ids: ArrayLike<number>): string {
    checkIds("decode", ids, this.vocabulary);
    if (ids.length === 0) return ""; // which the library refuses
    return this.#model.decode(Array.from(ids), { skip_special_tokens: true, clean_up_tokenization_spaces: false });
  }

  idOf(token: string): number | undefined {
    return this.#model.token_to_id(token);
  }

  get hasChatTemplate(): boolean {
    return this.#template !== undefined;
  }

  /** A conversation as the text that the model was trained on, by the directory's template. Throws where there is none. */
  chat(messages: readonly ChatMessage[], options: ChatOptions = {}): string {
    if (this.#template === undefined) {
      throw new Error(
        `${this.directory}: expected a chat_template in tokenizer_config.json or chat_template.jinja, found none`,
      );
    }
    return this.#template.render({
      ...this.#specialTokens,
      messages,
      add_generation_prompt: options.addGenerationPrompt ?? true,
      ...options.variables,
    });
  }
}

async function readJson(path: string): Promise<Record<string, unknown>> {
  const text = await readFile(path, "utf8");
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch (error) {
    throw new Error(`${path}: expected JSON, received ${(error as Error).message}`, { cause: error });
  }
}

const isMissing = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === "ENOENT";

async function readJsonIfThere(path: string): Promise<Record<string, unknown> | undefined> {
  try {
    return await readJson(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** The template named default, of the file `chat_template.jinja` first. */
async function chatTemplate(directory: string, config: Readonly<Record<string, unknown>>): Promise<string | undefined> {
  try {
    return await readFile(join(directory, "chat_template.jinja"), "utf8");
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  const given = config["chat_template"];
  if (typeof given === "string") return given;
  if (!Array.isArray(given)) return undefined;
  const named = (given as { name?: unknown; template?: unknown }[]).find(({ name }) => name === "default");
  return typeof named?.template === "string" ? named.template : undefined;
}

/** `bos_token` and the like by their text, as templates use them. */
function specialTokens(config: Readonly<Record<string, unknown>>): Record<string, string> {
  const tokens: Record<string, string> = {};
  for (const [key, value] of Object.entries(config)) {
    if (!key.endsWith("_token")) continue;
    const text = typeof value === "object" && value !== null ? (value as { content?: unknown }).content : value;
    if (typeof text === "string") tokens[key] = text;
  }
  return tokens;
}
