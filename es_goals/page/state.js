/**
 * All that the page knows, in one object, and the one way to change it: `change`, which draws anew at the next frame.
 *
 * @typedef {{id: string, name: string, role?: string}} User
 * @typedef {{view: string, user: string|null, id?: string, at?: string, from?: string, to?: string, query?: string}} Route
 * @typedef {{id: string, cell: number}} Focus  `cell` 0 is the row itself
 * @typedef {{kind: "rename"|"new", id: string, parent: string|null, after: string|null, text: string, was: string,
 *   revision: number|null, moved?: boolean}} Edit  `id`: the goal's, also of one to be
 * @typedef {{text: string, command?: string|null, goal?: string, link?: {text: string, href: string}, error?: boolean,
 *   stays?: boolean, action?: {text: string, run: () => void}}} Toast
 */
import { NO_FILTER } from "./tree.js";

export const state = {
  /** @type {{version: string, accounts: boolean, oidc: string|null, registration: string}} */
  meta: { version: "", accounts: false, oidc: null, registration: "closed" },
  /** Who is signed in; null: nobody, or an open service. @type {User|null} */
  me: null,
  /** Whose goals are shown. @type {User|null} */
  user: null,
  /** All users, where they may be seen. @type {User[]|null} */
  users: null,
  /** @type {Route} */
  route: { view: "goals", user: null },
  /** "start", "sign-in", "pick", "loading", "ready", "failed" */
  phase: "start",
  /** Why it failed. */
  failure: "",
  /** Rises with each change of any tree, so that what is made of one can be kept. */
  stamp: 0,
  /** @type {Set<string>} */
  closed: new Set(),
  /** @type {string|null} */
  zoom: null,
  /** @type {Focus|null} */
  focus: null,
  /** Whether the grid is to have the browser's focus after the next drawing. */
  grab: false,
  /** @type {Set<string>} */
  selected: new Set(),
  /** Where extending a selection begins. @type {string|null} */
  anchor: null,
  /** Goals to be moved by pasting. @type {string[]} */
  cut: [],
  /** Where what is dragged would land. @type {{index: number, level: number, into: string|null, blocked: boolean}|null} */
  drop: null,
  /** @type {Edit|null} */
  edit: null,
  /** While it draws, a field that is moved loses the focus; nobody left it. */
  drawing: false,
  words: "",
  filter: NO_FILTER,
  /** The goal whose detail is open. @type {string|null} */
  detail: null,
  /** Rows that just changed, by id. @type {Map<string, string>} */
  glow: new Map(),
  /** Goals for which an answer is awaited. @type {Set<string>} */
  busy: new Set(),
  /** @type {Toast|null} */
  toast: null,
  /** "" or one of words.strips; with its number. @type {{kind: string, count?: number}|null} */
  strip: null,
  /** How many commands wait to be sent. */
  waiting: 0,
  live: "connecting",
  /** The open dialog, drawn by its own function. @type {(() => unknown)|null} */
  dialog: null,
  /** An instant, for what depends on the time. */
  now: new Date().toISOString(),
};

/** @type {() => void} */
let draw = () => {};
let waiting = false;
/** Who waits for something to be so, and is told then. @type {[() => boolean, () => void][]} */
let watching = [];

/** What draws. @param {() => void} how */
export function drawWith(how) {
  draw = how;
}

/** Set some of it and draw. @param {Partial<typeof state>} [some] */
export function change(some = {}) {
  Object.assign(state, some);
  if (waiting) return;
  waiting = true;
  const soon = document.hidden ? queueMicrotask : requestAnimationFrame;
  soon(flush);
}

/** Draw now, if there is something: what is typed next is to find the field there. */
export function flush() {
  if (!waiting) return;
  waiting = false;
  state.drawing = true;
  draw();
  state.drawing = false;
  const met = watching.filter(([so]) => so());
  watching = watching.filter((one) => !met.includes(one));
  for (const [, go] of met) go();
}

/** Until something is so, which is looked at after each drawing. @param {() => boolean} so @returns {Promise<void>} */
export const whenDrawn = (so) => new Promise((go) => watching.push([so, go]));

/** A tree changed. */
export const treeChanged = () => change({ stamp: state.stamp + 1 });

/** Say something to those who listen. @param {string} text @param {boolean} [now] */
export function announce(text, now = false) {
  const place = document.getElementById(now ? "alerts" : "news");
  if (place) place.textContent = place.textContent === text ? `${text}\u00a0` : text;
}

const PREFIX = "es-goals.";

/** What this browser keeps, per person. @param {string} name */
export function kept(name) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name) ?? "null");
  } catch {
    return null;
  }
}

/** @param {string} name @param {unknown} value */
export function keep(name, value) {
  try {
    if (value === null) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // A full or forbidden store costs comfort, nothing else.
  }
}

/** Names under which something is kept. @param {string} start */
export const keptNames = (start) =>
  Object.keys(localStorage).filter((name) => name.startsWith(PREFIX + start)).map((name) => name.slice(PREFIX.length));

/** Forget all but how it looks, when somebody signs out. */
export function forget() {
  for (const name of keptNames("")) if (name !== "theme") keep(name, null);
}
