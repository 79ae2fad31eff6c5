/**
 * What can be done to goals. Each verb makes commands in the form of a batch, the facts that show at once what they
 * will do, and hands both to the queue. In a draft the same commands go to the draft.
 *
 * @typedef {import("./fold.js").Fact} Fact
 * @typedef {import("./fold.js").Goal} Goal
 */
import { newId, userPath } from "./api.js";
import { rankBetween } from "./fold.js";
import { factOf, goalOf, model } from "./model.js";
import { submit } from "./queue.js";
import { announce, change, state } from "./state.js";
import { below, livingUnder, topmost } from "./tree.js";
import * as texts from "./texts.js";
import * as words from "./words.js";

/** The place of a new or moved goal. @typedef {{parent: string|null, after?: string|null, before?: string|null}} Place */

/**
 * Where the commands of a view go, if not to the log, and what undoes them there.
 * @type {{send: ((commands: any[], facts: Fact[]) => Promise<any>)|null, undo: (() => void)|null, redo: (() => void)|null, missed: ((count: number) => void)|null}}
 * `missed`: so many events came to the log meanwhile
 */
export const elsewhere = { send: null, undo: null, redo: null, missed: null };

/**
 * @param {any[]} commands @param {{label: string, kind: string, facts?: Fact[], waits?: string[], reason?: string, quiet?: string[]}} more
 */
export function batch(commands, { label, kind, facts = [], waits = [], reason, quiet }) {
  if (elsewhere.send) return elsewhere.send(commands, facts);
  const body = { commands, ...(reason ? { reason } : {}) };
  const path = `${userPath(/** @type {any} */ (state.user).id)}/commands`;
  return submit({ method: "POST", path, body, label, kind, facts, waits, quiet });
}

/** @param {Place} place */
const named = ({ parent, after, before }) => ({ parent_id: parent, ...(after ? { after } : before ? { before } : {}) });

/** A rank for what goes to a place. @param {Place} place @returns {[string|null, string|null]} bounds */
function bounds({ parent, after, before }) {
  const ranks = (model.tree.children.get(parent) ?? []).map((id) => /** @type {Goal} */ (model.tree.goals.get(id)).rank);
  const ids = model.tree.children.get(parent) ?? [];
  const at = after ? ids.indexOf(after) + 1 : before ? ids.indexOf(before) : ids.length;
  return [ranks[at - 1] ?? null, ranks[at] ?? null];
}

/**
 * @param {{id?: string, name: string, due?: string|null} & Place} goal
 * @returns {string} its id
 */
export function create({ id = newId(), name, ...place }) {
  const facts = [created(id, name, place.parent, rankBetween(...bounds(place)))];
  batch([{ type: "CreateGoal", id, name, ...named(place) }], { label: texts.label.create(name), kind: "create", facts });
  return id;
}

/** @param {string} id @param {string} name @param {string|null} parent @param {string} rank */
const created = (id, name, parent, rank) => factOf("GoalCreated", id, { name, start: state.now, rank, parent_id: parent });

/**
 * Lines of an outline as goals, in one command.
 * @param {import("./outline.js").Line[]} lines @param {Place} place of the first; the others of its level follow it
 */
export async function paste(lines, place) {
  const ids = lines.map(() => newId());
  /** @type {number[]} */
  const path = [];
  const lastRank = new Map();
  let [low, high] = bounds(place);
  let after = place.after ?? null;
  const commands = lines.map(({ name, depth }, i) => {
    path.length = depth;
    const parent = depth ? ids[path[depth - 1]] : place.parent;
    const where = depth ? { parent_id: parent } : named({ parent, after, before: after ? null : place.before });
    path[depth] = i;
    if (!depth) after = ids[i];
    return { type: "CreateGoal", id: ids[i], name, ...where };
  });
  const facts = commands.map((one, i) => {
    const top = lines[i].depth === 0;
    const rank = top ? (low = rankBetween(low, high)) : rankBetween(lastRank.get(one.parent_id) ?? null, null);
    lastRank.set(one.parent_id, rank);
    return created(one.id, one.name, one.parent_id, rank);
  });
  const done = lines.flatMap((line, i) => (line.done ? [{ type: "CompleteGoal", id: ids[i] }] : []));
  const { command } = await batch([...commands, ...done], { label: texts.label.paste, kind: "paste", facts });
  announce(words.did.pasted(lines.length));
  toast({ text: words.did.pasted(lines.length), command });
}

/** In a draft nothing is done yet. @param {import("./state.js").Toast} what */
export const toast = (what) => elsewhere.send ?? change({ toast: what });

/**
 * A change of texts or dates, refused by the service if the goal changed since `seen`.
 * @param {string} id @param {{name?: string, description?: string|null, start?: string, due?: string|null}} fields
 * @param {{seen?: number|null, reason?: string}} [more]
 */
