/** Where goals land that are dropped on a row. Pure. */
import { livingUnder, pathTo } from "./tree.js";

/**
 * How a row can be dropped on.
 * @param {import("./tree.js").Row} row
 * @returns {"standard"|"expanded"|"last-in-group"}
 */
export const modeOf = (row) => (row.kids && row.open ? "expanded" : row.place === row.among && row.depth > 0 ? "last-in-group" : "standard");

/**
 * The place that an instruction of the hitbox means.
 * @param {import("./fold.js").Tree} tree @param {import("./tree.js").Row} row
 * @param {{type: string, desiredLevel?: number}} instruction @param {string[]} moving
 * @returns {{place: import("./actions.js").Place, level: number}|null} null: it would go under itself
 */
export function landing(tree, row, { type, desiredLevel = 0 }, moving) {
  const found = placeOf(tree, row, type, desiredLevel);
  const above = found.place.parent;
  const inside = above !== null && [above, ...pathTo(tree, above).map(({ id }) => id)].some((id) => moving.includes(id));
  return inside || moving.includes(row.goal.id) ? null : found;
}

/** @param {import("./fold.js").Tree} tree @param {import("./tree.js").Row} row @param {string} type @param {number} desired */
function placeOf(tree, row, type, desired) {
  const { goal, depth } = row;
  if (type === "reorder-above") return { place: { parent: goal.parent_id, before: goal.id }, level: depth };
  if (type === "reorder-below") return { place: { parent: goal.parent_id, after: goal.id }, level: depth };
  if (type === "make-child") {
    const kids = livingUnder(tree, goal.id);
    // What is open shows its first child right below: that is where the line is.
    const where = row.open && kids.length ? { before: kids[0] } : { after: kids.at(-1) };
    return { place: { parent: goal.id, ...where }, level: depth + 1 };
  }
  const line = [...pathTo(tree, goal.id), goal];
  const level = Math.max(0, Math.min(desired, depth));
  const beside = line[line.length - 1 - (depth - level)];
  return { place: { parent: beside.parent_id, after: beside.id }, level };
}
