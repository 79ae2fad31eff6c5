/**
 * The page's wiring. How it hangs together:
 *
 * - `state.js` holds all that is known; `change({…})` sets some of it and draws once at the next frame, from `page()` below.
 * - `model.js` holds the tree; `live.js` brings confirmed events to it, `queue.js` sends commands and shows at once what
 *   they will do; `actions.js` has a function for each thing that can be done to goals.
 * - The URL's fragment is the route: `#/alice/trash` is view `trash` of alice. A view is a module with
 *   `export const view = {enter?(route), leave?(), body(), aside?(), tint?}`, loaded when it is first shown, and one line
 *   in VIEWS here. `enter` loads what it needs and calls `change()`; `body` draws. A view that shows another tree sets
 *   `source` of `treeview.js` in `enter` and gives it back in `leave`.
 * - A command has a name and its keys in the table of `keys.js`; whoever can run it calls `provide({name: {run, why}})`.
 *   Buttons, menus, the palette and keys all call `run(name)`; `why` says in a sentence why it cannot be run now.
 * - What is needed to show a tree is loaded at once; what changes it (`hands.js` and all that it imports) right behind the
 *   first drawing; each other view when it is first shown.
 * - Every word is in `words.js`, `texts.js` or `phrases.js`.
 */
import { get, userPath } from "./api.js";
import { applyTheme, header, notices, provideAccount, toolbar } from "./chrome.js";
import { press, provide, whyNot } from "./keys.js";
import { clear, confirm, load, model, unsettled } from "./model.js";
import { blank } from "./parts.js";
import { hashOf, parseRoute } from "./routes.js";
import { ended, signIn, pickUser, start } from "./signin.js";
import { change, drawWith, flush, keep, kept, state } from "./state.js";
import { closedBefore, focusAfter, source, tree } from "./treeview.js";
import { html, nothing, render } from "./vendor/lit.js";
import * as words from "./words.js";

/** @typedef {{enter?: (route: import("./state.js").Route) => unknown, leave?: () => void, body: () => unknown, aside?: () => unknown, tint?: string}} View */

/** @type {Record<string, () => Promise<{view: View}>>} */
const VIEWS = {
  trash: () => import("./trash.js"),
  history: () => import("./history.js"),
  activity: () => import("./activity.js"),
  at: () => import("./time.js"),
  compare: () => import("./compare.js"),
  draft: () => import("./drafts.js"),
  account: () => import("./account.js"),
  admin: () => import("./admin.js"),
  audit: () => import("./audit.js"),
};
/** Of these there is one, whoever's goals were shown. */
const OWN = ["account", "admin", "audit"];
/** @type {View} */
const goals = { body: tree };
/** @type {View} */
let view = goals;
/** @type {View|null} */
let detail = null;
let unfollow = () => {};
let entering = 0;
/** What changes goals, once it is there. @type {typeof import("./hands.js")|null} */
let hands = null;

/** The fragment changed: another user, another view. */
async function routed() {
  const route = parseRoute(location.hash);
  const mine = ++entering;
  if (state.phase === "start" || state.phase === "sign-in") return;
  if (route.user === null && !OWN.includes(route.view)) return home();
  if (route.user !== null && ![state.user?.name, state.user?.id].includes(route.user)) {
    await openUser(route.user);
    if (mine !== entering) return;
    if (state.phase !== "ready") return failedAt(route);
  }
  const next = VIEWS[route.view] ? (await VIEWS[route.view]()).view : goals;
  if (mine !== entering) return;
  view.leave?.();
  view = next;
  const was = state.route.view;
  change({ route, zoom: route.view === "under" ? route.id ?? null : null, selected: new Set() });
  if (route.view === "goal" && route.id) await import("./detail.js").then(({ openDetail }) => openDetail(/** @type {string} */ (route.id)));
  await view.enter?.(route);
  flush();
  if (was !== route.view && document.activeElement === document.body) document.querySelector("main")?.focus({ preventScroll: true });
}

/** Why there are no goals is told where they would be. @param {import("./state.js").Route} route */
function failedAt(route) {
  view.leave?.();
  view = goals;
  change({ route });
}

/** Where one comes without a fragment: one's own goals, or a choice. */
function home() {
  const name = state.me?.name ?? kept("user");
  if (state.me?.role === "auditor") location.replace("#/audit");
  else if (name) location.replace(`#/${encodeURIComponent(name)}`);
  else pickUser();
}

/** Show a user's goals, and follow them. @param {string} name */
async function openUser(name) {
  unfollow();
  clear();
  change({ phase: "loading", user: { id: name, name }, focus: null, selected: new Set(), edit: null, detail: null });
  try {
    const [user] = await Promise.all([get(userPath(name)), loadTree(name)]);
    if (state.meta.accounts === false) keep("user", user.name);
    change({ phase: "ready", user });
    change({ closed: closedBefore() });
    flush();
    hands ??= await import("./hands.js");
    hands.showWaiting();
    unfollow = hands.follow(user.id, ears);
    await hands.adopt();
  } catch (error) {
    const { kind } = /** @type {any} */ (error);
    if (kind === "user-not-found" && !state.meta.accounts) {
      keep("user", null);
      return pickUser();
    }
    change({ phase: "failed", failure: words.trouble(/** @type {any} */ (error)) });
  }
}

/** @param {string} user */
async function loadTree(user) {
  load(await get(`${userPath(user)}/goals`, { view: "flat", deleted: true, ranks: true }));
}

