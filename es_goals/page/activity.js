/** A year day by day, and how goals and those done have grown; each as numbers too. */
import { get, userPath } from "./api.js";
import { burnup, heat, numbers } from "./charts.js";
import { blank } from "./parts.js";
import { change, state } from "./state.js";
import * as texts from "./texts.js";
import { html, nothing } from "./vendor/lit.js";
import * as words from "./words.js";

/** @type {{day: string, count: number}[]} */
let days = [];
/** @type {any[]} */
let points = [];
let failure = "";

async function enter() {
  const path = userPath(/** @type {any} */ (state.user).id);
  failure = "";
  try {
    const [activity, grown] = await Promise.all([get(`${path}/activity`), get(`${path}/burnup`, { points: 200, goal: state.zoom })]);
    days = filled(activity.days);
    points = grown.points;
  } catch (error) {
    failure = words.trouble(/** @type {any} */ (error));
  }
  change();
}

/** Each day of the last year, also those on which nothing happened. @param {any[]} known */
function filled(known) {
  const counts = new Map(known.map((one) => [one.day, one.events ?? 0]));
  return Array.from({ length: 365 }, (_, i) => {
    const day = new Date(Date.now() - (364 - i) * 86_400_000).toISOString().slice(0, 10);
    return { day, count: counts.get(day) ?? 0 };
  });
}

export const view = {
  enter,
  body() {
    if (failure) return blank(failure);
    const busy = days.filter(({ count }) => count);
    return html`<div class="view"><div class="view-inner"><h1>${words.tabs.activity}</h1>
      <section class="section"><h2>${texts.activity.heat}</h2>${heat(days)}
        ${numbers(texts.activity.heat, [texts.activity.day, texts.activity.changes], busy.map(({ day, count }) => [words.day(day), count]))}</section>
      ${points.length > 1 ? html`<section class="section"><h2>${texts.activity.burnup}</h2>${burnup(points)}
        ${numbers(texts.activity.burnup, [texts.activity.when, texts.activity.leaves, texts.activity.completed], points.map((one) => [words.dayTime(one.at), one.leaves, one.completed]))}</section>` : nothing}
    </div></div>`;
  },
};
