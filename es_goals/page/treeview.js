/** The tree of goals as they are: its rows, what keys and clicks do in it, and what stands above it. */
import { press, run } from "./keys.js";
import { goalOf, model } from "./model.js";
import { blank, icon } from "./parts.js";
import { focusAfter, reveal, rowHeight, treegrid } from "./rows.js";
import { announce, change, keep, kept, state } from "./state.js";
import { inOrder, keeping, overdue, pathTo, topmost, visible } from "./tree.js";
import { html, nothing } from "./vendor/lit.js";
import * as words from "./words.js";

/** @typedef {import("./rows.js").Shown} Shown */

/** Where the rows of the present view come from; other views set their own and `giveBack` it. */
export const source = {
  tree: () => model.tree,
  /** Why nothing can be changed here; null: it can. @type {() => string|null} */
  readonly: () => (state.me?.role === "auditor" ? words.why.auditor : null),
  /** More of the grid, such as marks on rows. @type {Partial<import("./rows.js").Grid>} */
  grid: {},
  /** Rows that are not in the tree. @type {(rows: Shown[]) => Shown[]} */
  more: (rows) => rows,
};

/** What it is in the present, kept before any view can have set its own. */
export const present = Object.freeze({ ...source });
export const giveBack = () => void Object.assign(source, present);

/** The field in which a goal is named, once it can be. @type {{field: () => unknown}} */
export const editing = { field: () => nothing };

/** @template T @param {() => unknown[]} on @param {() => T} make @returns {() => T} what was made last, while the same things are the case */
function remembered(on, make) {
  /** @type {unknown[]} */
  let last = [];
  /** @type {T} */
  let made;
  return () => {
    const now = on();
    if (now.length !== last.length || now.some((one, i) => one !== last[i])) [made, last] = [make(), now];
    return made;
  };
}

export const zoomed = () => (state.zoom && goalOf(state.zoom) ? state.zoom : null);
export const nodes = remembered(() => [state.stamp, source.tree(), zoomed()], () => inOrder(source.tree(), { under: zoomed() }));
const minute = () => state.now.slice(0, 16);
const keeps = remembered(() => [state.filter, state.words, minute()], () => keeping(state.filter, state.words, state.now));
const found = remembered(
  () => [nodes(), state.closed, keeps(), source.more],
  () => source.more(visible(nodes(), { closed: state.closed, keep: keeps() })),
);
const counts = remembered(() => [nodes(), minute()], () => {
  const late = nodes().filter(({ goal }) => overdue(goal, state.now)).length;
  const done = nodes().filter(({ goal }) => goal.end !== null).length;
  return { open: nodes().length - done, done, late };
});

/** The rows as shown, with the one that is being made. @returns {Shown[]} */
export function rows() {
  const { edit } = state;
  const shown = found();
  if (edit?.kind !== "new" || goalOf(edit.id)) return shown;
  const at = indexBehind(shown, edit.after) ?? indexOf(shown, edit.parent) + 1;
  const depth = edit.after ? shown[indexOf(shown, edit.after)]?.depth ?? 0 : edit.parent ? (shown[at - 1]?.depth ?? -1) + 1 : 0;
  return [...shown.slice(0, at), draftOf(edit, depth), ...shown.slice(at)];
}

/** @param {Shown[]} shown @param {string|null} id */
const indexOf = (shown, id) => (id === null ? -1 : shown.findIndex(({ goal }) => goal.id === id));

/** Right behind a goal and all that is shown below it. @param {Shown[]} shown @param {string|null} id */
function indexBehind(shown, id) {
  const at = indexOf(shown, id);
  if (at < 0) return null;
  let end = at + 1;
  while (end < shown.length && shown[end].depth > shown[at].depth) end++;
  return end;
}

/** @param {import("./state.js").Edit} edit @param {number} depth @returns {Shown} */
const draftOf = (edit, depth) => ({
  goal: /** @type {any} */ ({ id: edit.id, name: "", description: null, end: null, due: null, root: null }),
  depth, size: 1, leaves: 1, completed: 0, kids: 0, place: 1, among: 1, open: true, match: false, dim: false, draft: true,
});

/** The goals that a command is about: the selected ones, or the focused one. @returns {string[]} */
export function targets() {
  const selected = [...state.selected].filter((id) => goalOf(id));
  if (selected.length) return topmost(model.tree, selected);
  const goal = goalOf(state.focus?.id);
  return goal ? [goal.id] : [];
}

/** Give the focus to a goal, opening what hides it. @param {string} id @param {{cell?: number, grab?: boolean}} [how] */
export function focusOn(id, { cell = 0, grab = true } = {}) {
  const hiding = pathTo(source.tree(), id).filter((above) => state.closed.has(above.id));
  if (hiding.length) setClosed(hiding.map((above) => above.id), false);
  if (zoomed() && id !== state.zoom && !pathTo(source.tree(), id).some((above) => above.id === state.zoom)) zoomTo(null);
  change({ focus: { id, cell }, grab });
  reveal(rows().findIndex((row) => row.goal.id === id));
}

