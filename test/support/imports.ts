import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

/** The root of the repository, with a closing slash. */
export const repository = fileURLToPath(new URL("../../", import.meta.url));

/** One import, or one #include: the file that makes it and what it names, both relative to the root where they lie in it. */
export interface Import {
  readonly from: string;
  readonly to: string;
}

/** Every import of the TypeScript files below a folder; what is no relative path is given as written. */
export function importsBelow(folder: string): readonly Import[] {
  return namedIn(folder, /\.m?[jt]s$/, (text) => ts.preProcessFile(text).importedFiles.map(({ fileName }) => fileName));
}

/** Every #include of the native sources below a folder; a name that starts with a dot is resolved, others are as written. */
export function includesBelow(folder: string): readonly Import[] {
  return namedIn(folder, /\.(h|cpp|cuh|cu)$/, (text) =>
    [...text.matchAll(/^\s*#\s*include\s*[<"]([^>"]+)[>"]/gm)].map((match) => match[1]),
  );
}

function namedIn(folder: string, files: RegExp, names: (text: string) => readonly string[]): readonly Import[] {
  return filesBelow(folder)
    .filter((file) => files.test(file))
    .flatMap((from) =>
      names(readFileSync(join(repository, from), "utf8")).map((name) => ({
        from,
        to: name.startsWith(".") ? join(from, "..", name) : name,
      })),
    );
}

/** The files below a folder, relative to the root; none where the folder is absent. */
function filesBelow(folder: string): readonly string[] {
  if (!existsSync(join(repository, folder))) return [];
  return readdirSync(join(repository, folder), { recursive: true, encoding: "utf8" }).map((file) => join(folder, file));
}
