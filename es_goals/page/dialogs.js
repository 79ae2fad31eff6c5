/** Dialogs, menus and toasts: what lies above the page. A native <dialog> keeps the focus and gives it back. */
import { keysOf, provide, run, KEYS, readable, whyNot } from "./keys.js";
import { model } from "./model.js";
import { icon, iconButton } from "./parts.js";
import { change, flush, state } from "./state.js";
import { folded, inOrder, livingUnder, pathTo } from "./tree.js";
import { html, live, nothing } from "./vendor/lit.js";
import * as texts from "./texts.js";
import * as words from "./words.js";

/** @type {(answer: any) => void} */
let answer = () => {};

/**
 * Show a dialog and wait for its answer; null: it was left.
 * @param {(done: (answer: any) => void) => unknown} content @param {{title: string, kind?: string}} how
 * @returns {Promise<any>}
 */
export function ask(content, { title, kind = "" }) {
  answer(null);
  const opener = /** @type {HTMLElement|null} */ (document.activeElement);
  return new Promise((resolve) => {
    const done = (/** @type {any} */ value) => {
      answer = () => {};
      change({ dialog: null });
      // While it is open, nothing outside of it takes the focus.
      flush();
      resolve(value);
      if (opener?.isConnected) opener.focus({ preventScroll: true });
    };
    answer = done;
    const dialog = () => html`<dialog class="dialog ${kind}" aria-label=${title} @cancel=${cancelled(done)} @click=${outside(done)}>
      <div class="dialog-body"><header><h2>${title}</h2>${iconButton("x", words.tools.close, () => done(null))}</header>${content(done)}</div></dialog>`;
    change({ dialog });
  });
}

/** @param {(answer: any) => void} done */
const cancelled = (done) => (/** @type {Event} */ event) => {
  event.preventDefault();
  done(null);
};

/** @param {(answer: any) => void} done */
const outside = (done) => (/** @type {Event} */ event) => {
  if (event.target === event.currentTarget) done(null);
};

/**
 * One question, a few answers, the first of which Enter takes.
 * @param {{title: string, text?: unknown, choices: {key: string, text: string, danger?: boolean}[]}} question
 * @returns {Promise<string|null>}
 */
export const choose = ({ title, text = nothing, choices }) =>
  ask((done) => html`<div class="question">${text}</div><div class="buttons">${choices.map(({ key, text, danger }, i) => html`
    <button type="button" class=${i ? (danger ? "danger" : "") : "primary"} ?autofocus=${i === 0} @click=${() => done(key)}>${text}</button>`)}</div>`, { title });

/**
 * A few fields and a button. @param {{title: string, fields: {name: string, label: string, value?: string, type?: string, required?: boolean, hint?: string, auto?: string, choices?: string[]}[], go: string, text?: unknown}} form
 * @returns {Promise<Record<string, string>|null>}
 */
export const fill = ({ title, fields, go, text = nothing }) =>
  ask((done) => html`<form class="fields" @submit=${(/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      done(Object.fromEntries(new FormData(/** @type {HTMLFormElement} */ (event.target))));
    }}>${text}${fields.map(field)}<div class="buttons"><button class="primary">${go}</button></div></form>`, { title });

/** @param {any} field */
const field = ({ name, label, value = "", type = "text", required = false, hint, auto, choices }, i = 0) => html`
  <label><span>${label}</span>${
    choices ? html`<select name=${name}>${choices.map((/** @type {string} */ one) => html`<option ?selected=${one === value}>${one}</option>`)}</select>`
    : html`<input name=${name} type=${type} .value=${value} ?required=${required} ?autofocus=${i === 0} autocomplete=${auto ?? "off"} dir="auto">`
  }${hint ? html`<small>${hint}</small>` : nothing}</label>`;

// ––– menus

/**
 * @typedef {{command?: string, text?: string, icon?: string, why?: string|null, run?: () => void}|null} Item  null: a line
 * @param {Event|undefined} event what opened it @param {string|null} id of the goal it is about @param {Item[]} items
 */
