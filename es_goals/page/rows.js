/**
 * The rows of a tree as a treegrid: flat, virtual, one row or cell with the tab stop. It draws; what happens on a key or
 * a click is for the view that shows it.
 *
 * @typedef {import("./tree.js").Row} Row
 * @typedef {Row & {draft?: boolean, ghost?: boolean}} Shown  `draft`: a goal that is being named; `ghost`: not there any more
 * @typedef {{rows: Shown[], label: string, position: number, readonly: boolean, words?: string,
 *   classes?: (row: Shown) => string, aside?: (row: Shown) => unknown, name?: (row: Shown) => unknown,
 *   lead?: (row: Shown) => unknown,
 *   on: {act: (act: string, row: Shown, event: Event) => void, key: (event: KeyboardEvent) => void, input?: unknown}}} Grid
 * `aside` stands in place of progress and due, `name` of the name, `lead` before the row
 */
import { html, ifDefined, nothing, ref, repeat } from "./vendor/lit.js";
import { bar, icon } from "./parts.js";
import { change, flush, state } from "./state.js";
import { marked, overdue } from "./tree.js";
import * as words from "./words.js";

export const OVERSCAN = 11;
const DEEPEST = 12;
const narrow = matchMedia("(max-width: 639px), (pointer: coarse)");
narrow.addEventListener("change", () => change());

/** What is seen of the grid. */
const port = { top: 0, height: 900, all: false };
/** @type {HTMLElement|null} */
let scroller = null;

export const rowHeight = () => (narrow.matches ? 44 : 32);

const measured = new ResizeObserver(([{ contentRect }]) => {
  if (Math.abs(contentRect.height - port.height) > 1) {
    port.height = contentRect.height;
    change();
  }
});

// What is printed is the whole open tree.
addEventListener("beforeprint", () => {
  port.all = true;
  change();
  flush();
});
addEventListener("afterprint", () => {
  port.all = false;
  change();
});

/** @param {Element|undefined} element */
function mounted(element) {
  if (element === scroller) return;
  measured.disconnect();
  scroller = /** @type {HTMLElement|null} */ (element ?? null);
  if (!scroller) return;
  port.top = scroller.scrollTop;
  port.height = scroller.clientHeight || port.height;
  measured.observe(scroller);
}

function scrolled() {
  const top = /** @type {HTMLElement} */ (scroller).scrollTop;
  const step = rowHeight() * (OVERSCAN / 2);
  if (Math.floor(top / step) !== Math.floor(port.top / step)) change();
  port.top = top;
}

/** Bring a row into sight, if it is not. @param {number} index */
export function reveal(index) {
  if (!scroller || index < 0) return;
  const height = rowHeight();
  const margin = height * 2;
  const y = index * height;
  if (y < scroller.scrollTop + margin - height) scroller.scrollTop = Math.max(0, y - margin);
  else if (y + height > scroller.scrollTop + scroller.clientHeight - margin) scroller.scrollTop = y + height + margin - scroller.clientHeight;
  port.top = scroller.scrollTop;
}

/** Which rows are drawn: those in sight and a few around, and the focused one. @param {Shown[]} rows @param {number} focused */
function windowed(rows, focused) {
  if (port.all) return rows.map((row, i) => /** @type {[Shown, number]} */ ([row, i]));
  const height = rowHeight();
  const first = Math.max(0, Math.floor(port.top / height) - OVERSCAN);
  const last = Math.min(rows.length, Math.ceil((port.top + port.height) / height) + OVERSCAN);
  /** @type {[Shown, number][]} */
  const drawn = [];
  for (let i = first; i < last; i++) drawn.push([rows[i], i]);
  if (!rows.length) return drawn;
  if (focused >= 0 && focused < first) drawn.unshift([rows[focused], focused]);
  if (focused >= last) drawn.push([rows[focused], focused]);
  return drawn;
}

