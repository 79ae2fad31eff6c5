/** What frames the goals: the header with its tools, strips, toasts, and the toolbar of small screens. */
import { keysOf, provide, run, whyNot } from "./keys.js";
import { icon, iconButton } from "./parts.js";
import { hashOf } from "./routes.js";
import { pickUser, signOut } from "./signin.js";
import { change, keep, kept, state } from "./state.js";
import { NO_FILTER } from "./tree.js";
import { rows, summary } from "./treeview.js";
import { html, live, nothing } from "./vendor/lit.js";
import * as words from "./words.js";

const THEMES = /** @type {const} */ (["auto", "light", "dark"]);

/** Light, dark, or as the system has it. @returns {"auto"|"light"|"dark"} */
const theme = () => THEMES.find((one) => one === kept("theme")) ?? "auto";

export function applyTheme() {
  document.documentElement.dataset.theme = theme();
}

function nextTheme() {
  keep("theme", THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length]);
  applyTheme();
  change();
}

/** @param {Event} event @param {import("./dialogs.js").Item[]} items */
const openMenu = (event, items) => void import("./dialogs.js").then((dialogs) => dialogs.openMenu(event, null, items));

/** Whose goals the tabs lead to. */
const whose = () => state.user?.name ?? state.me?.name ?? "";
const hash = (/** @type {string} */ rest) => hashOf(whose(), rest);

/** @param {string} command @param {string} picture @param {string} text @param {{pressed?: boolean}} [more] */
const tool = (command, picture, text, more = {}) =>
  iconButton(picture, text, (event) => run(command, event), { keys: keysOf(command), disabled: whyNot(command) || null, ...more });

/** Beside these there is no tree to search or to change. */
const OWN = ["account", "admin", "audit"];

export function header() {
  const at = state.route.view;
  return html`
    <header class="head">
      <div class="head-line">
        <a class="brand" href=${hash("")}>${words.brand}</a>
        <button type="button" class="plain who" aria-haspopup="menu" @click=${userMenu}><bdi>${whose()}</bdi>${icon("chevron-down")}</button>
        ${state.meta.accounts ? nothing : html`<span class="badge">${words.openBadge}</span>`}
        <span class="grow"></span>
        ${OWN.includes(at) ? nothing : search()}
        <span class="tools" ?hidden=${OWN.includes(at)}>
          ${tool("undo", "undo-2", words.tools.undo)} ${tool("redo", "redo-2", words.tools.redo)}
          <span class="rule"></span>
          ${tool("time", "clock", words.tools.time, { pressed: at === "at" })}
          ${tool("compare", "git-compare-arrows", words.tools.compare, { pressed: at === "compare" })}
          ${tool("draft", "git-branch", words.tools.draft, { pressed: at === "draft" })}
        </span>
        <span class="live" ?hidden=${OWN.includes(at)} data-live=${state.live} title=${words.live[state.live]}><i aria-hidden="true"></i><span>${words.live[state.live]}</span></span>
        ${iconButton("settings", words.tools.menu, mainMenu, { extra: "main-menu" })}
      </div>
      <div class="head-line second">
        <nav aria-label=${words.nav}>${Object.entries(words.tabs).map(([name, text]) => html`
          <a href=${hash(name === "goals" ? "" : name)} aria-current=${isAt(name, at) ? "page" : nothing}>${text}</a>`)}</nav>
        <span class="grow"></span>
        <span class="summary" aria-live="polite">${["goals", "under", "goal"].includes(at) && state.phase === "ready" ? summary() : ""}</span>
        ${["goals", "under", "goal"].includes(at) && !whyNot("newGoal") ? html`<button type="button" class="primary small" @click=${() => run("newGoal")}>${icon("plus")} ${words.tools.newGoal}</button>` : nothing}
      </div>
    </header>`;
}

/** @param {string} name @param {string} at */
const isAt = (name, at) => name === at || (name === "goals" && ["under", "goal"].includes(at));

const search = () => html`
  <search class="search">${icon("search")}<input type="search" id="search" placeholder=${words.tools.searchHint} aria-label=${words.tools.search} aria-keyshortcuts="/"
      .value=${live(state.words)} @input=${(/** @type {any} */ event) => change({ words: event.target.value })} @keydown=${searchKey}>
    <button type="button" class="plain ${filtered() ? "on" : ""}" title="${words.tools.filter} (${keysOf("filter")})" aria-label=${words.tools.filter} aria-haspopup="dialog"
      @click=${() => run("filter")}>${icon("filter")}</button></search>`;

const filtered = () => state.filter !== NO_FILTER;

/** @type {{focus: import("./state.js").Focus|null, top: number}|null} */
let before = null;

/** @param {KeyboardEvent} event */
function searchKey(event) {
  if (event.key === "Escape") {
    event.preventDefault();
    change({ words: "", grab: true, focus: before?.focus ?? state.focus });
    const top = before?.top ?? 0;
    requestAnimationFrame(() => document.querySelector(".scroller")?.scrollTo({ top }));
  } else if (event.key === "Enter" || event.key === "ArrowDown") {
    event.preventDefault();
    const first = rows().find((row) => row.match) ?? rows()[0];
    if (first) change({ focus: { id: first.goal.id, cell: 0 }, grab: true });
  }
}