/** @param {string[]} ids @param {boolean} closed */
export function setClosed(ids, closed) {
  const set = new Set(state.closed);
  for (const id of ids) closed ? set.add(id) : set.delete(id);
  keep(`closed.${state.user?.id}`, [...set].slice(-20_000));
  change({ closed: set });
}

/** What was closed when this user's goals were seen last. */
export const closedBefore = () => new Set(/** @type {string[]} */ (kept(`closed.${state.user?.id}`) ?? []));

/** Show only what is under a goal. @param {string|null} id */
export function zoomTo(id) {
  const user = encodeURIComponent(/** @type {any} */ (state.user).name);
  location.hash = id ? `#/${user}/under/${id}` : `#/${user}`;
}

/** @param {string} act @param {Shown} row @param {Event} event */
export function acted(act, row, event) {
  const { id } = row.goal;
  const mouse = /** @type {MouseEvent} */ (event);
  if (event.type === "contextmenu") {
    event.preventDefault();
    focusOn(id);
    run("menu", event);
  } else if (event.type === "dblclick") {
    if (act === "row") run("rename");
  } else if (act === "twist") setClosed([id], row.open && row.kids > 0);
  else if (act === "row") clicked(id, mouse);
  else if (!row.draft) {
    const cell = { check: 1, due: 2, menu: 3 }[act] ?? 0;
    change({ focus: { id, cell }, selected: state.selected.has(id) ? state.selected : new Set() });
    run({ check: "toggleDone", due: "due", menu: "menu", detail: "detail" }[act] ?? "", event);
  }
}

/** @param {string} id @param {MouseEvent} event */
function clicked(id, event) {
  if (/** @type {Element} */ (event.target).closest(".editor")) return;
  if (event.shiftKey) extendTo(id);
  else if (event.ctrlKey || event.metaKey) {
    const selected = new Set(state.selected);
    if (!selected.delete(id)) selected.add(id);
    change({ selected, anchor: id });
  } else change({ selected: new Set([id]), anchor: id });
  change({ focus: { id, cell: 0 }, grab: true });
  if (state.detail && state.detail !== id && goalOf(id)) change({ detail: id });
}

/** Select from the anchor to a goal. @param {string} id */
export function extendTo(id) {
  const ids = rows().map(({ goal }) => goal.id);
  const from = ids.indexOf(state.anchor ?? state.focus?.id ?? id);
  const to = ids.indexOf(id);
  const selected = new Set(ids.slice(Math.min(from, to), Math.max(from, to) + 1));
  change({ selected, anchor: ids[from] });
  announce(words.tree.selected(selected.size));
}

/** @param {KeyboardEvent} event */
function keyed(event) {
  if (/** @type {Element} */ (event.target).closest(".editor")) return;
  if (["Enter", " "].includes(event.key) && state.focus?.cell && !event.ctrlKey) return; // the button's own
  if (press(event, "tree")) event.stopPropagation();
}

/** @returns {unknown} */
export function tree() {
  const shown = rows();
  const reason = source.readonly();
  const on = { act: acted, key: keyed, input: state.edit ? editing.field() : nothing };
  const label = words.tree.label(state.user?.name ?? "");
  if (!shown.length && (state.words || keeps())) return blank(words.tree.nothingFound);
  if (!shown.length && reason === null) return emptyTree();
  if (!shown.length) return html`<div class="empty-tree" data-position=${model.position}>${blank(words.tree.noGoals)}</div>`;
  return html`${breadcrumbs()}
    ${treegrid({ rows: shown, label, position: model.position, readonly: reason !== null, words: state.words, on, ...source.grid })}`;
}

const emptyTree = () => html`<div class="empty-tree" data-position=${model.position} tabindex="0" @keydown=${keyed} role="group" aria-label=${words.tree.emptyTitle}>
  ${blank(words.tree.emptyTitle, words.tree.empty)}
  <button type="button" class="primary" @click=${() => run("newGoal")}>${icon("plus")} ${words.tools.newGoal}</button></div>`;

function breadcrumbs() {
  const id = zoomed();
  if (!id) return nothing;
  const path = [...pathTo(model.tree, id), /** @type {any} */ (goalOf(id))];
  return html`<nav class="crumbs" aria-label=${words.tree.path}>
    <button type="button" class="plain" @click=${() => zoomTo(null)}>${icon("house")} ${words.tree.top}</button>
    ${path.map((goal, i) => html`<span aria-hidden="true">›</span>
      <button type="button" class="plain" aria-current=${i === path.length - 1 ? "page" : nothing} @click=${() => zoomTo(goal.id)}><bdi>${goal.name}</bdi></button>`)}
  </nav>`;
}

/** How many are open, done, late; or how many were found. */
export function summary() {
  if (keeps()) return words.tree.found(rows().filter((row) => row.match).length);
  const { open, done, late } = counts();
  return open + done ? words.tree.summary(open, done, late) : "";
}

/** Rows in a page of the grid. */
export const pageRows = () => Math.max(1, Math.floor((document.querySelector(".scroller")?.clientHeight ?? 600) / rowHeight()) - 1);

export { focusAfter };
