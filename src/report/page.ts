/** What all reports share: one HTML file without scripts or fonts from elsewhere. */

export const escapeHtml = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

/** @param body HTML */
export function htmlPage(title: string, body: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${escapeHtml(title)}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c1e21; }
table { border-collapse: collapse; margin-top: 1rem; } th { text-align: left; font-weight: 500; }
th, td { padding: .3rem .9rem; border-bottom: 1px solid #e3e5e8; } td { text-align: right; font-variant-numeric: tabular-nums; }
svg { width: 100%; height: auto; } text { font-size: 12px; fill: #60656c; }
</style></head><body>
<h1>${escapeHtml(title)}</h1>
${body}
</body></html>
`;
}

/** Rows of a heading and its cells, below a row of names. */
export function htmlTable(
  names: readonly string[],
  rows: readonly { readonly heading: string; readonly cells: readonly string[] }[],
): string {
  const head = names.map((name) => `<th style="text-align:right">${escapeHtml(name)}</th>`).join("");
  const body = rows.map(
    ({ heading, cells }) =>
      `<tr><th>${escapeHtml(heading)}</th>${cells.map((cell) => `<td>${escapeHtml(cell)}</td>`).join("")}</tr>`,
  );
  return `<table><tr><th></th>${head}</tr>\n${body.join("\n")}\n</table>`;
}
