/**
 * The goals of one user as the page knows them, and the one function that changes them: `fold`, which takes the log's
 * own events. Live updates, the past, what is not confirmed yet and drafts are all this fold. Pure: no DOM, no clock.
 *
 * @typedef {{id: string, parent_id: string|null, name: string, description: string|null, start: string,
 *   due: string|null, end: string|null, rank: string, root: string|null, created_at: string, updated_at: string,
 *   revision: number}} Goal  never changed in place; `root` is set while it is deleted
 * @typedef {{goals: Map<string, Goal>, children: Map<string|null, string[]>, version: number, position: number}} Tree
 *   `children`: ids in order under each parent, those of deleted goals too: they keep their places
 * @typedef {{type: string, goal_id: string|null, data: any, at: string, version?: number, position?: number}} Fact
 * @typedef {() => void} Inverse  takes an event off the tree again; the latest one first
 */

/** @returns {Tree} */
export const empty = () => ({ goals: new Map(), children: new Map(), version: 0, position: 0 });

/**
 * The tree of a flat answer with deleted goals and ranks.
 * @param {{version: number, position: number, goals: any[]}} answer
 * @returns {Tree}
 */
export function fromFlat(answer) {
  const tree = { ...empty(), version: answer.version, position: answer.position };
  for (const one of answer.goals) {
    const { id, parent_id, name, description, start, due, end, rank, created_at, updated_at, revision } = one;
    const root = one.root ?? null;
    tree.goals.set(id, { id, parent_id, name, description, start, due, end, rank, root, created_at, updated_at, revision });
    const siblings = tree.children.get(parent_id);
    if (siblings) siblings.push(id);
    else tree.children.set(parent_id, [id]);
  }
  return tree;
}

/** Whether one goal stands before another under the same parent. @param {Goal} a @param {Goal} b */
export const before = (a, b) => a.rank < b.rank || (a.rank === b.rank && a.id < b.id);

/** Where a goal is, or would be, among its siblings. @param {Tree} tree @param {string[]} siblings @param {Goal} goal */
function placeOf(tree, siblings, goal) {
  let low = 0;
  let high = siblings.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (before(/** @type {Goal} */ (tree.goals.get(siblings[middle])), goal)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** @param {Tree} tree @param {Goal} goal */
function insert(tree, goal) {
  const siblings = tree.children.get(goal.parent_id);
  if (siblings) siblings.splice(placeOf(tree, siblings, goal), 0, goal.id);
  else tree.children.set(goal.parent_id, [goal.id]);
  tree.goals.set(goal.id, goal);
}

/** @param {Tree} tree @param {Goal} goal */
function remove(tree, goal) {
  const siblings = /** @type {string[]} */ (tree.children.get(goal.parent_id));
  siblings.splice(placeOf(tree, siblings, goal), 1);
  tree.goals.delete(goal.id);
}

/** @param {Tree} tree @param {Goal} old @param {Goal} made */
function replace(tree, old, made) {
  if (old.parent_id === made.parent_id && old.rank === made.rank) tree.goals.set(made.id, made);
  else {
    remove(tree, old);
    insert(tree, made);
  }
}

/**
 * What each of the nine events makes of a goal.
 * @type {Record<string, (goal: Goal, data: any) => Partial<Goal>>}
 */
const CHANGES = {
  GoalRenamed: (_, data) => ({ name: data.name }),
  GoalDescribed: (_, data) => ({ description: data.description ?? null }),
  GoalScheduled: (_, data) => ({ start: data.start, due: data.due ?? null }),
  GoalMoved: (_, data) => ({ parent_id: data.parent_id ?? null, rank: data.rank }),
  GoalCompleted: (_, data) => ({ end: data.end }),
  GoalReopened: () => ({ end: null }),
  GoalDeleted: (_, data) => ({ root: data.root }),
  GoalRestored: (_, data) => ({ parent_id: data.parent_id ?? null, rank: data.rank, root: null }),
};

/** @param {any} data @param {string} at @returns {Goal} */
function created(data, at) {
  const { goal_id: id, name, start, rank, parent_id = null, description = null, due = null } = data;
  const times = { created_at: at, updated_at: at, revision: 1 };
  return { id, parent_id, name, description, start, due, end: null, rank, root: null, ...times };
}

/** What an event makes of a goal (undefined: none yet). @param {Goal|undefined} goal @param {Fact} fact @returns {Goal|undefined} */
function after(goal, { type, data, at }) {
  if (type === "GoalCreated") return goal ? undefined : created(data, at);
  const change = CHANGES[type];
  if (!goal || !change) return undefined;
  if (type === "GoalMoved" && data.spaced) return { ...goal, rank: data.rank };
  return { ...goal, ...change(goal, data), updated_at: at, revision: goal.revision + 1 };
}

/**
 * Fold an event on a tree, in place. What it is about may be unknown (an account's fact, a goal that is not confirmed):
 * then only the position changes.
 * @param {Tree} tree @param {Fact} fact
 * @returns {Inverse}
 */
export function fold(tree, fact) {
  const { version, position } = tree;
  const old = fact.goal_id === null ? undefined : tree.goals.get(fact.goal_id);
  const made = after(old, fact);
  if (made && old) replace(tree, old, made);
  else if (made) insert(tree, made);
  if (fact.position !== undefined) {
    tree.position = fact.position;
    if (isGoals(fact)) tree.version = /** @type {number} */ (fact.version);
  }
  return () => {
    if (made && old) replace(tree, made, old);
    else if (made) remove(tree, made);
    Object.assign(tree, { version, position });
  };
}

/** Whether an event is about a goal, not an account. @param {Fact} fact */
export const isGoals = (fact) => fact.type === "GoalCreated" || fact.type in CHANGES;

/**
 * A tree with facts folded on it that may be taken off again: what is not confirmed, or the past step by step.
 * @param {Tree} tree @param {Fact[]} facts
 * @returns {Inverse} takes all of them off
 */
export function foldAll(tree, facts) {
  const inverses = facts.map((fact) => fold(tree, fact));
  return () => {
    while (inverses.length) /** @type {Inverse} */ (inverses.pop())();
  };
}

/**
 * The past of one user as a tape: all events, folded up to a place among them, moved back and forth.
 * @param {Fact[]} facts
 */
export function tape(facts) {
  const tree = empty();
  /** @type {Inverse[]} */
  const inverses = [];
  return {
    tree,
    facts,
    /** How many events are folded. */
    get at() {
      return inverses.length;
    },
    /** Fold or unfold until so many are. @param {number} count */
    seek(count) {
      while (inverses.length < count) inverses.push(fold(tree, facts[inverses.length]));
      while (inverses.length > count) /** @type {Inverse} */ (inverses.pop())();
    },
    /** How many events there are up to a position. @param {number} position */
    upTo(position) {
      let low = 0;
      let high = facts.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (/** @type {number} */ (facts[middle].position) <= position) low = middle + 1;
        else high = middle;
      }
      return low;
    },
  };
}

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/**
 * A rank between two others (null: no bound), for what is shown until the service has answered with its own.
 * @param {string|null} low @param {string|null} high
 */
export function rankBetween(low, high) {
  if (high === null) return `${low ?? "V"}V`;
  let rank = "";
  for (let place = 0; ; place++) {
    const below = low && place < low.length ? DIGITS.indexOf(low[place]) : 0;
    const above = place < high.length && high.startsWith(rank) ? DIGITS.indexOf(high[place]) : DIGITS.length;
    if (above - below > 1) return rank + DIGITS[(below + above) >> 1];
    rank += DIGITS[below];
    if (rank.length > 200) return rank;
  }
}
