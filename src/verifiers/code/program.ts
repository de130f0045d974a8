/** Where in a response its program is. */

/** A language by every name that a fence gives it. */
export type ProgramLanguage = readonly string[];

interface Block {
  readonly language: string;
  readonly code: string;
}

/** Three backticks or tildes, or more, and what the fence says about its block. */
const fence = /^[ \t]*(`{3,}(?!`)|~{3,}(?!~))[ \t]*([^\s`{:,]*)((?:[\s{:,][^`]*)?)$/;

/**
 * The last fenced block that names the language; else the last one that names none; the whole text where there is no block.
 * Undefined where all blocks are of other languages. A block that is never closed goes to the end of the text.
 */
export function programIn(response: string, language: ProgramLanguage): string | undefined {
  const blocks = blocksOf(response);
  if (blocks.length === 0) return response;
  const named = blocks.findLast((block) => language.includes(block.language));
  return (named ?? blocks.findLast((block) => block.language === ""))?.code;
}

function blocksOf(text: string): Block[] {
  const blocks: Block[] = [];
  let open: { readonly mark: string; readonly language: string; readonly lines: string[] } | undefined;
  for (const line of text.split(/\r?\n/)) {
    const [, mark, name, rest] = fence.exec(line) ?? [];
    if (open === undefined) {
      if (mark !== undefined) open = { mark, language: name.toLowerCase(), lines: [] };
    } else if (mark?.startsWith(open.mark) && name === "" && rest.trim() === "") {
      blocks.push({ language: open.language, code: open.lines.join("\n") });
      open = undefined;
    } else open.lines.push(line);
  }
  if (open !== undefined) blocks.push({ language: open.language, code: open.lines.join("\n") });
  return blocks;
}
