/** What the screens beside the tree share: their style sheet, their frame, names of users, how a refused call is told. */
import { get } from "./api.js";
import { model } from "./model.js";
import { blank, icon } from "./parts.js";
import { announce, change } from "./state.js";
import { html, nothing } from "./vendor/lit.js";
import * as phrases from "./phrases.js";
import * as words from "./words.js";

// It is loaded with the first of these screens, before that is drawn.
await new Promise((done) => {
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = new URL("./screens.css", import.meta.url).href;
  link.onload = link.onerror = done;
  document.head.append(link);
});

/** @param {string} title @param {unknown} content @param {{text?: string, wide?: boolean, tools?: unknown}} [more] */
export const screen = (title, content, { text, wide, tools = nothing } = {}) => html`
  <div class="view" data-position=${model.position}><div class="view-inner ${wide ? "wide" : ""}">
    <header class="titled"><div class="grow"><h1>${title}</h1>${text ? html`<p class="quiet">${text}</p>` : nothing}</div>${tools}</header>${content}</div></div>`;

/** @param {string} title @param {unknown} content @param {{text?: unknown, tools?: unknown}} [more] */
export const section = (title, content, { text, tools = nothing } = {}) => html`
  <section class="section" aria-label=${title}><header class="titled"><div class="grow"><h2>${title}</h2>${text ? html`<p class="quiet">${text}</p>` : nothing}</div>${tools}</header>${content}</section>`;

/** What is shown while there is nothing else. @param {string} title @param {string} failure */
export const notYet = (title, failure) =>
  screen(title, failure ? blank(phrases.notShown, failure) : html`<div class="loading" role="status"><span class="sr">${words.tree.loading}</span>${[60, 45, 52].map((width) => html`<i .style=${`width:${width}%`}></i>`)}</div>`);

/** @param {string} picture @param {string} text @param {() => unknown} run @param {string} [kind] @param {string|null} [why] it cannot be */
export const button = (picture, text, run, kind = "", why = null) => html`
  <button type="button" class=${kind} title=${why ?? nothing} aria-disabled=${why ? "true" : nothing} @click=${() => why || run()}>${picture ? icon(picture) : nothing} ${text}</button>`;

/** @param {string} text */
export function tell(text) {
  announce(text);
  change({ toast: { text } });
}

/** Why something cannot be shown; who may not see it is told who may. @param {any} problem */
export const because = (problem) => (problem.kind === "forbidden" ? words.sentence(problem.message) : words.trouble(problem));

/** Do it, or say why it was refused. @template T @param {() => Promise<T>} work @param {string} [told] when it is done @returns {Promise<T|null>} */
export async function attempt(work, told) {
  try {
    const done = await work();
    if (told) tell(told);
    return done;
  } catch (error) {
    change({ toast: { text: words.trouble(/** @type {any} */ (error)), error: true } });
    return null;
  }
}

/** All users, of whom a page shows a thousand. @returns {Promise<any[]>} */
export async function everybody() {
  const found = [];
  for (let next = "/v2/users?limit=200"; next && found.length < 1000; ) {
    const page = await get(next);
    found.push(...page.users);
    next = page.next;
  }
  return found;
}

/** Give a text to the browser as a file. @param {string} name @param {string} text @param {string} type */
export function save(name, text, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** @param {string} text */
export const copy = (text) => attempt(() => navigator.clipboard.writeText(text), phrases.copied);
