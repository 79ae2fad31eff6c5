/** How busy the last year was, and how much got done over time. */
import { get, userPath } from "./api.js";
import { burnup, heat, numbers } from "./charts.js";
import { goalOf, model } from "./model.js";
import { notYet, screen, section } from "./screens.js";
import { change, state } from "./state.js";
import { inOrder } from "./tree.js";
import { html } from "./vendor/lit.js";
import * as phrases from "./phrases.js";
import * as say from "./texts.js";
import * as words from "./words.js";

const POINTS = 200;
/** On a small screen half of a year has room. */
const narrow = matchMedia("(max-width: 639px)");
const { kinds } = phrases.activity;

/** @type {Record<string, any>[]} */
let days = [];
/** @type {{at: string, goals: number, leaves: number, completed: number}[]|null} */
let points = null;
let failure = "";
let kind = "events";
let goal = "";

async function load() {
  failure = "";
  const path = userPath(/** @type {any} */ (state.user).id);
  try {
    [days, points] = await Promise.all([get(`${path}/activity`), get(`${path}/burnup`, { points: POINTS, goal })]);
  } catch (error) {
    failure = words.trouble(/** @type {any} */ (error));
  }
  change();
}

/** Each day of the year up to today, also those without an event. */
function year() {
  const known = new Map(days.map((one) => [one.day, one[kind] ?? 0]));
  const last = Date.parse(`${state.now.slice(0, 10)}T00:00:00Z`);
  return Array.from({ length: 365 }, (_, i) => {
    const day = new Date(last - (364 - i) * 86_400_000).toISOString().slice(0, 10);
    return { day, count: known.get(day) ?? 0 };
  });
}

/** @param {string} label @param {string} value @param {[string, string][]} options @param {(value: string) => void} set */
const choice = (label, value, options, set) => html`<label><span>${label}</span><select dir="auto" @change=${(/** @type {any} */ event) => set(event.target.value)}>
  ${options.map(([one, text]) => html`<option value=${one} ?selected=${one === value}>${text}</option>`)}</select></label>`;

export const view = {
  async enter() {
    points = null;
    goal = (state.detail && goalOf(state.detail)?.id) || "";
    await load();
  },
  body() {
    if (!points) return notYet(words.tabs.activity, failure);
    const all = year();
    const busy = all.filter(({ count }) => count).reverse();
    const total = busy.reduce((sum, { count }) => sum + count, 0);
    const parents = inOrder(model.tree).filter(({ kids }) => kids).slice(0, 500);
    const options = parents.map((one) => /** @type {[string, string]} */ ([one.goal.id, `${"\u2003".repeat(one.depth)}${one.goal.name}`]));
    return screen(words.tabs.activity, html`
      ${section(phrases.activity.year, html`${heat(narrow.matches ? all.slice(-180) : all)}${scale()}
        ${numbers(say.activity.heat, [say.activity.day, say.activity.changes], busy.map(({ day, count }) => [words.day(day), words.num(count)]))}`,
      { text: phrases.activity.total(total, busy.length), tools: choice(phrases.activity.kind, kind, Object.entries(kinds), (value) => { kind = value; change(); }) })}
      ${section(phrases.activity.progress, html`${points.length < 2 ? html`<p class="quiet">${phrases.activity.few}</p>` : burnup(points)}
        ${numbers(say.activity.burnup, [say.activity.when, say.activity.leaves, say.activity.completed], [...points].reverse().map((one) => [words.dayTime(one.at), words.num(one.leaves), words.num(one.completed)]))}`,
      { text: phrases.activity.progressText, tools: choice(phrases.activity.of, goal, [["", words.tree.top], ...options], (value) => { goal = value; load(); }) })}`);
  },
};

const scale = () => html`<p class="legend quiet" aria-hidden="true">${phrases.activity.less} ${[0, 1, 2, 3, 4].map((level) => html`<i class="heat-key heat-${level}"></i>`)} ${phrases.activity.more}</p>`;
