/** What if: the same tree, keys and drags, but commands go to a draft, which is applied all at once or dropped. */
import { elsewhere } from "./actions.js";
import { get, request, userPath } from "./api.js";
import { ask, choose } from "./dialogs.js";
import { foldAll } from "./fold.js";
import { load, model } from "./model.js";
import { blank, icon, iconButton, theirs, when } from "./parts.js";
import { idle } from "./queue.js";
import { hashOf } from "./routes.js";
import { attempt, button, screen, tell } from "./screens.js";
import { change, state, treeChanged } from "./state.js";
import { giveBack, present, source, tree } from "./treeview.js";
import { html, nothing, repeat } from "./vendor/lit.js";
import { drafts as say } from "./phrases.js";
import * as words from "./words.js";

/** @type {any} */
let draft = null;
/** @type {any[]|null} */
let all = null;
/** When what it stands on was recorded. @type {string|null} */
let base = null;
/** Goals that the draft changes. @type {Set<string>} */
let touched = new Set();
/** How many commands each step of this visit added, and those that were taken out again. @type {number[]} */
let steps = [];
/** @type {any[][]} */
let takenOut = [];
let failure = "";
let entered = 0;

const user = () => userPath(/** @type {any} */ (state.user).id);
const own = () => `${user()}/drafts/${draft.id}`;
const here = (/** @type {string} */ rest = "") => hashOf(/** @type {any} */ (state.user).name, rest);
const close = () => void (location.hash = here());

/** Begin one, or go on with one that is open. */
export async function startDraft() {
  await idle();
  const got = await attempt(() => get(`${user()}/drafts`));
  if (!got) return;
  const open = got.drafts.filter((/** @type {any} */ one) => one.state === "open");
  const id = await ask((done) => html`<p class="quiet">${say.text}</p>
    <form class="fields" @submit=${(/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      begin(String(new FormData(/** @type {HTMLFormElement} */ (event.target)).get("name"))).then((made) => made && done(made));
    }}><label><span>${say.name}</span><input name="name" required maxlength="200" autofocus autocomplete="off" dir="auto"></label>
      <div class="buttons"><button class="primary">${say.begin}</button></div></form>
    ${open.length ? html`<h3>${say.open}</h3><ul class="list">${open.map((/** @type {any} */ one) => item(one, () => done(one.id)))}</ul>` : nothing}`, { title: words.tools.draft });
  if (id) location.hash = here(`draft/${id}`);
}

/** @param {string} name */
const begin = async (name) => (await attempt(() => request("POST", `${user()}/drafts`, { body: { name } })))?.data.id;

/** @param {any} one @param {() => void} go */
const item = (one, go) => html`<li><button type="button" class="link say" @click=${go}><bdi>${one.name}</bdi></button>
  <span class="chip ${one.state === "applied" ? "completed" : ""}">${say.states[one.state]}</span> ${when(one.updated_at)}</li>`;

/** @param {import("./state.js").Route} route */
async function enter(route) {
  const mine = ++entered;
  [draft, all, failure, steps, takenOut, base] = [null, null, "", [], [], null];
  change({ detail: null, edit: null });
  try {
    if (!route.id) all = (await get(`${user()}/drafts`)).drafts;
    else {
      await idle();
      draft = { id: route.id };
      await reload();
      if (mine !== entered) return;
      source.readonly = () => present.readonly() ?? (draft.state === "applied" ? say.applied : null);
      source.grid = { classes: ({ goal }) => (touched.has(goal.id) ? "drafted" : ""), lead: mark };
      elsewhere.send = send;
      elsewhere.undo = undo;
      elsewhere.redo = redo;
      elsewhere.missed = missed;
      base = (await get(`${user()}/events`, { order: "desc", before: draft.base + 1, limit: 1 })).events[0]?.at ?? null;
    }
  } catch (error) {
    draft = null;
    failure = words.trouble(/** @type {any} */ (error));
  }
  change();
}

/** It is told that the log went on. @param {number} count */
function missed(count) {
  draft = { ...draft, behind: draft.behind + count };
  change();
}

/** @param {import("./rows.js").Shown} row */
const mark = ({ goal }) => html`<span class="token" title=${touched.has(goal.id) ? say.touched : nothing}>${touched.has(goal.id) ? html`<span aria-hidden="true">✎</span><span class="sr">${say.touched}</span>` : nothing}</span>`;

async function reload() {
  const mine = entered;
  const [made, answer, diff] = await Promise.all([
    get(own()), get(`${own()}/goals`, { view: "flat", deleted: true, ranks: true }), get(`${own()}/diff`, { against: "base" }),
  ]);
  if (mine !== entered) return;
  draft = made;
  touched = new Set(diff.goals.map((/** @type {any} */ one) => one.id));
  // What keys and drags work on is the draft's tree, as long as it is shown.
  load({ ...answer, position: model.position, version: model.version });
}

/** What a person did goes to the draft, and is shown before it is answered. @param {any[]} commands @param {import("./fold.js").Fact[]} [facts] */
async function send(commands, facts = []) {
  foldAll(model.tree, facts);
  treeChanged();
  const done = await changed(() => request("POST", `${own()}/commands`, { body: { commands } }));
  if (done) [steps, takenOut] = [[...steps, commands.length], []];
  return { command: null };
}

/** @param {() => Promise<any>} work */
async function changed(work) {
  const done = await attempt(work);
  await attempt(reload);
  return done;
}

/** The list of commands in place of what it has. @param {any[]} commands */
const replace = (commands) => changed(() => request("PUT", own(), { body: { commands }, headers: { "If-Match": `"d${draft.revision}.b${draft.behind}"` } }));

