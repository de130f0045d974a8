/** Rows, the first of them the header, as a Markdown table. */
export function markdownTable([header, ...rows]: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`.replaceAll("|  |", "| |");
  return [line(header), `|${"---|".repeat(header.length)}`, ...rows.map(line)];
}
