/** A field was changed by somebody else while it was edited: both values, and three ways on. */
import { edit } from "./actions.js";
import { get } from "./api.js";
import { ask } from "./dialogs.js";
import { startRename } from "./edit.js";
import { goalOf } from "./model.js";
import { announce, change, state, whenDrawn } from "./state.js";
import { html } from "./vendor/lit.js";
import * as texts from "./texts.js";
import * as words from "./words.js";

/** One question after the other. @type {Promise<unknown>} */
let asking = Promise.resolve();

/** @param {string} id */
const present = (id) => get(`/v2/goals/${id}`, { depth: 0 }).catch(() => null);

/** @param {import("./queue.js").Command} command that was refused */
export async function conflict(command) {
  const id = /** @type {string} */ (command.goal);
  const fields = Object.keys(command.body).filter((name) => name !== "reason");
  const theirs = await present(id);
  if (!theirs) return gone(command);
  const touched = await changedSince(id, Number(command.seen), fields).catch(() => fields);
  const rest = Object.fromEntries(fields.map((name) => [name, command.body[name]]));
  // Somebody changed another field: that is no conflict.
  if (!touched.length && theirs.revision > Number(command.seen)) return void edit(id, rest, { seen: theirs.revision }).catch(() => {});
  asking = asking.then(() => question(command, touched[0] ?? fields[0], rest));
}

/** @param {import("./queue.js").Command} command */
const gone = (command) => change({ toast: { text: words.refused(command.label, words.gone), error: true } });

/** @param {import("./queue.js").Command} command @param {string} field @param {Record<string, any>} rest what was to be changed */
async function question(command, field, rest) {
  const id = /** @type {string} */ (command.goal);
  const label = texts.conflict.fields[field] ?? field;
  if (busy()) await free(texts.conflict.later(label));
  const theirs = await present(id);
  if (!theirs) return gone(command);
  const mine = () => void edit(id, rest, { seen: theirs.revision }).catch(() => {});
  const answer = await ask(card(theirs[field], command.body[field]), { title: texts.conflict.title(label) });
  if (answer === "mine") mine();
  else if (answer === null) change({ toast: { text: texts.conflict.kept(label), stays: true, action: { text: texts.conflict.useMine, run: mine } } });
  else if (answer === "edit" && field === "name" && goalOf(id)) {
    startRename(id);
    change({ edit: { .../** @type {any} */ (state.edit), text: command.body.name } });
  } else if (answer === "edit") change({ detail: id });
}

/** The focus is on no button: a key that was meant for the page answers nothing. @param {string|null} theirs @param {string|null} yours */
const card = (theirs, yours) => (/** @type {(answer: any) => void} */ done) => html`
    <dl class="both" tabindex="-1" autofocus><dt>${texts.conflict.theirs}</dt><dd dir="auto">${theirs ?? "–"}</dd>
      <dt>${texts.conflict.yours}</dt><dd dir="auto">${yours ?? "–"}</dd></dl>
    <div class="buttons"><button type="button" class="primary" @click=${() => done("theirs")}>${texts.conflict.keepTheirs}</button>
      <button type="button" @click=${() => done("mine")}>${texts.conflict.useMine}</button>
      <button type="button" @click=${() => done("edit")}>${texts.conflict.edit}</button></div>`;

/** Whether somebody is typing or answering something else. */
const busy = () => state.edit !== null || state.dialog !== null || document.activeElement?.matches("input:not([type=checkbox],[type=radio],[type=range]), textarea, select") === true;

/** Until nobody is; meanwhile it is said that a question waits. @param {string} text */
async function free(text) {
  const toast = { text, stays: true };
  const look = () => change();
  change({ toast });
  announce(text);
  addEventListener("focusout", look); // leaving a field draws nothing by itself
  await whenDrawn(() => !busy());
  removeEventListener("focusout", look);
  if (state.toast === toast) change({ toast: null });
}

/** @type {Record<string, string[]>} */
const WRITES = { GoalRenamed: ["name"], GoalDescribed: ["description"], GoalScheduled: ["start", "due"] };

/**
 * Which of the fields were written behind a revision. The latest events are read first, page by page, back to that revision.
 * @param {string} id @param {number} revision @param {string[]} fields
 */
async function changedSince(id, revision, fields) {
  let page = await get(`/v2/goals/${id}/history`, { order: "desc" });
  // Read behind the page, so that it counts all events of the page: it may count one more, never one less.
  let left = (await get(`/v2/goals/${id}`, { depth: 0 })).revision - revision;
  const later = new Set();
  for (;;) {
    for (const { type, data } of page.events) {
      if (data.spaced) continue; // it raised no revision
      if (left-- <= 0) return fields.filter((field) => later.has(field));
      for (const field of WRITES[type] ?? []) later.add(field);
    }
    if (!page.next) return fields.filter((field) => later.has(field));
    page = await get(page.next);
  }
}
