/** Small pieces that every view draws with. */
import { html, nothing } from "./vendor/lit.js";
import * as words from "./words.js";

const SPRITE = new URL("./vendor/icons.svg", import.meta.url).pathname;

/** A picture beside a word. @param {string} name */
export const icon = (name) => html`<svg class="icon" aria-hidden="true"><use href="${SPRITE}#${name}"></use></svg>`;

/**
 * A button that is only a picture, with its word as a tooltip.
 * @param {string} name @param {string} text @param {(event: Event) => void} run
 * @param {{keys?: string, disabled?: string|null, pressed?: boolean, expanded?: boolean, extra?: string}} [more] `disabled`: why
 */
export const iconButton = (name, text, run, { keys, disabled, pressed, expanded, extra = "" } = {}) => html`
  <button type="button" class="tool ${extra}" title=${disabled ?? (keys ? `${text} (${keys})` : text)} aria-label=${text}
    aria-disabled=${disabled ? "true" : nothing} aria-pressed=${pressed ?? nothing} aria-expanded=${expanded ?? nothing}
    @click=${(/** @type {Event} */ event) => (disabled ? undefined : run(event))}>${icon(name)}</button>`;

/** How much is done. @param {number} completed @param {number} leaves */
export const bar = (completed, leaves) => html`
  <span class="bar" aria-hidden="true"><i .style=${`width:${leaves ? (100 * completed) / leaves : 0}%`}></i></span>
  <span class="count" aria-hidden="true">${words.num(completed)}/${words.num(leaves)}</span>
  <span class="sr">${words.progress(completed, leaves)}</span>`;

/** A moment, told shortly, exactly on asking. @param {string} at @param {string} [text] */
export const when = (at, text) => html`<time datetime=${at} title=${words.exact(at)}>${text ?? words.dayTime(at)}</time>`;

/** A text of a user. @param {string} text @param {string} [kind] */
export const theirs = (text, kind = "") => html`<bdi class=${kind}>${text}</bdi>`;

/** Nothing to show, drawn. @param {string} title @param {unknown} [text] */
export const blank = (title, text = nothing) => html`<div class="blank"><p class="blank-title">${title}</p><p>${text}</p></div>`;

/** Texts with https links in it. @param {string} text */
export const linked = (text) =>
  text.split(/(https:\/\/[^\s<>"')\]]+)/).map((part, i) =>
    i % 2 ? html`<a href=${part} target="_blank" rel="noopener noreferrer">${part}</a>` : part);
