/**
 * The goals that are shown: what the service confirmed, and on top what this page sent and is not confirmed yet. Each
 * confirmed event takes the unconfirmed ones off, is folded, and they are folded again.
 *
 * @typedef {import("./fold.js").Fact} Fact
 * @typedef {{facts: Fact[], settled: number|null}} Patch  `settled`: the position with which it is confirmed
 */
import { empty, fold, foldAll, fromFlat } from "./fold.js";
import { state, treeChanged } from "./state.js";

export const model = {
  tree: empty(),
  /** Position and version that are confirmed. */
  position: 0,
  version: 0,
};

/** @type {Patch[]} */
let patches = [];
/** @type {() => void} */
let takeOff = () => {};

/** @param {() => void} change of the confirmed tree */
function underneath(change) {
  takeOff();
  change();
  model.position = model.tree.position;
  model.version = model.tree.version;
  patches = patches.filter((patch) => patch.settled === null || patch.settled > model.position);
  takeOff = foldAll(model.tree, patches.flatMap((patch) => patch.facts).map(onTop));
  treeChanged();
  for (const wait of waits.filter(({ position }) => position <= model.position)) wait.go();
  waits = waits.filter(({ position }) => position > model.position);
}

/** @type {{position: number, go: () => void}[]} */
let waits = [];

/** When the tree has all up to a position. @param {number} position @returns {Promise<void>} */
export const folded = (position) =>
  position <= model.position ? Promise.resolve() : new Promise((go) => waits.push({ position, go }));

/** What is not confirmed has no place in the log. @param {Fact} fact @returns {Fact} */
const onTop = ({ type, goal_id, data, at }) => ({ type, goal_id, data, at });

/** Another tree. @param {any} answer */
export function load(answer) {
  takeOff = () => {};
  model.tree = empty();
  underneath(() => {
    model.tree = fromFlat(answer);
  });
}

/** No tree. */
export function clear() {
  patches = [];
  load({ version: 0, position: 0, goals: [] });
}

/** Confirmed events, in order. @param {Fact[]} facts */
export function confirm(facts) {
  underneath(() => facts.forEach((fact) => fold(model.tree, fact)));
}

/** Show what is on its way. @param {Fact[]} facts @returns {Patch} */
export function addPatch(facts) {
  const patch = { facts, settled: null };
  underneath(() => patches.push(patch));
  return patch;
}

/** The service recorded it. @param {Patch} patch @param {number} position */
export function settle(patch, position) {
  underneath(() => {
    patch.settled = position;
  });
}

/** The service refused it. @param {Patch} patch */
export function drop(patch) {
  underneath(() => {
    patches = patches.filter((one) => one !== patch);
  });
}

/** How many are shown that the log is not known to have. */
export const unsettled = () => patches.length;

/** A living goal. @param {string|null|undefined} id */
export function goalOf(id) {
  const goal = id ? model.tree.goals.get(id) : undefined;
  return goal?.root === null ? goal : undefined;
}

/** A fact as this page makes it. @param {string} type @param {string} goal_id @param {any} data @returns {Fact} */
export const factOf = (type, goal_id, data = {}) => ({ type, goal_id, data: { goal_id, ...data }, at: state.now });
