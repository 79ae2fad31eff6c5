/** Naming goals where they stand: renaming, new ones one after the other, in and out by Tab, lines pasted. */
import { create, edit as change_, move, paste } from "./actions.js";
import { newId } from "./api.js";
import { press, provide, run, whyNot } from "./keys.js";
import { goalOf, model } from "./model.js";
import { linesOf } from "./outline.js";
import { announce, change, state } from "./state.js";
import { livingUnder } from "./tree.js";
import { editing, source, zoomed } from "./treeview.js";
import { html, live } from "./vendor/lit.js";
import * as words from "./words.js";

/** @typedef {import("./state.js").Edit} Edit */

/** Begin to rename. @param {string} id */
export function startRename(id) {
  const goal = goalOf(id);
  if (!goal) return;
  const { name, parent_id: parent, revision } = goal;
  change({ edit: { kind: "rename", id, parent, after: null, text: name, was: name, revision }, focus: { id, cell: 0 }, grab: true });
}

/** Begin a new goal behind another one, or last or first under a parent. @param {string|null} parent @param {string|null} after */
export function startNew(parent, after) {
  const id = newId();
  state.closed.delete(parent ?? "");
  change({
    edit: { kind: "new", id, parent, after, text: "", was: "", revision: null }, focus: { id, cell: 0 }, grab: true, closed: new Set(state.closed),
  });
}

/** Record what is typed; whether there was something to be kept. @returns {boolean} */
function keepName() {
  const { edit } = state;
  if (!edit) return false;
  const name = edit.text.trim();
  if (edit.kind === "rename") {
    if (name && name !== edit.was) quietly(change_(edit.id, { name }, { seen: edit.revision }));
    return !!name;
  }
  if (name) create({ id: edit.id, name, parent: edit.parent, after: edit.after });
  return !!name;
}

/** What a refusal says is told by the queue. @param {Promise<unknown>} promise */
const quietly = (promise) => promise.catch(() => {});

/** No more naming; the focus goes back to a row. @param {string|null} id */
function end(id) {
  change({ edit: null, focus: id ? { id, cell: 0 } : null, grab: true });
}

/** Where the focus goes when a new goal is not made. @param {Edit} edit */
const beside = (edit) => edit.after ?? edit.parent ?? livingUnder(model.tree, null)[0] ?? null;

/** Enter: keep, and the next one; on an empty new one go out a level, or stop. */
function keepAndNext() {
  const edit = /** @type {Edit} */ (state.edit);
  if (keepName()) startNew(edit.parent, edit.id);
  else if (edit.kind === "new" && edit.parent !== null) {
    const parent = edit.parent;
    change({ edit: { ...edit, parent: goalOf(parent)?.parent_id ?? null, after: parent }, grab: true });
  } else end(edit.kind === "new" ? beside(edit) : edit.id);
}

/** The sibling right above what is being named. @param {Edit} edit */
function above(edit) {
  if (edit.kind === "new") return edit.after;
  const siblings = livingUnder(model.tree, edit.parent);
  return siblings[siblings.indexOf(edit.id) - 1] ?? null;
}

/** @param {Edit} edit @param {string|null} parent @param {string|null} after */
function put(edit, parent, after) {
  if (edit.kind === "rename") quietly(move([edit.id], { parent, after }));
  state.closed.delete(parent ?? "");
  change({ edit: { ...edit, parent, after, moved: true }, closed: new Set(state.closed), grab: true });
}

function nameIn() {
  const edit = /** @type {Edit} */ (state.edit);
  const parent = above(edit);
  if (!parent) announce(words.why.noIn);
  else put(edit, parent, livingUnder(model.tree, parent).at(-1) ?? null);
}

function nameOut() {
  const edit = /** @type {Edit} */ (state.edit);
  if (edit.parent === null || edit.parent === state.zoom) announce(words.why.noOut);
  else put(edit, goalOf(edit.parent)?.parent_id ?? null, edit.parent);
}

function leaveName() {
  const edit = /** @type {Edit} */ (state.edit);
  end(edit.kind === "new" ? beside(edit) : edit.id);
}

provide({ keepAndNext: { run: keepAndNext }, nameIn: { run: nameIn }, nameOut: { run: nameOut }, leaveName: { run: leaveName } });

/** The field in the row. */
function editor() {
  const edit = /** @type {Edit} */ (state.edit);
  const label = edit.kind === "new" ? words.tree.newName : words.tree.rename(edit.was);
  return html`<input class="editor" dir="auto" maxlength="400" autocomplete="off" spellcheck="true" aria-label=${label}
    placeholder=${words.tree.newHere} .value=${live(edit.text)} @input=${typed} @keydown=${keyed} @paste=${pasted} @blur=${left}>`;
}

editing.field = editor;

/** @param {Event} event */
function typed(event) {
  if (state.edit) state.edit = { ...state.edit, text: /** @type {HTMLInputElement} */ (event.target).value };
}

/** @param {KeyboardEvent} event */
function keyed(event) {
  press(event, "edit");
  event.stopPropagation();
}

/** The focus went elsewhere, not by a key: keep what was typed. */
function left() {
  const { edit } = state;
  if (state.drawing) state.grab = true;
  if (!edit || state.grab || !document.hasFocus()) return;
  queueMicrotask(() => {
    if (state.edit !== edit || state.grab) return;
    const kept = keepName();
    change({ edit: null, ...(kept || !beside(edit) ? {} : { focus: { id: /** @type {string} */ (beside(edit)), cell: 0 } }) });
  });
}

/** Several lines become goals; one line is text. @param {ClipboardEvent} event */
function pasted(event) {
  const edit = /** @type {Edit} */ (state.edit);
  const text = event.clipboardData?.getData("text/plain") ?? "";
  if (!/[\r\n]\s*\S/.test(text)) return;
  event.preventDefault();
  const lines = linesOf(text);
  const named = edit.text.trim() !== "";
  if (named) keepName();
  pasteLines(lines, { parent: edit.parent, after: named || edit.kind === "rename" ? edit.id : edit.after });
}

/** @param {import("./outline.js").Line[]} lines @param {import("./actions.js").Place} place */
export function pasteLines(lines, place) {
  if (!lines.length) return;
  const before = new Set(livingUnder(model.tree, place.parent));
  quietly(paste(lines, place));
  end(livingUnder(model.tree, place.parent).find((id) => !before.has(id)) ?? null);
}

document.addEventListener("paste", (event) => {
  const target = /** @type {Element} */ (event.target);
  if (target.closest("input, textarea") || !target.closest(".grid, .empty-tree") || whyNot("rename")) return;
  event.preventDefault();
  const focus = goalOf(state.focus?.id);
  const place = { parent: focus ? focus.parent_id : zoomed(), after: focus?.id };
  if (state.cut.length) run("paste", event);
  else pasteLines(linesOf(event.clipboardData?.getData("text/plain") ?? ""), place);
});

const newGoal = () => startNew(zoomed(), livingUnder(source.tree(), zoomed()).at(-1) ?? null);
provide({ newGoal: { run: newGoal, why: () => source.readonly() } });
