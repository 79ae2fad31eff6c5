/** Two points in time side by side in one tree: what came, went, moved, and what became of the rest. */
import { get, request, at as pathAt, userPath } from "./api.js";
import { empty, fromFlat } from "./fold.js";
import { model } from "./model.js";
import { blank, icon, iconButton, theirs } from "./parts.js";
import { hashOf, pointOf } from "./routes.js";
import { change, state, treeChanged } from "./state.js";
import { inOrder, visible } from "./tree.js";
import { acted, giveBack, source } from "./treeview.js";
import { treegrid } from "./rows.js";
import { press } from "./keys.js";
import { html, live, nothing } from "./vendor/lit.js";
import * as texts from "./texts.js";
import * as words from "./words.js";

/** @typedef {{id: string, name: string, path: string[], under: number, changes: any[], events: any[]}} Entry */

const KINDS = /** @type {Record<string, {sign: string, icon: string}>} */ ({
  created: { sign: "+", icon: "plus" }, restored: { sign: "+", icon: "rotate-ccw" }, deleted: { sign: "−", icon: "minus" }, moved: { sign: "→", icon: "arrow-right" },
  reordered: { sign: "↕", icon: "arrow-down" }, renamed: { sign: "✎", icon: "pencil" }, described: { sign: "✎", icon: "pencil" }, scheduled: { sign: "◷", icon: "calendar" },
  completed: { sign: "✔", icon: "check" }, reopened: { sign: "○", icon: "circle" },
});

/** @type {any} */
let diff = null;
/** @type {Map<string, Entry>} */
let entries = new Map();
let tree = empty();
let failure = "";
let only = true;
/** @type {{from: string, to: string}} */
let asked = { from: "-7d", to: "now" };

/** @param {import("./state.js").Route} route */
async function enter(route) {
  asked = { from: route.from ?? "-7d", to: route.to ?? "now" };
  source.readonly = () => words.why.compare;
  source.tree = () => tree;
  failure = "";
  try {
    await load();
  } catch (error) {
    failure = words.trouble(/** @type {any} */ (error));
  }
  change({ detail: null, edit: null });
  treeChanged();
}

async function load() {
  const path = userPath(/** @type {any} */ (state.user).id);
  const [from, to] = [pointOf(asked.from, state.now) ?? model.position, pointOf(asked.to, state.now)];
  diff = await get(`${path}/diff`, { from, to });
  entries = new Map(diff.goals.map((/** @type {Entry} */ one) => [one.id, one]));
  tree = fromFlat(await get(`${path}/goals`, { view: "flat", deleted: true, ranks: true, as_of: diff.to.position }));
}

function leave() {
  giveBack();
  treeChanged();
}

/** @param {Entry|undefined} entry @param {string} kind */
const changeOf = (entry, kind) => entry?.changes.find((one) => one.kind === kind);

/** What is there, deleted goals in their places, and ghosts where goals were that moved. */
function rows() {
  const nodes = inOrder(tree, { deleted: true }).filter(({ goal }) => goal.root === null || changeOf(entries.get(goal.id), "deleted"));
  const left = new Set([...entries.values()].map((entry) => changeOf(entry, "moved")?.from.parent_id));
  const changed = only ? (/** @type {any} */ goal) => entries.has(goal.id) || left.has(goal.id) : null;
  /** @type {import("./rows.js").Shown[]} */
  const shown = visible(nodes, { closed: state.closed, keep: changed });
  for (const entry of entries.values()) {
    const moved = changeOf(entry, "moved");
    if (moved) ghost(shown, entry, moved);
  }
  return shown;
}

/** @param {import("./rows.js").Shown[]} shown @param {Entry} entry @param {any} moved */
function ghost(shown, entry, { from }) {
  const parent = from.parent_id === null ? -1 : shown.findIndex(({ goal }) => goal.id === from.parent_id);
  if (from.parent_id !== null && parent < 0) return;
  let at = parent + 1;
  const beside = shown.findIndex(({ goal }) => goal.id === from.after);
  if (beside >= 0 && from.after) for (at = beside + 1; at < shown.length && shown[at].depth > shown[beside].depth; at++);
  const goal = { .../** @type {any} */ (tree.goals.get(entry.id)), id: `was-${entry.id}` };
  const depth = parent < 0 ? 0 : shown[parent].depth + 1;
  shown.splice(at, 0, { goal, depth, size: 1, leaves: 1, completed: 0, kids: 0, place: 1, among: 1, open: true, match: false, dim: true, ghost: true });
}

/** @param {import("./rows.js").Shown} row */
const entryOf = (row) => entries.get(row.goal.id.replace(/^was-/, ""));

/** @param {import("./rows.js").Shown} row */
function classes(row) {
  const entry = entryOf(row);
  if (row.ghost) return "was";
  return entry ? `diff ${["deleted", "created", "restored", "moved"].find((kind) => changeOf(entry, kind)) ?? "changed-field"}` : "";
}

