/**
 * What of a tree is shown: its goals in order with their progress, filters, and the rows that are visible. Pure.
 *
 * @typedef {import("./fold.js").Goal} Goal
 * @typedef {import("./fold.js").Tree} Tree
 * @typedef {{goal: Goal, depth: number, size: number, leaves: number, completed: number, kids: number,
 *   place: number, among: number}} Node  `size`: it and all shown below; `kids`: goals right under it; it is the
 *   `place`-th `among` its siblings
 * @typedef {Node & {open: boolean, match: boolean, dim: boolean}} Row  `dim`: only there for what is below it
 * @typedef {{closed: Set<string>, zoom: string|null, keep: ((goal: Goal) => boolean)|null}} Shown
 */

/**
 * All goals in pre-order; deleted ones only where asked for. Progress counts living leaves, a leaf itself.
 * @param {Tree} tree @param {{deleted?: boolean, under?: string|null}} [options]
 * @returns {Node[]}
 */
export function inOrder(tree, { deleted = false, under = null } = {}) {
  /** @type {Node[]} */
  const nodes = [];
  /** @type {[string, number, number, number][]} */
  const waiting = [];
  /** @param {string|null} parent @param {number} depth */
  const push = (parent, depth) => {
    const ids = (tree.children.get(parent) ?? []).filter((id) => deleted || tree.goals.get(id)?.root === null);
    for (let i = ids.length - 1; i >= 0; i--) waiting.push([ids[i], depth, i + 1, ids.length]);
    return ids.length;
  };
  if (under !== null && tree.goals.has(under)) waiting.push([under, 0, 1, 1]);
  else push(null, 0);
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const [id, depth, place, among] = next;
    const goal = /** @type {Goal} */ (tree.goals.get(id));
    nodes.push({ goal, depth, size: 1, leaves: 0, completed: 0, kids: push(id, depth + 1), place, among });
  }
  return addUp(nodes);
}

/** From the last node to the first: sums of each depth are those of the next node above. @param {Node[]} nodes */
function addUp(nodes) {
  /** @type {[number, number, number][]} */
  const sums = [];
  const sum = (/** @type {number} */ depth) => (sums[depth] ??= [0, 0, 0]);
  for (let i = nodes.length - 1; i >= 0; i--) {
    const node = nodes[i];
    const below = sum(node.depth + 1);
    const here = sum(node.depth);
    node.size += below[0];
    if (node.goal.root === null) {
      [node.leaves, node.completed] = below[1] ? [below[1], below[2]] : [1, node.goal.end === null ? 0 : 1];
      here[1] += node.leaves;
      here[2] += node.completed;
    }
    here[0] += node.size;
    below.fill(0);
  }
  return nodes;
}

/**
 * The rows to show: closed goals hide what is below them; a filter opens all, keeps what it finds and what is above it.
 * @param {Node[]} nodes @param {{closed: Set<string>, keep?: ((goal: Goal) => boolean)|null}} options
 * @returns {Row[]}
 */
export function visible(nodes, { closed, keep = null }) {
  if (keep) return kept(nodes, keep);
  /** @type {Row[]} */
  const rows = [];
  for (let i = 0; i < nodes.length; ) {
    const node = nodes[i];
    const open = !closed.has(node.goal.id);
    rows.push({ ...node, open, match: false, dim: false });
    i += open ? 1 : node.size;
  }
  return rows;
}

/** @param {Node[]} nodes @param {(goal: Goal) => boolean} keep @returns {Row[]} */
function kept(nodes, keep) {
  const match = nodes.map((node) => keep(node.goal));
  const shown = [...match];
  /** @type {number[]} */
  const path = [];
  nodes.forEach((node, i) => {
    path.length = node.depth;
    if (match[i]) for (let up = path.length - 1; up >= 0 && !shown[path[up]]; up--) shown[path[up]] = true;
    path.push(i);
  });
  return nodes.flatMap((node, i) => (shown[i] ? [{ ...node, open: true, match: match[i], dim: !match[i] }] : []));
}

/** The goals above one, top first. @param {Tree} tree @param {string} id @returns {Goal[]} */
export function pathTo(tree, id) {
  const path = [];
  for (let at = tree.goals.get(id)?.parent_id; at; at = tree.goals.get(at)?.parent_id) {
    path.push(/** @type {Goal} */ (tree.goals.get(at)));
  }
  return path.reverse();
}

/** A goal and all living below it, parents first. @param {Tree} tree @param {string} id @returns {Goal[]} */
export const below = (tree, id) => inOrder(tree, { under: id }).map((node) => node.goal);

/** Living siblings under a parent, in order. @param {Tree} tree @param {string|null} parent @returns {string[]} */
export const livingUnder = (tree, parent) =>
  (tree.children.get(parent) ?? []).filter((id) => tree.goals.get(id)?.root === null);

