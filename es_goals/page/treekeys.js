/** What the keys of the tree do: walking, folding, selecting, and changing goals where they stand. */
import { complete, move, openBelow, remove, reopen } from "./actions.js";
import { choose, moveDialog, openMenu } from "./dialogs.js";
import { startNew, startRename } from "./edit.js";
import { provide } from "./keys.js";
import { goalOf, model } from "./model.js";
import { announce, change, keep, kept, state } from "./state.js";
import { below, livingUnder, pathTo } from "./tree.js";
import { extendTo, focusOn, pageRows, rows, setClosed, source, targets, zoomTo } from "./treeview.js";
import * as texts from "./texts.js";
import * as words from "./words.js";

const at = () => rows().findIndex(({ goal }) => goal.id === state.focus?.id);
const focused = () => goalOf(state.focus?.id);

/** @param {number} index @param {number} [cell] */
function go(index, cell = 0) {
  const shown = rows();
  const row = shown[Math.max(0, Math.min(shown.length - 1, index))];
  if (row) focusOn(row.goal.id, { cell });
}

function right() {
  const row = rows()[at()];
  if (!row) go(0);
  else if (row.kids && !row.open) setClosed([row.goal.id], false);
  else if (!source.readonly()) go(at(), Math.min(3, (state.focus?.cell ?? 0) + 1));
}

function left() {
  const row = rows()[at()];
  const cell = state.focus?.cell ?? 0;
  if (!row) go(0);
  else if (cell) go(at(), cell - 1);
  else if (row.kids && row.open && !state.words) setClosed([row.goal.id], true);
  else if (row.goal.parent_id && row.depth) focusOn(row.goal.parent_id);
}

/** @param {boolean} closed */
function foldBelow(closed) {
  const id = state.focus?.id;
  if (!id) return;
  const tree = source.tree();
  const parents = below(tree, id).filter((goal) => livingUnder(tree, goal.id).length);
  setClosed(parents.map((goal) => goal.id), closed);
}

function openSiblings() {
  const row = rows()[at()];
  if (row) setClosed(livingUnder(source.tree(), row.goal.parent_id), false);
}

function leave() {
  if (state.cut.length || state.selected.size) change({ cut: [], selected: new Set() });
  else if (state.words) change({ words: "" });
  else if (["at", "compare"].includes(state.route.view)) zoomTo(null);
}

/** @param {number} step */
function extend(step) {
  if (!state.anchor || !state.selected.size) change({ anchor: state.focus?.id ?? null });
  const row = rows()[at() + step];
  if (!row) return;
  focusOn(row.goal.id);
  extendTo(row.goal.id);
}

function select() {
  const id = state.focus?.id;
  if (!id) return;
  const selected = new Set(state.selected);
  if (!selected.delete(id)) selected.add(id);
  change({ selected, anchor: id });
  announce(words.tree.selected(selected.size));
}

function selectAll() {
  const selected = new Set(rows().map(({ goal }) => goal.id));
  change({ selected });
  announce(words.tree.selected(selected.size));
}

/** What is told by the queue needs no telling here. @param {Promise<unknown>} promise */
const quietly = (promise) => promise.catch(() => {});

// ––– places: one step up, down, in, out; null and why where there is none

/** @returns {{ids: string[], siblings: string[], first: number, last: number, parent: string|null}|null} */
function together() {
  const ids = targets();
  const parent = goalOf(ids[0])?.parent_id ?? null;
  const siblings = livingUnder(model.tree, parent);
  const places = ids.map((id) => siblings.indexOf(id));
  return ids.length && places.every((place) => place >= 0) ? { ids, siblings, parent, first: Math.min(...places), last: Math.max(...places) } : null;
}

/** @type {Record<string, () => [import("./actions.js").Place, string[]]|string>} a place and what goes there, or why not */
const steps = {
  moveUp() {
    const it = together();
    return it ? (it.first ? [{ parent: it.parent, before: it.siblings[it.first - 1] }, it.ids] : words.why.noUp) : words.why.noGoal;
  },
  moveDown() {
    const it = together();
    const next = it?.siblings[it.last + 1];
    return it ? (next ? [{ parent: it.parent, after: next }, it.ids] : words.why.noDown) : words.why.noGoal;
  },
  moveIn() {
    const it = together();
    const above = it?.siblings[it.first - 1];
    if (!it || !above) return it ? words.why.noIn : words.why.noGoal;
    return [{ parent: above, after: livingUnder(model.tree, above).at(-1) }, it.ids];
  },
  moveOut() {
    const it = together();
    if (!it || it.parent === null) return it ? words.why.noOut : words.why.noGoal;
    return [{ parent: goalOf(it.parent)?.parent_id ?? null, after: it.parent }, it.ids];
  },
};

/** @param {string} name */
function step(name) {
  const found = steps[name]();
  if (typeof found === "string") return announce(found, true);
  const [place, ids] = found;
  if (place.parent) setClosed([place.parent], false);
  quietly(move(ids, place));
  focusOn(/** @type {string} */ (state.focus?.id ?? ids[0]));
}