export function openMenu(event, id, items) {
  const button = /** @type {Element|null} */ (event?.target instanceof Element ? event.target.closest("button") : null);
  const row = id ? document.querySelector(`[data-id="${id}"] [data-act="menu"], [data-id="${id}"]`) : null;
  const mouse = event instanceof MouseEvent && event.type === "contextmenu" ? event : null;
  const place = mouse ? { left: mouse.clientX, bottom: mouse.clientY, right: mouse.clientX } : (button ?? row ?? document.body).getBoundingClientRect();
  ask((done) => menuOf(items, done), { title: words.tools.menu, kind: "menu" }).then((chosen) => chosen?.());
  queueMicrotask(() => requestAnimationFrame(() => requestAnimationFrame(() => put(place))));
}

/** @param {{left: number, right: number, bottom: number}} place */
function put(place) {
  const menu = /** @type {HTMLElement|null} */ (document.querySelector("dialog.menu"));
  if (!menu) return;
  const { width, height } = menu.getBoundingClientRect();
  const x = Math.max(8, Math.min(place.right - Math.min(width, 40), innerWidth - width - 8));
  const y = Math.max(8, Math.min(place.bottom + 4, innerHeight - height - 8));
  menu.style.setProperty("--x", `${x}px`);
  menu.style.setProperty("--y", `${y}px`);
  menu.classList.add("placed");
}

/** @param {Item[]} items @param {(answer: any) => void} done */
const menuOf = (items, done) => html`<div role="menu" class="menu-items" aria-label=${words.tools.menu} @keydown=${walked}>${items.map((item, i) => {
    if (!item) return html`<hr>`;
    const { command, icon: picture, run: own } = item;
    const why = item.why ?? (command ? whyNot(command) : null);
    const go = () => done(own ?? (() => run(/** @type {string} */ (command))));
    return html`<button type="button" role="menuitem" tabindex=${i ? -1 : 0} ?autofocus=${i === 0} aria-disabled=${why === null ? nothing : "true"} title=${why || nothing}
      @click=${() => why === null && go()}>${picture ? icon(picture) : nothing}<span>${item.text ?? texts.commandName(command ?? "")}</span><kbd>${command ? keysOf(command).split(", ").at(-1) : ""}</kbd></button>`;
  })}</div>`;

/** @param {KeyboardEvent} event */
function walked(event) {
  const items = /** @type {HTMLElement[]} */ ([.../** @type {Element} */ (event.currentTarget).querySelectorAll("[role=menuitem]")]);
  const at = items.indexOf(/** @type {any} */ (document.activeElement));
  const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  items.at(next % items.length)?.focus();
}

// ––– move to…, keys, palette

/** Where goals are to go. @param {string[]} ids @returns {Promise<import("./actions.js").Place|null>} */
export function moveDialog(ids) {
  const moving = new Set(ids);
  const goals = inOrder(model.tree).filter(({ goal }) => !moving.has(goal.id) && !pathTo(model.tree, goal.id).some(({ id }) => moving.has(id)));
  const found = goals.map(({ goal }) => ({ id: goal.id, name: goal.name, path: pathTo(model.tree, goal.id).map(({ name }) => name) }));
  const places = [{ id: null, name: words.tree.top, path: [] }, ...found];
  return ask((done) => {
    const take = (/** @type {any} */ one, /** @type {string} */ where) => {
      const siblings = livingUnder(model.tree, one.id).filter((id) => !moving.has(id));
      const goal = one.id === null ? null : model.tree.goals.get(one.id);
      if (where === "after") done({ parent: goal?.parent_id ?? null, after: one.id });
      else done(where === "first" && siblings.length ? { parent: one.id, before: siblings[0] } : { parent: one.id, after: siblings.at(-1) });
    };
    return picker(places, { hint: texts.ask.moveHint, label: texts.ask.moveTo }, (one, event) => take(one, where(event)), html`
      <fieldset class="choice"><legend class="sr">${texts.ask.where}</legend>${["last", "first", "after"].map((one, i) => html`
        <label><input type="radio" name="where" value=${one} ?checked=${i === 0}> ${texts.ask.places[one]}</label>`)}</fieldset>`);
  }, { title: texts.ask.moveTitle(ids.length), kind: "picker" });
}