/** Those of some goals that lie under no other of them, in order. @param {Tree} tree @param {Iterable<string>} ids */
export function topmost(tree, ids) {
  const wanted = new Set(ids);
  return inOrder(tree)
    .filter(({ goal }) => wanted.has(goal.id) && !pathTo(tree, goal.id).some((above) => wanted.has(above.id)))
    .map(({ goal }) => goal.id);
}

// ––– filters

/** @typedef {{status: "all"|"open"|"done"|"overdue", due: string|null, since: string|null}} Filter */

/** @type {Filter} */
export const NO_FILTER = { status: "all", due: null, since: null };

/** Open and due before now. @param {Goal} goal @param {string} now an instant */
export const overdue = (goal, now) => goal.end === null && goal.due !== null && Date.parse(goal.due) < Date.parse(now);

/**
 * What a filter and words keep; null where that is everything.
 * @param {Filter} filter @param {string} words @param {string} now
 * @returns {((goal: Goal) => boolean)|null}
 */
export function keeping(filter, words, now) {
  const query = parse(words);
  if (!query && filter.status === "all" && !filter.due && !filter.since) return null;
  const due = filter.due === null ? null : Date.parse(filter.due);
  const since = filter.since === null ? null : Date.parse(filter.since);
  return (goal) =>
    hasStatus(goal, filter.status, now) &&
    (due === null || (goal.end === null && goal.due !== null && Date.parse(goal.due) <= due)) &&
    (since === null || Date.parse(goal.updated_at) >= since) &&
    (!query || finds(query, goal));
}

/** @param {Goal} goal @param {Filter["status"]} status @param {string} now */
function hasStatus(goal, status, now) {
  if (status === "overdue") return overdue(goal, now);
  return status === "all" || (status === "done") === (goal.end !== null);
}

// ––– search, as the service does it

/** @type {Record<string, string>} */
const LETTERS = {
  ß: "ss", ø: "o", ł: "l", đ: "d", ð: "d", ħ: "h", ŧ: "t", ı: "i", ŋ: "n", ƶ: "z", ƀ: "b", ɨ: "i",
  æ: "ae", œ: "oe", þ: "th", ς: "σ",
};
const UNLIKE = /[ßøłđðħŧıŋƶƀɨæœþς]/g;

/** A text without case, accents and compatibility forms. @param {string} text */
export function folded(text) {
  // eslint-disable-next-line no-control-regex
  if (/^[\x00-\x7f]*$/.test(text)) return text.toLowerCase();
  const plain = text.normalize("NFKD").toLowerCase().normalize("NFKD").replace(/\p{M}/gu, (mark) => (combines(mark) ? "" : mark));
  return plain.replace(UNLIKE, (letter) => LETTERS[letter]);
}

/** @type {Map<string, boolean>} */
const combining = new Map();

/** Whether a mark has a combining class: normal forms put it before or behind one of another class. @param {string} mark */
function combines(mark) {
  let known = combining.get(mark);
  if (known === undefined) {
    const stays = [`${mark}\u0334`, `\u0345${mark}`].every((pair) => pair.normalize("NFD") === pair);
    combining.set(mark, (known = !stays));
  }
  return known;
}

/** Words that must all occur, and such that must not. @param {string} text */
export function parse(text) {
  const found = [...text.matchAll(/(-?)(?:"([^"]*)"?|(\S+))/g)].map(([, sign, quoted, word]) => [sign, folded(quoted || word || "")]);
  const words = found.filter(([sign, word]) => !sign && word).map(([, word]) => word);
  const without = found.filter(([sign, word]) => sign && word).map(([, word]) => word);
  return words.length ? { words, without } : null;
}

/** @param {{words: string[], without: string[]}} query @param {Goal} goal */
function finds(query, goal) {
  const texts = textsOf(goal);
  const there = (/** @type {string} */ word) => texts.some((text) => text.includes(word));
  return query.words.every(there) && !query.without.some(there);
}

/** @type {WeakMap<Goal, string[]>} */
const texts = new WeakMap();

/** @param {Goal} goal */
function textsOf(goal) {
  let known = texts.get(goal);
  if (!known) texts.set(goal, (known = [folded(goal.name), folded(goal.description ?? "")]));
  return known;
}

/**
 * A name in pieces, every second one found by the words.
 * @param {string} name @param {string} words
 * @returns {string[]}
 */
export function marked(name, words) {
  const query = words && parse(words);
  if (!query) return [name];
  const chars = [...name];
  const starts = [];
  let text = "";
  for (const [i, char] of chars.entries()) {
    const plain = folded(char);
    for (let n = 0; n < plain.length; n++) starts.push(i);
    text += plain;
  }
  const hit = new Array(chars.length).fill(false);
  for (const word of query.words) {
    for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + 1)) hit.fill(true, starts[at], starts[at + word.length - 1] + 1);
  }
  return chars.reduce((/** @type {string[]} */ pieces, char, i) => {
    if (hit[i] !== (pieces.length % 2 === 0)) pieces.push("");
    pieces[pieces.length - 1] += char;
    return pieces;
  }, [""]);
}
