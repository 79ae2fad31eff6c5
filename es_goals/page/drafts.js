/** What if: the same tree, keys and drags, but commands go to a draft, which is applied all at once or dropped. */
import { elsewhere } from "./actions.js";
import { get, request, userPath } from "./api.js";
import { ask, choose, fill } from "./dialogs.js";
import { empty, fromFlat } from "./fold.js";
import { load, model } from "./model.js";
import { blank, icon } from "./parts.js";
import { idle } from "./queue.js";
import { hashOf } from "./routes.js";
import { announce, change, state, treeChanged } from "./state.js";
import * as texts from "./texts.js";
import { source, tree } from "./treeview.js";
import { html, nothing } from "./vendor/lit.js";
import * as words from "./words.js";

/** @type {any} */
let draft = null;
/** Goals that the draft changes. @type {Set<string>} */
let touched = new Set();
let live = empty();
let failure = "";
const before = { ...source };

const path = () => `${userPath(/** @type {any} */ (state.user).id)}/drafts`;
const own = () => `${path()}/${draft.id}`;

/** Choose one of the open drafts, or begin one. */
export async function startDraft() {
  await idle();
  const { drafts } = await get(path());
  const open = drafts.filter((/** @type {any} */ one) => one.state === "open");
  const choices = [{ key: "", text: texts.drafts.begin }, ...open.map((/** @type {any} */ one) => ({ key: one.id, text: one.name }))];
  const id = open.length ? await choose({ title: words.tools.draft, text: texts.drafts.text, choices }) : "";
  if (id === null) return;
  const made = id || (await begin());
  if (made) location.hash = hashOf(/** @type {any} */ (state.user).name, `draft/${made}`);
}

async function begin() {
  const given = await fill({ title: words.tools.draft, text: html`<p>${texts.drafts.text}</p>`, fields: [{ name: "name", label: texts.drafts.name, required: true }], go: texts.drafts.begin });
  if (!given) return null;
  return (await request("POST", path(), { body: { name: given.name } })).data.id;
}

/** @param {import("./state.js").Route} route */
async function enter(route) {
  draft = { id: route.id };
  failure = "";
  live = { ...model.tree };
  try {
    await reload();
    source.readonly = () => before.readonly() ?? (draft.state === "applied" ? texts.drafts.applied : null);
    source.tree = () => live;
    source.grid = { classes: ({ goal }) => (touched.has(goal.id) ? "drafted" : "") };
    elsewhere.send = send;
  } catch (error) {
    failure = words.trouble(/** @type {any} */ (error));
  }
  change({ detail: null, edit: null });
}

async function reload() {
  const [made, answer, diff] = await Promise.all([
    get(own()), get(`${own()}/goals`, { view: "flat", deleted: true, ranks: true }), get(`${own()}/diff`, { against: "base" }),
  ]);
  draft = made;
  live = fromFlat(answer);
  shownInModel(answer);
  touched = new Set(diff.goals.map((/** @type {any} */ one) => one.id));
  treeChanged();
}

/** The tree that keys and drags work on is the draft's, as long as it is shown. @param {any} answer */
function shownInModel(answer) {
  const { position, version } = model;
  load({ ...answer, position, version });
  live = model.tree;
}

/** @param {any[]} commands @returns {Promise<any>} */
async function send(commands) {
  try {
    await request("POST", `${own()}/commands`, { body: { commands } });
  } catch (error) {
    change({ toast: { text: words.trouble(/** @type {any} */ (error)), error: true } });
  }
  await reload();
  return { command: null };
}

async function leave() {
  Object.assign(source, before);
  elsewhere.send = null;
  load(await get(`${userPath(/** @type {any} */ (state.user).id)}/goals`, { view: "flat", deleted: true, ranks: true }));
}

/** @param {string} action @param {any} [body] */
async function ordered(action, body) {
  try {
    await request("POST", `${own()}/${action}`, { body: body ?? {} });
    announce(action === "apply" ? texts.drafts.done : texts.drafts.rebased);
    if (action === "apply") close();
    else await reload();
  } catch (error) {
    const problem = /** @type {import("./api.js").Problem} */ (error);
    if (problem.kind === "draft-conflicts") await conflicts(action, problem.body.conflicts ?? []);
    else change({ toast: { text: words.trouble(problem), error: true } });
  }
}

/** @param {string} action @param {any[]} found */
async function conflicts(action, found) {
  const mine = action === "apply" && found.every((one) => one.kind === "overwrites");
  const answer = await ask((done) => html`<ul class="list">${found.map((one) => html`<li><span class="say">${texts.drafts.conflict(one)}</span></li>`)}</ul>
    <div class="buttons">${mine ? html`<button type="button" class="primary" @click=${() => done("mine")}>${texts.drafts.keepMine}</button>` : nothing}
      <button type="button" @click=${() => done(null)}>${words.tools.close}</button></div>`, { title: texts.drafts.conflicts(found.length) });
  if (answer) await ordered("apply", { keep: "mine" });
}

async function dropIt() {
  const sure = await choose({ title: texts.drafts.drop, text: texts.drafts.dropText(draft.commands.length), choices: [{ key: "no", text: texts.drafts.keep }, { key: "yes", text: texts.drafts.drop, danger: true }] });
  if (sure !== "yes") return;
  await request("DELETE", own());
  close();
}

const close = () => void (location.hash = hashOf(/** @type {any} */ (state.user).name));

export const view = {
  enter,
  leave,
  tint: "drafting",
  body() {
    if (failure) return blank(failure);
    if (!draft?.name) return nothing;
    return html`<section class="time" aria-label=${words.tools.draft}><div class="time-line">${icon("git-branch")} <strong dir="auto">${draft.name}</strong>
      <span class="quiet">${texts.drafts.state(draft.commands.length, draft.behind)}</span><span class="grow"></span>
      ${draft.behind ? html`<button type="button" @click=${() => ordered("rebase")}>${texts.drafts.rebase}</button>` : nothing}
      <button type="button" class="primary" aria-disabled=${draft.commands.length ? nothing : "true"} @click=${() => draft.commands.length && ordered("apply")}>${texts.drafts.apply}</button>
      <button type="button" class="danger" @click=${dropIt}>${texts.drafts.drop}</button><button type="button" @click=${close}>${words.tools.close}</button></div></section>${tree()}`;
  },
};

