/** History as sentences: one entry a command, who, when and why; each can be undone, redone, looked at. */
import { get, userPath } from "./api.js";
import { model } from "./model.js";
import { blank, icon, iconButton, when } from "./parts.js";
import { hashOf } from "./routes.js";
import { change, state } from "./state.js";
import { source } from "./treeview.js";
import { html, nothing, repeat } from "./vendor/lit.js";
import * as texts from "./texts.js";
import * as words from "./words.js";

/** @typedef {import("./undo.js").Said} Said */

const SITTING = 10 * 60_000;

/** A page of them, latest first. @param {{goal?: string, subtree?: boolean, actor?: string, before?: number|null, limit?: number}} query */
export async function commandsOf({ goal, subtree, actor, before, limit = 100 }) {
  const query = { order: "desc", limit, before, goal, subtree: goal && subtree ? true : null, actor };
  const { commands, next } = await get(`${userPath(/** @type {any} */ (state.user).id)}/commands`, query);
  await namesOf(commands);
  return { commands: /** @type {Said[]} */ (commands), next: next && commands.at(-1).first };
}

/** @type {Map<string, string>} */
const names = new Map();

/** Find out how actors are called, where one may. @param {Said[]} commands */
async function namesOf(commands) {
  if (state.me) names.set(state.me.id, state.me.name);
  const unknown = new Set(commands.map(({ actor }) => actor).filter((actor) => actor && !names.has(actor)));
  for (const id of unknown) {
    const user = await get(userPath(/** @type {string} */ (id))).catch(() => null);
    names.set(/** @type {string} */ (id), user?.name ?? texts.history.someone);
  }
}

/** @param {string|null} actor */
export const nameOf = (actor) => (actor === null ? "" : (names.get(actor) ?? texts.history.someone));

/** @param {Said} one @param {{compact?: boolean}} [how] */
export function entry(one, { compact = false } = {}) {
  const undone = one.undone_by !== null;
  return html`<li class=${undone ? "undone" : ""} data-command=${one.command}>
    ${when(one.at, compact ? words.dayTime(one.at, state.now) : words.time(one.at))}
    <span class="say" dir="auto">${one.actor ? html`<bdi class="actor">${nameOf(one.actor)}</bdi> ` : nothing}${words.readable(one.say)}</span>
    ${source.readonly() !== null || undone ? nothing : html`<button type="button" class="plain" @click=${() => undo(one)}>${one.undoes === null ? words.tools.undo : words.tools.redo}</button>`}
    ${iconButton("clock", texts.detail.jump, () => void (location.hash = hashOf(/** @type {any} */ (state.user).name, `at/${one.last}`)))}
    ${one.reason ? html`<span class="reason" dir="auto">“${one.reason}”</span>` : nothing}</li>`;
}

/** @param {Said} one */
async function undo(one) {
  const { undoCommand } = await import("./undo.js");
  await undoCommand(one.command, one.say, one.undoes === null ? words.did.undone : words.did.redone);
  if (state.route.view === "history") await view.enter();
}

/** @type {Said[]} */
let shown = [];
/** @type {number|null} */
let next = null;
let failure = "";
let words_ = "";
let kind = "";
let actor = "";

/** Commands of one person without long gaps between. @param {Said[]} commands @returns {Said[][]} */
export function sittings(commands) {
  /** @type {Said[][]} */
  const groups = [];
  for (const one of commands) {
    const group = groups.at(-1);
    const last = group?.at(-1);
    if (group && last && last.actor === one.actor && Date.parse(last.at) - Date.parse(one.at) < SITTING) group.push(one);
    else groups.push([one]);
  }
  return groups;
}

/** @param {Said} one */
const passes = (one) =>
  (!kind || one.counts[kind]) && (!actor || one.actor === actor) && (!words_ || `${one.say} ${one.reason ?? ""}`.toLowerCase().includes(words_.toLowerCase()));

async function more() {
  const page = await commandsOf({ before: next });
  shown = [...shown, ...page.commands];
  next = page.next;
  change();
}

export const view = {
  async enter() {
    failure = "";
    try {
      ({ commands: shown, next } = await commandsOf({}));
    } catch (error) {
      failure = words.trouble(/** @type {any} */ (error));
    }
    change();
  },
  body() {
    if (failure) return blank(failure);
    const kinds = [...new Set(shown.flatMap(({ counts }) => Object.keys(counts)))].sort();
    const actors = [...new Set(shown.map((one) => one.actor).filter(Boolean))];
    const found = shown.filter(passes);
    return html`<div class="view" data-position=${model.position}><div class="view-inner">
      <h1>${words.tabs.history}</h1>
      <div class="filters" role="search">
        <label><span>${texts.history.kind}</span><select @change=${(/** @type {any} */ event) => { kind = event.target.value; change(); }}>
          <option value="">${texts.history.allKinds}</option>${kinds.map((one) => html`<option value=${one}>${texts.history.kinds[one] ?? one}</option>`)}</select></label>
        ${actors.length > 1 ? html`<label><span>${texts.history.who}</span><select @change=${(/** @type {any} */ event) => { actor = event.target.value; change(); }}>
          <option value="">${texts.history.anyone}</option>${actors.map((one) => html`<option value=${/** @type {string} */ (one)}>${nameOf(one)}</option>`)}</select></label>` : nothing}
        <label><span>${words.tools.search}</span><input type="search" @input=${(/** @type {any} */ event) => { words_ = event.target.value; change(); }}></label>
      </div>
      ${found.length ? nothing : blank(texts.history.none)}
      ${sittings(found).map((group) => html`<section><h2 class="group">${head(group)}</h2>
        <ul class="list">${repeat(group, (one) => one.command, (one) => entry(one))}</ul></section>`)}
      ${next ? html`<p class="buttons"><button type="button" @click=${more}>${icon("chevron-down")} ${texts.detail.more}</button></p>` : nothing}
    </div></div>`;
  },
};

/** @param {Said[]} group */
function head(group) {
  const [last, first] = [group[0], /** @type {Said} */ (group.at(-1))];
  const time = words.time(first.at) === words.time(last.at) ? words.time(last.at) : `${words.time(first.at)}–${words.time(last.at)}`;
  return html`${words.day(last.at, state.now)}${last.actor ? html` · <bdi>${nameOf(last.actor)}</bdi>` : nothing} · ${time} · ${words.counted(group.length, "change")}`;
}