/** @param {Grid} grid */
export function treegrid(grid) {
  const { rows, label, position, on } = grid;
  const focused = rows.findIndex((row) => row.goal.id === state.focus?.id);
  const stop = focused >= 0 ? focused : 0;
  const act = (/** @type {Event} */ event) => {
    const target = /** @type {Element} */ (event.target);
    const row = target.closest("[data-id]");
    const shown = row && rows.find(({ goal }) => goal.id === row.getAttribute("data-id"));
    if (shown) on.act(target.closest("[data-act]")?.getAttribute("data-act") ?? "row", shown, event);
  };
  return html`
    <div class="scroller" ${ref(mounted)} @scroll=${scrolled}>
      <div class="grid" role="treegrid" aria-label=${label} aria-rowcount=${rows.length} aria-colcount="4" aria-multiselectable="true"
        aria-readonly=${grid.readonly ? "true" : "false"} data-position=${position} .style=${`height:${rows.length * rowHeight()}px`}
        @click=${act} @dblclick=${act} @contextmenu=${act} @keydown=${on.key} @focusin=${focusMoved}>
        ${repeat(windowed(rows, stop), ([row]) => row.goal.id, ([row, i]) => line(grid, row, i, i === stop))}
        ${state.drop && !state.drop.into ? html`<div class="drop ${state.drop.blocked ? "blocked" : ""}" aria-hidden="true"
          .style=${`--y:${state.drop.index * rowHeight()}px;--depth:${state.drop.level}`}></div>` : nothing}
      </div>
    </div>`;
}

/** The browser moved the focus by itself, such as by Tab or a click. @param {FocusEvent} event */
function focusMoved(event) {
  const target = /** @type {Element} */ (event.target);
  const id = target.closest("[data-id]")?.getAttribute("data-id");
  const cell = Number(target.closest("[data-cell]")?.getAttribute("data-cell") ?? 0);
  if (id && (state.focus?.id !== id || state.focus.cell !== cell)) change({ focus: { id, cell } });
}

/** After a drawing: give the focus to where it belongs, if it was asked for. */
export function focusAfter() {
  if (!state.grab) return;
  state.grab = false;
  const row = state.focus && scroller?.querySelector(`[data-id="${CSS.escape(state.focus.id)}"]`);
  const cell = state.focus?.cell ? row?.querySelector(`[data-cell="${state.focus.cell}"]`) : null;
  const found = row?.querySelector(".editor") ?? cell ?? row ?? document.querySelector('main [role="row"], main .empty-tree');
  const target = /** @type {HTMLElement|null} */ (found);
  if (target && target !== document.activeElement) target.focus({ preventScroll: true });
}

/** @param {Grid} grid @param {Shown} row @param {number} index @param {boolean} stop whether the tab stop is here */
function line(grid, row, index, stop) {
  const { goal } = row;
  const done = goal.end !== null;
  const busy = state.busy.has(goal.id);
  const is = { done, dim: row.dim, busy, cut: state.cut.includes(goal.id), top: row.depth === 0, editing: isEdited(row), ghost: row.ghost, into: state.drop?.into === goal.id };
  const classes = ["row", state.glow.get(goal.id), grid.classes?.(row), ...Object.entries(is).map(([name, so]) => so && name)];
  const depth = Math.min(row.depth, DEEPEST);
  return html`
    <div role="row" class=${classes.filter(Boolean).join(" ")} data-id=${goal.id} tabindex=${stop && !state.focus?.cell ? 0 : -1}
      aria-level=${row.depth + 1} aria-posinset=${row.place} aria-setsize=${row.among} aria-rowindex=${index + 1}
      aria-expanded=${row.kids ? String(row.open) : nothing} aria-selected=${String(state.selected.has(goal.id))}
      aria-busy=${busy ? "true" : nothing}
      .style=${`--y:${index * rowHeight()}px;--depth:${depth}`}>
      <div role="rowheader" class="lead" aria-colindex="1">
        ${grid.lead?.(row) ?? nothing}
        ${grid.readonly ? nothing : html`<span class="handle" data-act="handle" aria-hidden="true">${icon("grip-vertical")}</span>`}
        ${row.depth > DEEPEST ? html`<span class="level" title=${words.tree.level(row.depth + 1)}>${row.depth + 1}</span>` : nothing}
        ${twisty(row)} ${box(grid, row, stop)}
        ${isEdited(row) ? grid.on.input : (grid.name?.(row) ?? named(row, grid.words ?? ""))}
      </div>
      ${grid.aside ? grid.aside(row) : cells(grid, row, stop)}
    </div>`;
}