/** Take out the latest step. */
async function undo() {
  const count = steps.pop() ?? 1;
  const { commands } = draft;
  if (!commands.length) return tell(say.nothingUndo);
  if (await replace(commands.slice(0, -count))) {
    takenOut.push(commands.slice(-count));
    tell(say.undone);
  }
}

async function redo() {
  const back = takenOut.pop();
  if (!back) return tell(say.nothingRedo);
  if (await changed(() => request("POST", `${own()}/commands`, { body: { commands: back } }))) steps.push(back.length);
}

async function leave() {
  entered++;
  if (!elsewhere.send) return;
  giveBack();
  Object.assign(elsewhere, { send: null, undo: null, redo: null, missed: null });
  const mine = state.user?.id;
  const live = await attempt(() => get(`${user()}/goals`, { view: "flat", deleted: true, ranks: true }));
  if (live && state.user?.id === mine && !elsewhere.send) load(live);
}

// ––– bringing it up to date, applying it

/** @param {"apply"|"rebase"} what @param {any} [body] */
async function order(what, body) {
  try {
    const { headers } = await request("POST", `${own()}/${what}`, { body: what === "apply" ? (body ?? {}) : undefined });
    if (what === "rebase") {
      await reload();
      return tell(say.rebased);
    }
    change({ toast: { text: say.done, command: headers.get("Command") } });
    close();
  } catch (error) {
    const problem = /** @type {import("./api.js").Problem} */ (error);
    if (problem.kind === "draft-conflicts") await conflicts(what, problem.body.conflicts ?? []);
    else change({ toast: { text: words.trouble(problem), error: true } });
  }
}

/** @param {any} value */
const shown = (value) => (value === null || value === undefined ? say.nothing : typeof value === "object" ? (nameOf(value.parent_id) ?? words.tree.top) : /^\d{4}-\d\d-\d\dT/.test(value) ? words.dayTime(value) : value);
/** @param {string} id */
const nameOf = (id) => model.tree.goals.get(id)?.name;

/** @param {any} one */
const conflict = (one) => one.kind === "overwrites"
  ? html`<li><span class="say"><span class="strong" dir="auto">${say.overwrites(nameOf(one.goal_id) ?? "", one.field)}</span>
      <dl class="both"><dt>${say.now}</dt><dd dir="auto">${shown(one.now)}</dd><dt>${say.mine}</dt><dd dir="auto">${shown(one.mine)}</dd></dl></span>${one.by ? when(one.by.at) : nothing}</li>`
  : html`<li><span class="say"><bdi class="strong">${one.command.name ?? nameOf(one.command.id) ?? one.command.type}</bdi> <small dir="auto">${words.trouble({ status: 409, kind: String(one.problem.type ?? "").replace("/problems/", ""), message: one.problem.detail ?? one.problem.title })}</small></span></li>`;

/** @param {"apply"|"rebase"} what @param {any[]} found */
async function conflicts(what, found) {
  const refused = found.filter((one) => one.kind === "refused").map((one) => one.index);
  const overwritten = new Set(found.filter((one) => one.kind === "overwrites").map((one) => one.goal_id));
  const answer = await ask((done) => html`<ul class="list conflicts">${found.map(conflict)}</ul>
    <div class="buttons">${what === "apply" && !refused.length ? html`<button type="button" class="primary" @click=${() => done("mine")}>${say.keepMine}</button>` : nothing}
      <button type="button" @click=${() => done("theirs")}>${say.takeTheirs}</button> <button type="button" @click=${() => done(null)}>${say.leave}</button></div>`, { title: say.conflicts(found.length) });
  if (answer === "mine") await order("apply", { keep: "mine" });
  if (answer !== "theirs") return;
  const left = draft.commands.filter((/** @type {any} */ command, /** @type {number} */ i) => !refused.includes(i) && !(overwritten.has(command.id) && command.type !== "CreateGoal"));
  if (await replace(left)) await order(what);
}

async function compare() {
  const got = await attempt(() => request("GET", `${own()}/diff?against=now`, { headers: { Accept: "text/plain" } }));
  if (got) await ask(() => html`<pre class="diff-text" dir="auto" tabindex="0">${got.data.trim() || say.same}</pre>`, { title: say.compare, kind: "wide" });
}

async function drop() {
  const sure = await choose({ title: say.dropTitle(draft.name), text: say.dropText(draft.commands.length), choices: [{ key: "no", text: say.keep }, { key: "yes", text: say.drop, danger: true }] });
  if (sure === "yes" && (await attempt(() => request("DELETE", own())))) close();
}

const list = () => screen(say.title, html`${all?.length ? nothing : blank(say.none)}
  <ul class="list">${repeat([...(all ?? [])].reverse(), ({ id }) => id, (one) => item(one, () => void (location.hash = here(`draft/${one.id}`))))}</ul>`,
{ text: say.text, tools: button("plus", say.begin, startDraft, "primary") });

export const view = {
  enter,
  leave,
  tint: "drafting",
  body() {
    if (failure) return blank(failure);
    if (all) return list();
    if (!draft?.name) return nothing;
    const empty = draft.commands.length ? null : say.nothingUndo;
    const open = draft.state === "open" && present.readonly() === null;
    return html`<section class="time" aria-label=${words.tools.draft}><div class="time-line">${icon("git-branch")} <strong>${theirs(draft.name)}</strong>
      <span class="quiet">${draft.state === "open" ? say.state(draft.commands.length, base, draft.behind) : say.applied}</span><span class="grow"></span>
      ${iconButton("x", words.tools.close, close)} ${button("git-compare-arrows", say.compare, compare)}
      ${open ? html`${draft.behind ? button("", say.rebase, () => order("rebase")) : nothing} ${button("check", say.apply, () => order("apply"), "primary", empty)} ${button("", say.drop, drop, "danger")}` : nothing}</div></section>${tree()}`;
  },
};