provide({
  search: {
    run: () => {
      before = { focus: state.focus, top: document.querySelector(".scroller")?.scrollTop ?? 0 };
      document.getElementById("search")?.focus();
    },
  },
  trash: { run: () => void (location.hash = hash("trash")) },
  activity: { run: () => void (location.hash = hash("activity")) },
  importFile: { run: () => void import("./files.js").then(({ importFile }) => importFile()), why: () => whyNot("newGoal") },
  exportFile: { run: () => void import("./files.js").then(({ exportFile }) => exportFile()) },
  theme: { run: nextTheme },
  filter: { run: () => void import("./filter.js").then(({ filterDialog }) => filterDialog()) },
});

/** Known only where one can sign out. */
export const provideAccount = () => provide({ signOut: { run: () => void signOut() } });

/** @param {Event} event */
const userMenu = (event) =>
  openMenu(event, [
    ...(state.users ?? []).slice(0, 12).map((user) => ({ text: user.name, icon: "user", run: () => void (location.hash = hashOf(user.name)) })),
    ...(state.meta.accounts ? [] : [{ text: words.tools.switchUser, icon: "users", run: () => pickUser() }]),
    ...(state.meta.accounts ? [{ text: words.tools.account, icon: "user", run: () => void (location.hash = "#/account") }, { text: words.sign.out, icon: "log-out", run: () => signOut() }] : []),
  ]);

/** @param {Event} event */
const mainMenu = (event) => {
  const go = (/** @type {string} */ to) => () => void (location.hash = to);
  const role = state.me?.role;
  const all = role === "administrator" || !state.meta.accounts;
  openMenu(event, [
    { text: words.tools.importFile, icon: "upload", why: whyNot("importFile"), run: () => run("importFile") },
    { text: words.tools.exportFile, icon: "download", run: () => run("exportFile") },
    null,
    { text: words.tools.palette, icon: "search", run: () => run("palette") },
    { text: words.tools.keys, icon: "keyboard", run: () => run("keys") },
    { text: words.tools.theme[theme()], icon: { auto: "monitor", light: "sun", dark: "moon" }[theme()], run: () => run("theme") },
    null,
    ...(state.meta.accounts ? [{ text: words.tools.account, icon: "user", run: go("#/account") }] : []),
    ...(all || role === "auditor" ? [{ text: words.tools.audit, icon: "scroll-text", run: go("#/audit") }] : []),
    ...(all ? [{ text: words.tools.admin, icon: "shield", run: go("#/admin") }] : []),
    ...(state.meta.accounts ? [{ text: words.sign.out, icon: "log-out", run: () => signOut() }] : []),
  ]);
};

/** One strip at a time, and the toast. */
export const notices = () => html`${strip()}${toast()}`;

function strip() {
  if (!state.strip) return nothing;
  const { kind, count = 0 } = state.strip;
  const text = { offline: () => words.strips.offline(Math.max(count, state.waiting)), behind: () => words.strips.behind(count), ended: words.strips.ended, version: words.strips.version }[kind]?.() ?? "";
  return html`<div class="strip" data-strip=${kind} role="status">${icon(kind === "offline" ? "wifi-off" : "circle-alert")} <span>${text}</span>
    ${kind === "ended" ? html`<button type="button" @click=${() => change({ phase: "sign-in" })}>${words.sign.again}</button>` : nothing}</div>`;
}

/** @type {import("./state.js").Toast|null} */
let timed = null;
let timer = 0;
let paused = false;

function toast() {
  const { toast: one } = state;
  if (one !== timed) {
    timed = one;
    clearTimeout(timer);
    paused = false;
    if (one && !one.stays && !one.error) timer = window.setTimeout(gone, 10_000);
  }
  if (!one) return nothing;
  return html`<div class="toast ${one.error ? "error" : ""}" role=${one.error ? "alert" : "status"} @pointerenter=${hold} @focusin=${hold} @pointerleave=${release} @focusout=${release}>
    <span dir="auto">${one.text}</span>
    ${one.command ? html`<button type="button" @click=${() => void import("./undo.js").then(({ undoCommand }) => undoCommand(/** @type {string} */ (one.command)))}>${words.tools.undo}</button>` : nothing}
    ${one.action ? html`<button type="button" @click=${() => { gone(); one.action?.run(); }}>${one.action.text}</button>` : nothing}
    ${one.link ? html`<a href=${one.link.href} @click=${gone}>${one.link.text}</a>` : nothing}
    ${iconButton("x", words.tools.close, gone)}</div>`;
}

const gone = () => change({ toast: null });
const hold = () => {
  paused = true;
  clearTimeout(timer);
};
const release = () => {
  if (!paused || !timed || timed.error || timed.stays) return;
  paused = false;
  timer = window.setTimeout(gone, 10_000);
};

/** At the bottom of a small screen. */
export const toolbar = () => html`<div class="toolbar" role="toolbar" aria-label=${words.tools.menu}>
  ${tool("newGoal", "plus", words.tools.newGoal)} ${tool("undo", "undo-2", words.tools.undo)} ${tool("search", "search", words.tools.search)}
  ${tool("time", "clock", words.tools.time)} ${iconButton("ellipsis", words.tools.menu, mainMenu)}</div>`;

