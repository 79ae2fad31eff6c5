/** What was deleted: each deletion's root with how many went along, to be restored here or elsewhere. */
import { restore } from "./actions.js";
import { ask, picker } from "./dialogs.js";
import { model } from "./model.js";
import { blank, icon, when } from "./parts.js";
import { change, state } from "./state.js";
import { inOrder, pathTo } from "./tree.js";
import { source } from "./treeview.js";
import { html, nothing, repeat } from "./vendor/lit.js";
import * as texts from "./texts.js";
import * as words from "./words.js";

/** Roots of deletions, the latest first, and how many each removed. */
function deletions() {
  const counts = new Map();
  for (const goal of model.tree.goals.values()) if (goal.root) counts.set(goal.root, (counts.get(goal.root) ?? 0) + 1);
  return [...counts]
    .map(([id, count]) => ({ goal: /** @type {import("./fold.js").Goal} */ (model.tree.goals.get(id)), count }))
    .sort((a, b) => (a.goal.updated_at < b.goal.updated_at ? 1 : -1));
}

/** @param {import("./fold.js").Goal} goal */
const orphan = (goal) => goal.parent_id !== null && model.tree.goals.get(goal.parent_id)?.root !== null;

/** @param {import("./fold.js").Goal} goal */
async function bringBack(goal) {
  if (orphan(goal)) return elsewhere(goal);
  try {
    await restore(goal.id);
  } catch (error) {
    if (/** @type {any} */ (error).kind === "parent-deleted") await elsewhere(goal);
  }
}

/** @param {import("./fold.js").Goal} goal */
async function elsewhere(goal) {
  const places = inOrder(model.tree).map((node) => ({ id: node.goal.id, name: node.goal.name, path: pathTo(model.tree, node.goal.id).map(({ name }) => name) }));
  const all = [{ id: /** @type {string|null} */ (null), name: words.tree.top, path: /** @type {string[]} */ ([]) }, ...places];
  const place = await ask((done) => picker(all, { hint: texts.ask.moveHint, label: texts.trash.where }, done), { title: texts.trash.where, kind: "picker" });
  if (place) await restore(goal.id, { parent: place.id }).catch(() => {});
}

export const view = {
  enter: () => change(),
  body() {
    const all = deletions();
    return html`<div class="view" data-position=${model.position}><div class="view-inner"><h1>${texts.trash.title}</h1><p class="quiet">${texts.trash.text}</p>
      ${all.length ? nothing : blank(texts.trash.empty)}
      <ul class="list">${repeat(all, ({ goal }) => goal.id, ({ goal, count }) => html`<li aria-busy=${state.busy.has(goal.id) ? "true" : "false"}>
        <span class="say"><bdi class="strong">${goal.name}</bdi> <span class="quiet">${texts.trash.below(count - 1)}</span>
          ${pathTo(model.tree, goal.id).length ? html`<small dir="auto">${pathTo(model.tree, goal.id).map(({ name }) => name).join(" › ")}</small>` : nothing}</span>
        ${orphan(goal) ? html`<span class="quiet">${texts.trash.gone}</span>` : nothing} ${when(goal.updated_at)}
        ${source.readonly() === null ? html`<button type="button" @click=${() => bringBack(goal)}>${icon("rotate-ccw")} ${orphan(goal) ? texts.trash.elsewhere : texts.trash.restore}</button>` : nothing}
      </li>`)}</ul></div></div>`;
  },
};
