/** The dialog that chooses which goals are shown. */
import { ask } from "./dialogs.js";
import { announce, change, flush, state } from "./state.js";
import { NO_FILTER } from "./tree.js";
import { summary } from "./treeview.js";
import { html } from "./vendor/lit.js";
import * as texts from "./texts.js";
import * as words from "./words.js";

const STATUSES = /** @type {const} */ (["all", "open", "done", "overdue"]);

/** @param {string|null} at */
const day = (at) => (at ? new Date(Date.parse(at) - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, 10) : "");

export async function filterDialog() {
  const { status, due, since } = state.filter;
  const given = await ask((done) => html`<form class="fields" @submit=${(/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      done(Object.fromEntries(new FormData(/** @type {HTMLFormElement} */ (event.target))));
    }}>
    <fieldset class="choice"><legend class="sr">${texts.filter.status}</legend>${STATUSES.map((one) => html`
      <label><input type="radio" name="status" value=${one} ?checked=${one === status} ?autofocus=${one === status}> ${texts.filter.statuses[one]}</label>`)}</fieldset>
    <label><span>${texts.filter.due}</span><input type="date" name="due" .value=${day(due)}></label>
    <label><span>${texts.filter.since}</span><input type="date" name="since" .value=${day(since)}></label>
    <div class="buttons"><button class="primary">${texts.filter.apply}</button><button type="button" @click=${() => done({ status: "all", due: "", since: "" })}>${texts.filter.clear}</button></div>
  </form>`, { title: texts.filter.title });
  if (!given) return;
  const filter = {
    status: given.status,
    due: given.due ? new Date(`${given.due}T23:59:59`).toISOString() : null,
    since: given.since ? new Date(`${given.since}T00:00:00`).toISOString() : null,
  };
  const all = filter.status === "all" && !filter.due && !filter.since;
  change({ filter: all ? NO_FILTER : filter, grab: true });
  flush();
  announce(summary());
}
