/** Pictures of numbers as SVG, each with a table for those who cannot see it. */
import { html, nothing, svg } from "./vendor/lit.js";
import * as texts from "./texts.js";
import * as words from "./words.js";

const BARS = 120;

/** How much happened when. @param {number[]} times @param {number} from @param {number} to */
export function density(times, from, to) {
  const counts = new Array(BARS).fill(0);
  for (const time of times) {
    const bar = Math.floor(((time - from) / Math.max(1, to - from)) * BARS);
    if (bar >= 0 && bar <= BARS) counts[Math.min(BARS - 1, bar)]++;
  }
  const most = Math.max(1, ...counts);
  return html`<svg class="density" viewBox="0 0 ${BARS} 20" preserveAspectRatio="none" aria-hidden="true">${counts.map((count, i) =>
    count ? svg`<rect x=${i + 0.15} width="0.7" y=${20 - 3 - (17 * count) / most} height=${3 + (17 * count) / most}></rect>` : nothing)}</svg>`;
}

/** A year in weeks and days. @param {{day: string, count: number}[]} days oldest first */
export function heat(days) {
  if (!days.length) return nothing;
  const most = Math.max(1, ...days.map(({ count }) => count));
  const offset = (new Date(days[0].day).getUTCDay() + 6) % 7;
  const cells = days.map(({ day, count }, i) => {
    const at = i + offset;
    const level = count ? Math.ceil((4 * count) / most) : 0;
    return svg`<rect class="heat-${level}" x=${Math.floor(at / 7) * 13} y=${(at % 7) * 13} width="11" height="11" rx="2"><title>${words.day(day)}: ${words.counted(count, "change")}</title></rect>`;
  });
  const months = days.flatMap(({ day }, i) => day.endsWith("-01") ? [svg`<text x=${Math.ceil((i + offset) / 7) * 13} y="-5">${words.month(day)}</text>`] : []);
  return html`<svg class="heat" viewBox="0 -16 ${Math.ceil((days.length + offset) / 7) * 13} 107" role="img" aria-label=${texts.activity.heat}>${months}${cells}</svg>`;
}

/** Leaves and how many of them are done, as steps over time. @param {{at: string, leaves: number, completed: number}[]} points */
export function burnup(points) {
  if (points.length < 2) return nothing;
  const [first, last] = [Date.parse(points[0].at), Date.parse(points[points.length - 1].at)];
  const most = Math.max(1, ...points.map(({ leaves }) => leaves));
  const x = (/** @type {string} */ at) => (600 * (Date.parse(at) - first)) / Math.max(1, last - first);
  const y = (/** @type {number} */ count) => 160 - (150 * count) / most;
  const line = (/** @type {"leaves"|"completed"} */ name) => points.map((point, i) => `${i ? `H${x(point.at).toFixed(1)}V` : `M${x(point.at).toFixed(1)},`}${y(point[name]).toFixed(1)}`).join("");
  return html`<svg class="burnup" viewBox="0 0 600 170" role="img" aria-label=${texts.activity.burnup}>
    <path class="done-area" d="${line("completed")}V160H0Z"></path><path class="done-line" d=${line("completed")}></path><path class="all-line" d=${line("leaves")}></path>
    <line x1="0" x2="600" y1="160" y2="160"></line></svg>
    <p class="legend"><span class="key all">${texts.activity.leaves}: ${words.num(points[points.length - 1].leaves)}</span> <span class="key done">${texts.activity.completed}: ${words.num(points[points.length - 1].completed)}</span></p>`;
}

/** The same as numbers. @param {string} caption @param {string[]} heads @param {(string|number)[][]} rows */
export const numbers = (caption, heads, rows) => html`<details><summary>${texts.activity.asTable}</summary><table><caption class="sr">${caption}</caption>
  <thead><tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
  <tbody>${rows.map((row) => html`<tr>${row.map((cell) => html`<td>${cell}</td>`)}</tr>`)}</tbody></table></details>`;