export function edit(id, fields, { seen = null, reason } = {}) {
  const goal = goalOf(id);
  if (!goal) return Promise.resolve(null);
  const facts = [];
  if (fields.name !== undefined) facts.push(factOf("GoalRenamed", id, { name: fields.name }));
  if (fields.description !== undefined) facts.push(factOf("GoalDescribed", id, { description: fields.description }));
  if (fields.due !== undefined || fields.start !== undefined) {
    facts.push(factOf("GoalScheduled", id, { start: fields.start ?? goal.start, due: fields.due === undefined ? goal.due : fields.due }));
  }
  if (elsewhere.send) return elsewhere.send([{ type: "ChangeGoal", id, ...fields }], facts);
  const label = fields.name === undefined ? texts.label.change(goal.name) : texts.label.rename(goal.name);
  const body = { ...fields, ...(reason ? { reason } : {}) };
  return submit({ method: "PATCH", path: `/v2/goals/${id}`, body, label, kind: "edit", goal: id, seen, facts });
}

/** Sub-goals that are still open. @param {string} id */
export const openBelow = (id) => below(model.tree, id).filter((goal) => goal.id !== id && goal.end === null);

/** @param {string} id @param {{cascade?: boolean, reason?: string}} [how] */
export async function complete(id, { cascade = false, reason } = {}) {
  const goal = /** @type {Goal} */ (goalOf(id));
  const facts = [factOf("GoalCompleted", id, { end: state.now })];
  const many = cascade ? openBelow(id).length : 0;
  const more = { label: texts.label.complete(goal.name), kind: "complete", facts, waits: cascade ? [id] : [], reason };
  const answered = batch([{ type: "CompleteGoal", id, ...(cascade ? { cascade } : {}) }], more);
  announce(many ? words.did.completedBelow(goal.name, many) : words.did.completed(goal.name));
  const { command } = await answered;
  if (many || hides(goal)) toast({ text: many ? words.did.completedBelow(goal.name, many) : `${words.did.completed(goal.name)}.`, command });
}

/** Whether a completed goal leaves what is shown. @param {Goal} _ */
const hides = (_) => state.filter.status === "open" || state.filter.status === "overdue" || state.filter.due !== null;

/** @param {string} id */
export function reopen(id) {
  const goal = /** @type {Goal} */ (goalOf(id));
  announce(words.did.reopened(goal.name));
  return batch([{ type: "ReopenGoal", id }], { label: texts.label.reopen(goal.name), kind: "reopen", facts: [factOf("GoalReopened", id)] });
}

/** Move goals, in their order, to one place. @param {string[]} ids @param {Place} place @param {{tell?: boolean}} [how] */
export async function move(ids, place, { tell = false } = {}) {
  const goals = topmost(model.tree, ids).map((id) => /** @type {Goal} */ (goalOf(id)));
  if (!goals.length) return;
  let [low, high] = boundsWithout(place, new Set(ids));
  const facts = goals.map((goal) => factOf("GoalMoved", goal.id, { parent_id: place.parent, rank: (low = rankBetween(low, high)) }));
  const commands = goals.map((goal, i) => ({
    type: "MoveGoal", id: goal.id, ...(i ? { parent_id: place.parent, after: goals[i - 1].id } : named(place)),
  }));
  const answered = batch(commands, { label: texts.label.move(goals[0].name), kind: "move", facts });
  const siblings = livingUnder(model.tree, place.parent);
  const under = place.parent === null ? null : goalOf(place.parent)?.name ?? null;
  const text =
    goals.length > 1 ? words.did.movedMany(goals.length) : words.did.moved(goals[0].name, under, siblings.indexOf(goals[0].id) + 1, siblings.length);
  announce(text);
  const { command } = await answered;
  if (tell) toast({ text: `${text}.`, command });
}

/** As bounds, among those that stay. @param {Place} place @param {Set<string>} moving @returns {[string|null, string|null]} */
function boundsWithout({ parent, after, before }, moving) {
  const ids = (model.tree.children.get(parent) ?? []).filter((id) => !moving.has(id));
  const at = after ? ids.indexOf(after) + 1 : before ? ids.indexOf(before) : ids.length;
  const rank = (/** @type {number} */ i) => model.tree.goals.get(ids[i])?.rank ?? null;
  return [rank(at - 1), rank(at)];
}

/** @param {string[]} ids @param {{reason?: string}} [how] */
export async function remove(ids, { reason } = {}) {
  const tops = topmost(model.tree, ids);
  const count = tops.reduce((sum, id) => sum + below(model.tree, id).length, 0);
  const name = /** @type {Goal} */ (goalOf(tops[0])).name;
  const text = tops.length > 1 ? words.did.deletedMany(count) : words.did.deleted(name, count - 1);
  const more = { label: texts.label.remove(name), kind: "remove", waits: tops, reason };
  const { command } = await batch(tops.map((id) => ({ type: "DeleteGoal", id })), more);
  announce(text);
  const link = { text: words.did.showTrash, href: `#/${encodeURIComponent(/** @type {any} */ (state.user).name)}/trash` };
  toast({ text, command, link });
}

/** @param {string} id @param {{parent?: string|null}} [where] */
export async function restore(id, where = {}) {
  const goal = /** @type {Goal} */ (model.tree.goals.get(id));
  const command = { type: "RestoreGoal", id, ...("parent" in where ? { parent_id: where.parent } : {}) };
  const more = { label: texts.label.restore(goal.name), kind: "restore", waits: [id], quiet: ["parent-deleted"] };
  const { command: made } = await batch([command], more);
  announce(words.did.restored(goal.name));
  toast({ text: words.did.restored(goal.name), command: made, goal: id });
}