// ––– completing, deleting, new ones

async function toggleDone() {
  const ids = targets();
  const goals = ids.map((id) => /** @type {import("./fold.js").Goal} */ (goalOf(id)));
  if (goals.every((goal) => goal.end !== null)) return ids.forEach((id) => quietly(reopen(id)));
  for (const goal of goals.filter(({ end }) => end === null)) {
    const open = openBelow(goal.id).length;
    const how = open ? await askBelow(goal.name, open) : "one";
    if (how) quietly(complete(goal.id, { cascade: how === "all" }));
  }
}

/** Only this one or all below it; the last answer comes first. @param {string} name @param {number} open */
async function askBelow(name, open) {
  const choices = [{ key: "one", text: texts.ask.onlyThis }, { key: "all", text: texts.ask.allBelow(open) }];
  if (kept("complete") === "all") choices.reverse();
  const how = await choose({ title: texts.ask.completeTitle(name), text: texts.ask.completeText(open), choices });
  if (how) keep("complete", how);
  return how;
}

function removeTargets() {
  const ids = targets();
  const shown = rows();
  const gone = new Set(ids.flatMap((id) => below(model.tree, id).map((goal) => goal.id)));
  const from = shown.findIndex(({ goal }) => gone.has(goal.id));
  const next = shown.slice(from).find(({ goal }) => !gone.has(goal.id)) ?? shown[from - 1];
  quietly(remove(ids));
  change({ selected: new Set(), detail: gone.has(state.detail ?? "") ? null : state.detail });
  if (next) focusOn(next.goal.id);
}

function newSibling() {
  const goal = focused();
  if (goal && goal.id !== state.zoom) startNew(goal.parent_id, goal.id);
  else startNew(state.zoom, livingUnder(model.tree, state.zoom).at(-1) ?? null);
}

function newSub() {
  const goal = focused();
  if (goal) startNew(goal.id, livingUnder(model.tree, goal.id).at(-1) ?? null);
  else newSibling();
}

function pasteCut() {
  const goal = focused();
  const inside = goal && [goal, ...pathTo(model.tree, goal.id)].some(({ id }) => state.cut.includes(id));
  if (inside) return announce(words.why.underItself, true);
  quietly(move(state.cut, { parent: goal ? goal.parent_id : state.zoom, after: goal?.id }, { tell: true }));
  change({ cut: [] });
}

function cut() {
  const ids = targets();
  change({ cut: ids });
  announce(words.did.cut(ids.length));
}

async function moveTo() {
  const ids = targets();
  const place = await moveDialog(ids);
  if (place) quietly(move(ids, place, { tell: true }));
  focusOn(ids[0]);
}

/** @param {Event} [event] */
function menu(event) {
  const goal = focused();
  if (!goal) return;
  const item = (/** @type {string} */ command, /** @type {string} */ icon) => ({ command, icon, why: stepWhy(command) });
  openMenu(event, goal.id, [
    item("rename", "pencil"), item("newSub", "plus"), item("toggleDone", "circle-check"), item("due", "calendar"), item("detail", "scroll-text"), null,
    item("moveUp", "arrow-up"), item("moveDown", "arrow-down"), item("moveIn", "list-indent-increase"), item("moveOut", "list-indent-decrease"), item("moveTo", "arrow-right"), null,
    item("zoom", "zoom-in"), item("goalHistory", "history"), null, item("remove", "trash-2"),
  ]);
}

/** @param {string} command */
function stepWhy(command) {
  const found = steps[command]?.();
  return typeof found === "string" ? found : null;
}

const zoomOut = () => state.zoom && zoomTo(goalOf(state.zoom)?.parent_id ?? null);
const reading = { up: () => go(at() - 1), down: () => go(at() + 1), first: () => go(0), last: () => go(Infinity), right, left, openSiblings,
  pageUp: () => go(at() - pageRows()), pageDown: () => go(at() + pageRows()), openBelow: () => foldBelow(false), closeBelow: () => foldBelow(true),
  zoom: () => focused() && zoomTo(/** @type {any} */ (focused()).id), zoomOut, leave };
const choosing = { select, extendUp: () => extend(-1), extendDown: () => extend(1), selectAll };
const writing = { rename: () => (focused() ? startRename(/** @type {any} */ (focused()).id) : newSibling()), newSibling, newSub, toggleDone, remove: removeTargets, cut, paste: pasteCut,
  moveTo, menu, ...Object.fromEntries(Object.keys(steps).map((name) => [name, () => step(name)])) };

const needsGoal = ["toggleDone", "remove", "cut", "moveTo"];
provide(Object.fromEntries(Object.entries({ ...reading, ...choosing }).map(([name, run]) => [name, { run }])));
provide(Object.fromEntries(Object.entries(writing).map(([name, run]) => [
  name, { run, why: () => source.readonly() ?? (needsGoal.includes(name) && !targets().length ? words.why.noGoal : null) },
])));

