/** Dragging goals by their rows. Keys, the menu and "Move to…" do the same. Loaded when the pointer first comes to a row. */
import { move } from "./actions.js";
import { landing, modeOf } from "./drop.js";
import { goalOf, model } from "./model.js";
import { rowHeight } from "./rows.js";
import { change, state } from "./state.js";
import { rows, setClosed, source, targets } from "./treeview.js";
import { attachInstruction, draggable, dropTargetForElements, extractInstruction, setCustomNativeDragPreview } from "./vendor/drag.js";
import * as words from "./words.js";

const INDENT = 22;
const EDGE = 24; // of a row, before its first level
const OPENS_AFTER = 600;

/** @type {WeakSet<Element>} */
const known = new WeakSet();
/** @type {{id: string, timer: number}|null} */
let hovering = null;

/** Make a row one that can be dragged, and its grid one that can be dropped on. @param {Element} row */
export function ready(row) {
  const grid = row.closest(".grid");
  if (!grid || !grid.closest("main")) return;
  if (!known.has(row)) {
    known.add(row);
    draggable({ element: /** @type {HTMLElement} */ (row), canDrag: () => source.readonly() === null && !state.edit, getInitialData: () => ({ ids: idsOf(row) }), onGenerateDragPreview: preview });
  }
  if (!known.has(grid)) {
    known.add(grid);
    dropTargetForElements({ element: grid, getData: over, onDrag: shown, onDragLeave: clear, onDrop: dropped });
  }
}

/** The selection, if the row is part of it. @param {Element} row */
function idsOf(row) {
  const id = row.getAttribute("data-id") ?? "";
  return state.selected.has(id) ? targets() : [id];
}

/** @param {any} event */
function preview({ nativeSetDragImage, source: { data } }) {
  const first = goalOf(data.ids[0])?.name ?? "";
  setCustomNativeDragPreview({
    nativeSetDragImage,
    render({ container }) {
      const chip = document.createElement("div");
      chip.className = "drag-chip";
      chip.textContent = data.ids.length > 1 ? words.did.dragged(first, data.ids.length - 1) : first;
      container.append(chip);
    },
  });
}

/** Which row is under the pointer, and what dropping there would mean. @param {any} event */
function over({ input, element }) {
  const box = element.getBoundingClientRect();
  const shown = rows();
  const index = Math.max(0, Math.min(shown.length - 1, Math.floor((input.clientY - box.top) / rowHeight())));
  const row = shown[index];
  const top = box.top + index * rowHeight();
  const line = { getBoundingClientRect: () => new DOMRect(box.left + EDGE, top, box.width - EDGE, rowHeight()) };
  const data = { index, id: row.goal.id };
  return attachInstruction(data, { element: /** @type {any} */ (line), input, currentLevel: row.depth, indentPerLevel: INDENT, mode: modeOf(row) });
}

/** @param {any} event */
function landingOf({ self, source: { data } }) {
  const instruction = extractInstruction(self.data);
  const row = rows()[self.data.index];
  return { instruction, row, at: instruction && row ? landing(model.tree, row, instruction, data.ids) : null };
}

/** @param {any} event */
function shown(event) {
  const { instruction, row, at } = landingOf(event);
  if (!instruction || !row) return;
  const edge = { "reorder-above": 0, "make-child": row.open && row.kids ? 1 : null }[/** @type {string} */ (instruction.type)];
  const drop = { index: event.self.data.index + (edge ?? 1), level: at?.level ?? 0, into: edge === null ? row.goal.id : null, blocked: at === null };
  if (JSON.stringify(drop) !== JSON.stringify(state.drop)) change({ drop });
  opensSoon(row, instruction.type === "make-child" && row.kids > 0 && !row.open);
}

/** @param {import("./rows.js").Shown} row @param {boolean} closed */
function opensSoon(row, closed) {
  if (hovering && (hovering.id !== row.goal.id || !closed)) {
    clearTimeout(hovering.timer);
    hovering = null;
  }
  if (closed && !hovering) hovering = { id: row.goal.id, timer: window.setTimeout(() => setClosed([row.goal.id], false), OPENS_AFTER) };
}

function clear() {
  if (hovering) clearTimeout(hovering.timer);
  hovering = null;
  change({ drop: null });
}

/** @param {any} event */
function dropped(event) {
  const { at } = landingOf(event);
  const { ids } = event.source.data;
  clear();
  if (!at) return change({ toast: { text: words.why.underItself, error: true } });
  if (at.place.parent) setClosed([at.place.parent], false);
  move(ids, at.place, { tell: true }).catch(() => {});
  change({ focus: { id: ids[0], cell: 0 }, grab: true });
}