/** @param {Event} event */
const where = (event) => /** @type {HTMLInputElement|null} */ (/** @type {Element} */ (event.target).closest("dialog")?.querySelector("[name=where]:checked"))?.value ?? "last";

let typed = "";
let chosen = 0;

/**
 * A field, and below it what matches. @template {{name: string, path?: string[], keys?: string, why?: string|null}} T
 * @param {T[]} all @param {{hint: string, label: string}} say @param {(one: T, event: Event) => void} take @param {unknown} [more]
 */
export function picker(all, { hint, label }, take, more = nothing) {
  const wanted = folded(typed).split(/\s+/).filter(Boolean);
  const found = all.filter((one) => wanted.every((word) => folded([...(one.path ?? []), one.name].join(" ")).includes(word))).slice(0, 60);
  chosen = Math.max(0, Math.min(chosen, found.length - 1));
  // What is typed is found before Enter takes the first.
  const set = (/** @type {string} */ text, /** @type {number} */ at) => {
    [typed, chosen] = [text, at];
    change();
    flush();
  };
  const keyed = (/** @type {KeyboardEvent} */ event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) set(typed, (chosen + step + found.length) % Math.max(1, found.length));
    else if (event.key === "Enter" && found[chosen]) taken(found[chosen], event);
    else return;
    event.preventDefault();
  };
  const taken = (/** @type {T} */ one, /** @type {Event} */ event) => {
    [typed, chosen] = ["", 0];
    take(one, event);
  };
  return html`<input class="picker-input" type="search" role="combobox" aria-expanded="true" aria-controls="picked" aria-label=${label} placeholder=${hint} dir="auto"
      autofocus autocomplete="off" aria-activedescendant=${found.length ? `pick-${chosen}` : nothing} .value=${live(typed)} @keydown=${keyed}
      @input=${(/** @type {any} */ event) => set(event.target.value, 0)}>
    ${more}
    <ul id="picked" role="listbox" aria-label=${label}>${found.map((one, i) => html`<li role="option" id="pick-${i}" aria-selected=${String(i === chosen)} aria-disabled=${one.why ? "true" : nothing}
      @click=${(/** @type {Event} */ event) => taken(one, event)}><bdi>${one.name}</bdi>${one.path?.length ? html`<small dir="auto">${one.path.join(" › ")}</small>` : nothing}${one.keys ? html`<kbd>${one.keys}</kbd>` : nothing}</li>`)}</ul>`;
}

function palette() {
  const known = KEYS.filter(({ command, group }) => group !== "edit" && whyNot(command) !== "" && !/^(up|down|left|right|first|last|pageUp|pageDown|palette)$/.test(command));
  const all = known.map(({ command, name, keys }) => ({ name, command, keys: readable(keys[0] ?? ""), why: whyNot(command) }));
  ask((done) => picker(all, { hint: texts.ask.paletteHint, label: words.tools.palette }, (one) => done(one.command)), { title: words.tools.palette, kind: "picker" }).then(
    (command) => command && run(command),
  );
}

const GROUPS = /** @type {const} */ (["tree", "edit", "page", "time"]);

const showKeys = () => ask(() => html`<div class="keys">${GROUPS.map((group) => html`<section><h3>${texts.groups[group]}</h3><dl>${KEYS.filter((key) => key.group === group && key.keys.length).map(
    ({ keys, name }) => html`<div><dt>${keys.map((key) => html`<kbd>${readable(key)}</kbd> `)}</dt><dd>${name}</dd></div>`)}</dl></section>`)}</div>`,
  { title: words.tools.keys, kind: "wide" });

provide({ palette: { run: palette }, keys: { run: () => void showKeys() } });

export const isOpen = () => state.dialog !== null;
