/** A field was changed by somebody else while it was edited: both values, and three ways on. */
import { edit } from "./actions.js";
import { get } from "./api.js";
import { ask } from "./dialogs.js";
import { startRename } from "./edit.js";
import { goalOf } from "./model.js";
import { change, state } from "./state.js";
import { html } from "./vendor/lit.js";
import * as texts from "./texts.js";
import * as words from "./words.js";

/** @param {import("./queue.js").Command} command that was refused */
export async function conflict(command) {
  const id = /** @type {string} */ (command.goal);
  const fields = Object.keys(command.body).filter((name) => name !== "reason");
  const theirs = await get(`/v2/goals/${id}`, { depth: 0 }).catch(() => null);
  if (!theirs) return change({ toast: { text: words.refused(command.label, words.gone), error: true } });
  const touched = await changedSince(id, Number(command.seen), fields);
  const rest = Object.fromEntries(fields.map((name) => [name, command.body[name]]));
  // Somebody changed another field: that is no conflict.
  if (!touched.length && theirs.revision > Number(command.seen)) return void edit(id, rest, { seen: theirs.revision }).catch(() => {});
  const field = touched[0] ?? fields[0];
  const answer = await ask((done) => html`
    <dl class="both"><dt>${texts.conflict.theirs}</dt><dd dir="auto">${theirs[field] ?? "–"}</dd>
      <dt>${texts.conflict.yours}</dt><dd dir="auto">${command.body[field] ?? "–"}</dd></dl>
    <div class="buttons"><button type="button" class="primary" autofocus @click=${() => done(null)}>${texts.conflict.keepTheirs}</button>
      <button type="button" @click=${() => done("mine")}>${texts.conflict.useMine}</button>
      <button type="button" @click=${() => done("edit")}>${texts.conflict.edit}</button></div>`,
  { title: texts.conflict.title(texts.conflict.fields[field] ?? field) });
  if (answer === "mine") edit(id, rest, { seen: theirs.revision }).catch(() => {});
  if (answer === "edit" && field === "name" && goalOf(id)) {
    startRename(id);
    change({ edit: { .../** @type {any} */ (state.edit), text: command.body.name } });
  } else if (answer === "edit") change({ detail: id });
}

/** @type {Record<string, string[]>} */
const WRITES = { GoalRenamed: ["name"], GoalDescribed: ["description"], GoalScheduled: ["start", "due"] };

/** Which of the fields were written behind a revision. @param {string} id @param {number} revision @param {string[]} fields */
async function changedSince(id, revision, fields) {
  const { events } = await get(`/v2/goals/${id}/history`, { limit: 1000 });
  const counted = events.filter((/** @type {any} */ one) => !one.data.spaced);
  const later = counted.slice(revision).flatMap((/** @type {any} */ one) => WRITES[one.type] ?? []);
  return fields.filter((field) => later.includes(field));
}