/** @type {import("./live.js").Ears} */
const ears = {
  known: () => model,
  events(facts) {
    // A draft stands on what was; what happens meanwhile is seen when it is left.
    if (hands?.elsewhere.send) return hands.elsewhere.missed?.(facts.length);
    confirm(facts);
    hands?.sayOthers(facts);
  },
  reload: () => loadTree(/** @type {any} */ (state.user).id),
  status: (live, behind) => change({ live, strip: live === "behind" ? { kind: "behind", count: behind } : state.strip?.kind === "behind" ? null : state.strip }),
  ended,
};

/** How much is not sent, or not come back by the stream. */
const unconfirmed = () => state.waiting + unsettled();

function page() {
  if (state.phase === "sign-in") return signIn();
  if (state.phase === "pick") return html`${pickUser.screen()}${overlays()}`;
  const side = state.detail && ["goals", "under", "goal"].includes(state.route.view) && detail ? detail.body() : view.aside?.() ?? nothing;
  return html`
    <div class="page ${view.tint ?? ""}" data-view=${state.route.view} data-waiting=${unconfirmed()} data-ready=${String(hands !== null || OWN.includes(state.route.view))}>
      <a class="skip" href="#goals" @click=${skip}>${words.skip}</a>
      ${header()} ${notices()}
      <div class="middle">
        <main id="goals" tabindex="-1" aria-busy=${state.phase === "loading" ? "true" : "false"}>${heading()}${main()}</main>
        ${side}
      </div>
      ${toolbar()}
    </div>${overlays()}`;
}

/** Views that are lists have a visible one. */
const heading = () => (view.body === tree || view.tint ? html`<h1 class="sr">${words.tree.label(state.user?.name ?? "")}</h1>` : nothing);
const overlays = () => state.dialog?.() ?? nothing;

/** @param {Event} event */
function skip(event) {
  event.preventDefault();
  change({ grab: true });
  flush();
}

function main() {
  if (OWN.includes(state.route.view) || state.phase === "ready") return view.body();
  if (state.phase === "failed") return blank(words.tree.failed, html`${state.failure} <button type="button" @click=${() => openUser(/** @type {any} */ (state.route.user ?? state.user?.name)).then(routed)}>${words.tree.again}</button>`);
  return html`<div class="loading" role="status"><span class="sr">${words.tree.loading}</span>${[60, 45, 52, 38, 48].map((width) => html`<i .style=${`width:${width}%`}></i>`)}</div>`;
}

/** The detail pane, once its module is there. @param {View} pane */
export function setDetail(pane) {
  detail = pane;
  change();
}

/** @param {KeyboardEvent} event */
function pressed(event) {
  const target = /** @type {Element} */ (event.target);
  const typing = target.closest("input:not([type=checkbox],[type=radio],[type=range]), textarea, select");
  if (state.dialog || (typing && !/^Ctrl\+K$/.test(event.ctrlKey ? `Ctrl+${event.key.toUpperCase()}` : ""))) return;
  if (view.tint === "past" && press(event, "time")) return;
  if (!press(event, "page") && isForTree(target, event.key)) press(event, "tree");
}

/** Where nothing has the focus the tree has the keys; Esc also from what stands above it. @param {Element} target @param {string} key */
function isForTree(target, key) {
  const loose = target.matches("body, main") || (key === "Escape" && target.closest("main"));
  return loose && state.phase === "ready" && (view.body === tree || ["past", "compared"].includes(view.tint ?? "") || document.querySelector("main .grid"));
}

const userHash = (/** @type {string} */ rest) => () => {
  location.hash = hashOf(/** @type {any} */ (state.user).name, rest);
};
provide({
  detail: {
    run: () => {
      if (state.detail && state.detail === state.focus?.id) return change({ detail: null });
      void import("./detail.js").then(({ openDetail }) => openDetail(state.focus?.id ?? null));
    },
  },
  due: { run: () => void import("./detail.js").then(({ openDue }) => openDue(state.focus?.id ?? null)), why: () => source.readonly() },
  goalHistory: { run: () => void import("./detail.js").then(({ openDetail }) => openDetail(state.focus?.id ?? null, true)) },
  undo: { run: () => void import("./undo.js").then(({ undo }) => undo()), why: () => source.readonly() },
  redo: { run: () => void import("./undo.js").then(({ redo }) => redo()), why: () => source.readonly() },
  history: { run: userHash("history") },
  compare: { run: userHash("compare/-7d..now") },
  time: { run: () => userHash(`at/${model.position}`)() },
  draft: { run: () => void import("./drafts.js").then(({ startDraft }) => startDraft()), why: () => source.readonly() },
});

/** Once a minute things become overdue, and today another day. */
setInterval(() => change({ now: new Date().toISOString() }), 30_000);

drawWith(() => {
  const root = /** @type {HTMLElement} */ (document.getElementById("app"));
  render(page(), root);
  focusAfter();
  for (const dialog of document.querySelectorAll("dialog:not([open])")) /** @type {HTMLDialogElement} */ (dialog).showModal();
  document.title = state.user && state.phase === "ready" ? `${state.user.name} · ${words.brand}` : words.brand;
});
addEventListener("hashchange", () => void routed());
addEventListener("keydown", pressed);
// The same person signed in again: their stream ended with the session.
addEventListener("es-goals-again", () => {
  unfollow();
  if (hands && state.user) unfollow = hands.follow(state.user.id, ears);
});
applyTheme();
start().then(() => {
  if (state.meta.accounts) provideAccount();
  return routed();
});
// A file that is dropped anywhere is looked at, to be imported.
for (const type of ["dragover", "drop"]) {
  addEventListener(type, (event) => {
    const { dataTransfer, defaultPrevented } = /** @type {DragEvent} */ (event);
    if (defaultPrevented || !dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    const [file] = dataTransfer.files;
    if (type === "drop" && state.phase === "ready" && whyNot("newGoal") === null) void import("./files.js").then(({ importFile }) => importFile(file));
  });
}

export { routed };
