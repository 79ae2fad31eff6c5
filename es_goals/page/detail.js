/** The pane of one goal: its fields, who made them so, and its history, in which each command can be undone. */
import { edit } from "./actions.js";
import { get } from "./api.js";
import { setDetail } from "./app.js";
import { fill } from "./dialogs.js";
import { commandsOf, entry } from "./history.js";
import { goalOf, model } from "./model.js";
import { bar, iconButton, linked } from "./parts.js";
import { change, flush, state } from "./state.js";
import { inOrder, pathTo } from "./tree.js";
import { focusOn, source } from "./treeview.js";
import { html, live, nothing, repeat } from "./vendor/lit.js";
import * as texts from "./texts.js";
import * as words from "./words.js";

let reason = "";
/** What is being typed, which no drawing may take away. @type {{id: string, field: string, text: string, revision: number|undefined}|null} */
let typing = null;
let subtree = false;
/** @type {{id: string, subtree: boolean, position: number, commands: import("./undo.js").Said[], next: number|null}|null} */
let told = null;
/** @type {{id: string, position: number, fields: Record<string, any>}|null} */
let blame = null;
let loading = "";

/** @param {string|null} id @param {boolean} [history] show it whole */
export function openDetail(id, history = false) {
  if (id && !source.tree().goals.has(id)) change({ toast: { text: texts.detail.missing, error: true } });
  if (!id || !model.tree.goals.has(id)) return;
  setDetail({ body });
  reason = "";
  change({ detail: id });
  flush();
  if (state.detail) /** @type {HTMLElement|null} */ (document.querySelector(history ? ".pane .history" : ".pane .title"))?.focus();
}

/** Ask for a due date only. @param {string|null} id */
export async function openDue(id) {
  const goal = goalOf(id);
  if (!goal) return;
  const fields = [{ name: "due", label: texts.detail.due, type: "date", value: localDay(goal.due) }];
  const given = await fill({ title: goal.name, fields, go: texts.detail.set });
  if (given) await save(goal.id, { due: given.due ? endOfDay(given.due) : null });
  focusOn(goal.id);
}