/** @param {import("./rows.js").Shown} row */
function lead(row) {
  const entry = entryOf(row);
  if (row.ghost) return html`<span class="token" title=${texts.compare.kinds.moved}>↷</span>`;
  const kind = entry?.changes[0].kind;
  return html`<span class="token" title=${kind ? texts.compare.kinds[kind] : nothing}>${kind ? KINDS[kind].sign : ""}${kind ? html`<span class="sr">${texts.compare.kinds[kind]}</span>` : nothing}</span>`;
}

/** @param {import("./rows.js").Shown} row */
function name(row) {
  const entry = entryOf(row);
  if (row.ghost) return html`<span class="name" dir="auto">${changeOf(entry, "renamed")?.from ?? row.goal.name}</span> <span class="quiet">${texts.compare.movedTo(changeOf(entry, "moved").to.path.at(-1) ?? words.tree.top)}</span>
    <button type="button" class="link" data-act="jump">${texts.compare.jump}</button>`;
  const renamed = changeOf(entry, "renamed");
  return html`<span class="name" dir="auto" title=${row.goal.name}>${row.goal.name}</span>${renamed ? html`<del class="quiet" dir="auto">${renamed.from}</del>` : nothing}${row.goal.root && entry?.under ? html`<span class="quiet">&nbsp;${texts.trash.below(entry.under)}</span>` : nothing}`;
}

/** @param {import("./rows.js").Shown} row */
const aside = (row) => {
  const entry = row.ghost ? undefined : entryOf(row);
  const by = entry?.events.at(-1);
  return html`<div role="gridcell" class="what" aria-colindex="2">${entry?.changes.map((one) => html`<span class="chip ${one.kind}">${texts.compare.change(one)}</span>`)}
    ${by ? html`<span class="quiet">${words.dayTime(by.at, state.now)}${by.reason ? html` “${theirs(by.reason)}”` : nothing}</span>` : nothing}</div>`;
};

/** @param {{from?: string, to?: string}} some */
function goto(some) {
  const { from, to } = { ...asked, ...some };
  location.hash = hashOf(/** @type {any} */ (state.user).name, `compare/${from}..${to}`);
}

async function copy() {
  const path = pathAt(`${userPath(/** @type {any} */ (state.user).id)}/diff`, { from: diff.from.position, to: diff.to.position });
  const { data } = await request("GET", path, { headers: { Accept: "text/plain" } });
  await navigator.clipboard.writeText(data);
  change({ toast: { text: texts.compare.copied } });
}

/** @param {string} act @param {import("./rows.js").Shown} row @param {Event} event */
function act(act, row, event) {
  if (act === "jump") change({ focus: { id: row.goal.id.replace("was-", ""), cell: 0 }, grab: true });
  else acted(act, row, event);
}

const close = () => void (location.hash = hashOf(/** @type {any} */ (state.user).name));
/** @param {string} text */
const dayOf = (text) => (pointOf(text, state.now) ?? state.now).slice(0, 10);

function body() {
  const head = html`<section class="time" aria-label=${words.tools.compare}><div class="time-line">
      <label><span class="sr">${texts.compare.from}</span><input type="date" .value=${live(/^\d+$/.test(asked.from) ? "" : dayOf(asked.from))} @change=${(/** @type {any} */ event) => event.target.value && goto({ from: event.target.value })}></label> …
      <label><span class="sr">${texts.compare.to}</span><input type="date" .value=${live(/^\d+$/.test(asked.to) ? "" : dayOf(asked.to))} @change=${(/** @type {any} */ event) => goto({ to: event.target.value || "now" })}></label>
      <label><span class="sr">${texts.compare.presets}</span><select @change=${(/** @type {any} */ event) => event.target.value && goto({ from: event.target.value, to: "now" })}><option value="">${texts.compare.presets}</option>
        ${Object.entries(texts.compare.preset).map(([value, text]) => html`<option value=${value} ?selected=${value === asked.from && asked.to === "now"}>${text}</option>`)}</select></label>
      <label><input type="checkbox" .checked=${live(only)} @change=${() => { only = !only; change(); }}> ${texts.compare.only}</label>
      <span class="grow"></span>
      ${diff ? html`<button type="button" @click=${copy}>${icon("copy")} ${texts.compare.copy}</button>` : nothing} ${iconButton("x", words.tools.close, close)}</div>
    ${diff && !failure ? html`<p class="legend">${Object.entries(diff.summary).filter(([kind, count]) => count && KINDS[kind]).map(([kind, count]) => html`<span class="chip ${kind}">${KINDS[kind].sign} ${words.num(/** @type {number} */ (count))} ${texts.compare.kinds[kind]}</span>`)}
      <span class="quiet">${texts.compare.progress(diff.progress)}</span></p>` : nothing}</section>`;
  if (failure || !diff) return html`${head}${failure ? blank(failure) : nothing}`;
  const shown = rows();
  if (!shown.length) return html`${head}${blank(texts.compare.same)}`;
  const on = { act, key: (/** @type {KeyboardEvent} */ event) => void (press(event, "tree") && event.stopPropagation()) };
  return html`${head}${treegrid({ rows: shown, label: words.tools.compare, position: diff.to.position, readonly: true, classes, lead, name, aside, on })}`;
}

export const view = { enter, leave, body, tint: "compared" };
