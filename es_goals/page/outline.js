/** Lines of text as goals: what is pasted becomes a subtree. Pure. */

/** @typedef {{name: string, depth: number, done: boolean}} Line */

const LINE = /^(\s*)(?:[-*+•◦▪–]\s+|\d+[.)]\s+)?(?:\[([ xX])\](?:\s+|$)|([☐☑✓✔])\s*)?(.*?)\s*$/u;

/**
 * Goals by indentation, with bullets, numbers and boxes taken off; no line is more than one level below the one before.
 * @param {string} text
 * @returns {Line[]}
 */
export function linesOf(text) {
  /** @type {number[]} */
  const indents = [];
  return text.split(/\r\n|[\n\r\u2028\u2029]/).flatMap((line) => {
    const [, space, box, mark, name] = /** @type {RegExpMatchArray} */ (line.match(LINE));
    if (!name) return [];
    const indent = [...space].reduce((sum, char) => sum + (char === "\t" ? 4 : 1), 0);
    while (indents.length && indents[indents.length - 1] >= indent) indents.pop();
    const depth = indents.length;
    indents.push(indent);
    return [{ name: cut(name), depth, done: /[xX]/.test(box ?? "") || /[☑✓✔]/u.test(mark ?? "") }];
  });
}

/** At most 200 characters, as the service takes them. @param {string} name */
const cut = (name) => {
  const chars = [...name.normalize("NFC")];
  return chars.length <= 200 ? name : `${chars.slice(0, 199).join("").trimEnd()}…`;
};