/** @param {string|null} at */
const localDay = (at) => (at ? local(at).slice(0, 10) : "");
/** As `datetime-local` has it. @param {string} at */
function local(at) {
  const date = new Date(at);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
/** A day means until it is over, where the person is. @param {string} day */
const endOfDay = (day) => new Date(`${day}T23:59:59`).toISOString();

/** @param {string} id @param {any} fields */
async function save(id, fields) {
  const why = reason.trim();
  const seen = typing?.revision ?? goalOf(id)?.revision;
  reason = "";
  typing = null;
  try {
    await edit(id, fields, { seen, ...(why ? { reason: why } : {}) });
  } catch {
    // The queue has told it.
  }
}

/** @param {import("./fold.js").Goal} goal @param {"name"|"description"} field */
const typedOr = (goal, field) => (typing?.id === goal.id && typing.field === field ? typing.text : goal[field] ?? "");

/** @param {import("./fold.js").Goal} goal @param {"name"|"description"} field */
const types = (goal, field) => (/** @type {any} */ event) => {
  typing = { id: goal.id, field, text: event.target.value, revision: typing?.revision ?? goal.revision };
};

/** What the pane shows besides the tree, loaded when it is out of date. @param {string} id */
function refresh(id) {
  const now = `${id} ${subtree} ${model.position}`;
  if (loading === now) return;
  loading = now;
  Promise.all([commandsOf({ goal: id, subtree }), get(`/v2/goals/${id}/blame`)]).then(
    ([page, made]) => {
      told = { id, subtree, position: model.position, commands: page.commands, next: page.next };
      blame = { id, position: model.position, fields: made.fields };
      change();
    },
    () => {},
  );
}

/** Who made a field so, as a tooltip. @param {string} field */
function by(field) {
  const made = blame?.id === state.detail ? blame?.fields[field]?.by : null;
  return made ? texts.detail.by(made, words.dayTime(made.at)) : nothing;
}

function body() {
  const id = /** @type {string} */ (state.detail);
  const goal = source.tree().goals.get(id);
  if (!goal) return nothing;
  refresh(id);
  const path = pathTo(source.tree(), id);
  const fixed = source.readonly() !== null || goal.root !== null;
  const node = inOrder(source.tree(), { under: id, deleted: true })[0];
  return html`<aside class="pane" aria-label=${texts.detail.title} @keydown=${keyed}>
    <header><div class="path" dir="auto">${path.map(({ name }) => html`<bdi>${name}</bdi> › `)}</div>
      ${iconButton("x", words.tools.close, close, { keys: "Esc" })}</header>
    <textarea class="title" dir="auto" rows="1" aria-label=${texts.detail.name} title=${by("name")} maxlength="400" ?readonly=${fixed} .value=${live(typedOr(goal, "name"))} @keydown=${oneLine} @input=${types(goal, "name")}
      @change=${(/** @type {any} */ event) => event.target.value.trim() && save(id, { name: event.target.value.trim() })}></textarea>
    ${node?.kids ? html`<div class="field pane-progress">${bar(node.completed, node.leaves)}</div>` : nothing}
    <div class="pair">${when("start", goal.start, fixed)} ${when("due", goal.due, fixed)}</div>
    ${goal.end ? html`<p class="quiet" title=${by("end")}>${texts.detail.done} ${words.dayTime(goal.end)}</p>` : nothing}
    <label class="field"><span>${texts.detail.description}</span>
      <textarea class="text" dir="auto" maxlength="16384" title=${by("description")} ?readonly=${fixed} .value=${live(typedOr(goal, "description"))} @input=${types(goal, "description")}
        @change=${(/** @type {any} */ event) => save(id, { description: event.target.value || null })}></textarea></label>
    ${/https:\/\//.test(goal.description ?? "") ? html`<p class="written quiet" dir="auto">${linked(goal.description ?? "").filter((part) => typeof part !== "string").map((part) => html`${part} `)}</p>` : nothing}
    ${fixed ? nothing : html`<label class="field"><span>${texts.detail.why}</span><input class="why" dir="auto" maxlength="1000" placeholder=${texts.detail.whyHint} .value=${live(reason)}
      @input=${(/** @type {any} */ event) => { reason = event.target.value; }}></label>`}
    ${history(goal)}</aside>`;
}

/** @param {"start"|"due"} field @param {string|null} at @param {boolean} fixed */
const when = (field, at, fixed) => html`<label><span>${texts.detail[field]}</span>
  <input type="datetime-local" title=${by(field)} ?readonly=${fixed} .value=${at ? local(at) : ""} @change=${(/** @type {any} */ event) => {
    const { value } = event.target;
    if (value || field === "due") save(/** @type {string} */ (state.detail), { [field]: value ? new Date(value).toISOString() : null });
  }}></label>`;

/** @param {import("./fold.js").Goal} goal */
function history(goal) {
  const shown = told?.id === goal.id && told.subtree === subtree ? told : null;
  return html`<section class="history" tabindex="-1" aria-label=${texts.detail.history}>
    <header><h2>${texts.detail.history}</h2><span class="grow"></span>
      <label class="quiet"><input type="checkbox" .checked=${live(subtree)} @change=${() => { subtree = !subtree; change(); }}> ${texts.detail.withBelow}</label></header>
    <ul class="list">${repeat(shown?.commands ?? [], (one) => one.command, (one) => entry(one, { compact: true }))}</ul>
    ${shown?.next ? html`<button type="button" @click=${() => more(goal.id)}>${texts.detail.more}</button>` : nothing}
    <p class="quiet">${texts.detail.created(words.dayTime(goal.created_at))}</p></section>`;
}

/** @param {string} id */
async function more(id) {
  if (!told) return;
  const page = await commandsOf({ goal: id, subtree, before: told.next });
  told = { ...told, commands: [...told.commands, ...page.commands], next: page.next };
  change();
}

function close() {
  const id = state.detail;
  change({ detail: null });
  if (id && goalOf(id)) focusOn(id);
}

/** @param {KeyboardEvent} event */
function keyed(event) {
  if (event.key === "Escape" && !event.defaultPrevented) close();
}

/** @param {KeyboardEvent} event */
function oneLine(event) {
  if (event.key !== "Enter") return;
  event.preventDefault();
  /** @type {HTMLElement} */ (event.target).blur();
}