/** @param {Shown} row */
const isEdited = (row) => state.edit?.id === row.goal.id;

/** @param {Shown} row */
const twisty = (row) =>
  row.kids
    ? html`<span class="twisty" data-act="twist" aria-hidden="true">${icon(row.open ? "chevron-down" : "chevron-right")}</span>`
    : html`<span class="twisty" aria-hidden="true"></span>`;

/** @param {Grid} grid @param {Shown} row @param {boolean} stop */
function box(grid, { goal, draft }, stop) {
  const done = goal.end !== null;
  if (grid.readonly || draft) return html`<span class="check" data-done=${String(done)}>${done ? icon("check") : nothing}<span class="sr">${done ? words.tree.isDone : ""}</span></span>`;
  return html`<button type="button" class="check" role="checkbox" data-act="check" data-cell="1" data-done=${String(done)}
    tabindex=${stop && state.focus?.cell === 1 ? 0 : -1} aria-checked=${String(done)}
    aria-label=${done ? words.tree.reopen(goal.name) : words.tree.complete(goal.name)}>${done ? icon("check") : nothing}</button>`;
}

/** @param {Shown} row @param {string} query */
export function named(row, query) {
  const { goal } = row;
  const pieces = row.match ? marked(goal.name, query) : [goal.name];
  return html`
    <span class="name" dir="auto" title=${goal.name}>${pieces.map((piece, i) => (i % 2 ? html`<mark>${piece}</mark>` : piece))}</span>
    ${row.kids && !row.open ? html`<span class="hidden-count" title=${words.tree.hiddenLong(row.size - 1)} data-act="twist">${words.tree.hidden(row.size - 1)}</span>` : nothing}
    ${goal.description ? html`<span class="note" dir="auto" data-act="detail">${goal.description.slice(0, 200).split("\n")[0]}</span>` : nothing}`;
}

/** @param {Grid} grid @param {Shown} row @param {boolean} stop */
function cells(grid, row, stop) {
  const { goal } = row;
  const late = overdue(goal, state.now);
  const text = words.due(goal, state.now, late);
  const tab = (/** @type {number} */ cell) => (stop && state.focus?.cell === cell ? 0 : -1);
  return html`
    <div role="gridcell" class="progress" aria-colindex="2">${row.kids ? bar(row.completed, row.leaves) : nothing}</div>
    <div role="gridcell" class="due" aria-colindex="3">${
      grid.readonly || row.draft
        ? html`<span class=${late ? "late" : ""} title=${ifDefined(exactly(goal))}>${text}</span>`
        : html`<button type="button" class="plain ${late ? "late" : text ? "" : "unset"}" data-act="due" data-cell="2" tabindex=${tab(2)}
            title=${ifDefined(exactly(goal))} aria-label=${text ? `${words.tree.setDue(goal.name)}: ${text}` : words.tree.setDue(goal.name)}>
            ${late ? icon("triangle-alert") : nothing}${text || icon("calendar")}</button>`
    }</div>
    <div role="gridcell" class="more" aria-colindex="4">${
      grid.readonly || row.draft ? nothing
      : html`<button type="button" class="plain" data-act="menu" data-cell="3" tabindex=${tab(3)} aria-haspopup="menu"
          aria-label=${words.tree.more(goal.name)} title=${words.tree.actions}>${icon("ellipsis")}</button>`
    }</div>`;
}

/** @param {import("./fold.js").Goal} goal */
const exactly = (goal) => (goal.end ?? goal.due ? words.exact(/** @type {string} */ (goal.end ?? goal.due)) : undefined);
