/** Undo and redo, from the log: any command, whoever looks, after a reload too. It says what it undid and goes there. */
import { elsewhere } from "./actions.js";
import { get, userPath } from "./api.js";
import { ask } from "./dialogs.js";
import { when } from "./parts.js";
import { folded } from "./model.js";
import { idle, submit } from "./queue.js";
import { announce, change, state } from "./state.js";
import { focusOn } from "./treeview.js";
import { html, nothing } from "./vendor/lit.js";
import * as texts from "./texts.js";
import * as words from "./words.js";

/**
 * A command as the history lists it.
 * @typedef {{command: string, first: number, last: number, at: string, actor: string|null, reason: string|null,
 *   undoes: string[]|null, undone_by: string|null, counts: Record<string, number>, goal_id: string, name: string, say: string}} Said
 */

const path = () => userPath(/** @type {any} */ (state.user).id);

/** So many pages are looked through: who goes back by so many undos uses the history. */
const PAGES = 100;

/** My commands, latest first, or all where nobody signs in; read page by page, as far as they are asked for. @returns {AsyncGenerator<Said>} */
async function* mine() {
  await idle();
  let page = await get(`${path()}/commands`, { order: "desc", actor: state.me?.id });
  for (let left = PAGES - 1; ; left--) {
    yield* page.commands;
    if (!page.next || left === 0) return;
    page = await get(page.next);
  }
}

/** The latest of mine that is so. @param {(one: Said) => boolean} so @returns {Promise<Said|undefined>} */
async function latest(so) {
  for await (const one of mine()) if (so(one)) return one;
}

/** @param {Said} one */
const redoes = (one) => one.undoes !== null && one.say.startsWith("redid ");

/** My latest command in effect. */
export async function undo() {
  if (elsewhere.undo) return elsewhere.undo();
  const last = await latest((one) => one.undoes === null && one.undone_by === null);
  if (last) await undoCommand(last.command, last.say);
  else announce(words.did.nothingUndo);
}

/** My latest undo, no redo, that nothing of mine came after. */
export async function redo() {
  if (elsewhere.redo) return elsewhere.redo();
  const next = await latest((one) => one.undone_by === null && !redoes(one));
  if (next && next.undoes !== null) await undoCommand(next.command, next.say, words.did.redone);
  else announce(words.did.nothingRedo);
}

/**
 * Undo one command, or, where later ones are in the way, ask.
 * @param {string} command @param {string} [say] @param {(say: string) => string} [tell]
 */
export async function undoCommand(command, say, tell = words.did.undone) {
  if (state.toast?.command === command) change({ toast: null });
  await send({ command }, say ?? (await sayOf(command)), tell);
}

/** @param {string} command */
async function sayOf(command) {
  const found = await latest((one) => one.command === command);
  return found?.say ?? words.did.change;
}

/** @param {{command?: string, commands?: string[]}} body @param {string} say @param {(say: string) => string} tell */
async function send(body, say, tell) {
  try {
    const more = { label: texts.label.undo, kind: "undo", facts: [], quiet: ["undo-in-the-way"] };
    const { data } = await submit({ method: "POST", path: `${path()}/undo`, body, ...more });
    if (!data.events) return announce(words.did.nothingUndo);
    await folded(data.position);
    shown(data, tell(say.replace(/^undid /, "")));
  } catch (error) {
    const { kind, body: problem } = /** @type {import("./api.js").Problem} */ (error);
    if (kind === "undo-in-the-way") await inTheWay(problem, say, tell);
  }
}

/** Say it, and go where it happened. @param {{command: string, goals: {id: string, status: string}[]}} done @param {string} text */
function shown(done, text) {
  announce(text);
  const there = done.goals.find(({ status }) => status !== "deleted");
  const glow = new Map(state.glow);
  for (const { id } of done.goals) glow.set(id, "changed");
  change({ glow, toast: { text } });
  setTimeout(() => change({ glow: new Map() }), 2500);
  if (there) focusOn(there.id, { grab: ["goals", "under", "goal"].includes(state.route.view) });
}

/** @param {any} problem @param {string} say @param {(say: string) => string} tell */
async function inTheWay(problem, say, tell) {
  const { blocked, commands } = problem;
  const answer = await ask((done) => html`
    <p class="question">${texts.undo.builds(problem.blocked_count ?? blocked.length)}</p>
    <ul class="list">${blocked.map((/** @type {any} */ one) => html`<li><span class="say">${texts.undo.blocked(one)}</span>${one.by ? when(one.by.at) : nothing}</li>`)}</ul>
    <div class="buttons">
      ${commands ? html`<button type="button" class="primary" autofocus @click=${() => done("all")}>${commands.length > 2 ? texts.undo.all(commands.length) : texts.undo.both}</button>` : nothing}
      <button type="button" @click=${() => done("show")}>${texts.undo.show}</button>
      <button type="button" @click=${() => done(null)}>${texts.undo.leave}</button>
    </div>`, { title: texts.undo.title(say) });
  if (answer === "all") await send({ commands }, say, tell);
  if (answer === "show") focusOn(blocked[0].goal_id);
}

