/** Every text of the page, in English. Dates, numbers, plurals and lists by Intl. */

/** @typedef {import("./fold.js").Goal} Goal */

const lang = "en-GB";
const number = new Intl.NumberFormat(lang);
const plural = new Intl.PluralRules(lang);
const relative = new Intl.RelativeTimeFormat(lang, { numeric: "auto" });
const dayShort = new Intl.DateTimeFormat(lang, { day: "numeric", month: "short" });
const dayLong = new Intl.DateTimeFormat(lang, { day: "numeric", month: "short", year: "numeric" });
const monthShort = new Intl.DateTimeFormat(lang, { month: "short", timeZone: "UTC" });
const clock = new Intl.DateTimeFormat(lang, { hour: "2-digit", minute: "2-digit" });
const exactly = new Intl.DateTimeFormat(lang, { dateStyle: "full", timeStyle: "medium" });

const DAY = 86_400_000;

/** @param {number} count @param {string} one @param {string} [many] */
export const counted = (count, one, many = `${one}s`) => `${number.format(count)} ${plural.select(count) === "one" ? one : many}`;
/** @param {number} count */
export const num = (count) => number.format(count);
/** @param {string} text */
export const quoted = (text) => `“${text}”`;
/** @param {string} at */
export const exact = (at) => exactly.format(new Date(at));
/** @param {string} at */
export const time = (at) => clock.format(new Date(at));
/** @param {string|Date} at @param {string} [now] */
export const day = (at, now = new Date().toISOString()) => {
  const date = new Date(at);
  return date.getFullYear() === new Date(now).getFullYear() ? dayShort.format(date) : dayLong.format(date);
};
/** @param {string} day */
export const month = (day) => monthShort.format(new Date(day));
/** @param {string} at @param {string} [now] */
export const dayTime = (at, now) => `${day(at, now)}, ${time(at)}`;

/** Days from one local day to another. @param {string} from @param {string} to */
const days = (from, to) => Math.round((new Date(to).setHours(0, 0, 0, 0) - new Date(from).setHours(0, 0, 0, 0)) / DAY);

/** How far away, as people say it. @param {string} at @param {string} now */
export function away(at, now) {
  const apart = days(now, at);
  if (Math.abs(apart) < 14) return relative.format(apart, "day");
  if (Math.abs(apart) < 60) return relative.format(Math.round(apart / 7), "week");
  if (Math.abs(apart) < 700) return relative.format(Math.round(apart / 30.4), "month");
  return relative.format(Math.round(apart / 365.25), "year");
}

/** What the due cell says. @param {Goal} goal @param {string} now @param {boolean} late */
export function due(goal, now, late) {
  if (goal.end !== null) return `done ${day(goal.end, now)}`;
  if (goal.due === null) return "";
  const behind = days(goal.due, now);
  if (!late) return `${day(goal.due, now)} · ${away(goal.due, now)}`;
  return behind < 1 ? "due, just now" : `due ${day(goal.due, now)}, ${counted(behind, "day")} late`;
}

/** A sentence of the service with its times as people read them. @param {string} text */
export const readable = (text) => text.replace(/\b(from|due) (\d{4}-\d\d-\d\dT[\d:.]+Z)/g, (_, word, at) => `${word} ${dayTime(at)}`);

/** @param {number} completed @param {number} leaves */
export const progress = (completed, leaves) => `${num(completed)} of ${num(leaves)} done`;

export const brand = "Over Achiever";
export const openBadge = "open: no accounts";
export const skip = "Skip to the goals";
export const nav = "Views";

export const sign = {
  title: "Sign in",
  name: "Name",
  password: "Password",
  go: "Sign in",
  wrong: "Wrong name or password.",
  register: "Register",
  registerTitle: "Register",
  newHere: "New here?",
  known: "Have an account?",
  out: "Sign out",
  signedOut: "Signed out.",
  again: "Sign in again",
  pick: "Whose goals?",
  newUser: "New user",
  add: "Add",
  nobody: "Nobody is here yet. Who are you?",
  /** @param {number} seconds */
  later: (seconds) => `Too many attempts. Try again in ${counted(Math.max(1, Math.ceil(seconds / 60)), "minute")}.`,
  disabled: "This account is disabled.",
  /** @param {string} name */
  other: (name) => `Signed in as ${name} now. Changes of the one before were not sent.`,
};

export const tabs = { goals: "Goals", history: "History", trash: "Trash", activity: "Activity" };

export const tools = {
  search: "Search",
  searchHint: "Search…",
  filter: "Filter",
  undo: "Undo",
  redo: "Redo",
  time: "Time",
  compare: "Compare",
  draft: "What if",
  menu: "Menu",
  close: "Close",
  newGoal: "New goal",
  theme: { auto: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" },
  keys: "Keyboard keys",
  palette: "Commands",
  account: "Account",
  admin: "Administration",
  audit: "Audit",
  switchUser: "Another user",
  importFile: "Import…",
  exportFile: "Export…",
};

/** @type {Record<string, string>} */
export const live = {
  connecting: "connecting",
  live: "live",
  offline: "offline",
  behind: "catching up",
};

export const tree = {
  label: (/** @type {string} */ user) => `Goals of ${user}`,
  name: "Goal",
  progress: "Progress",
  due: "Due",
  actions: "Actions",
  complete: (/** @type {string} */ name) => `Complete ${quoted(name)}`,
  reopen: (/** @type {string} */ name) => `Reopen ${quoted(name)}`,
  more: (/** @type {string} */ name) => `Actions for ${quoted(name)}`,
  setDue: (/** @type {string} */ name) => `Due date of ${quoted(name)}`,
  open: (/** @type {string} */ name) => `Open ${quoted(name)}`,
  close: (/** @type {string} */ name) => `Close ${quoted(name)}`,
  hidden: (/** @type {number} */ count) => `${num(count)}`,
  hiddenLong: (/** @type {number} */ count) => `${counted(count, "goal")} below, not shown`,
  summary: (/** @type {number} */ open, /** @type {number} */ done, /** @type {number} */ late) =>
    [`Open ${num(open)}`, `done ${num(done)}`, ...(late ? [`${num(late)} overdue`] : [])].join(" · "),
  found: (/** @type {number} */ count) => `${counted(count, "goal")} found`,
  nothingFound: "No goal matches.",
  clear: "Clear",
  noGoals: "No goals here.",
  emptyTitle: "A blank page.",
  empty: "Press Enter, or n, and type the first goal. Enter again starts the next one, Tab makes it a sub-goal.",
  newHere: "New goal…",
  newName: "Name of the new goal",
  rename: (/** @type {string} */ name) => `New name of ${quoted(name)}`,
  top: "All goals",
  failed: "The goals could not be loaded.",
  again: "Try again",
  loading: "Loading goals…",
  selected: (/** @type {number} */ count) => `${num(count)} selected`,
  level: (/** @type {number} */ level) => `level ${num(level)}`,
  isDone: "done",
  path: "Where you are",
};

/** What happened, for readers and toasts. */
export const did = {
  moved: (/** @type {string} */ name, /** @type {string|null} */ under, /** @type {number} */ place, /** @type {number} */ among) =>
    `${quoted(name)} moved ${under === null ? "to the top level" : `under ${quoted(under)}`}, ${num(place)} of ${num(among)}`,
  movedMany: (/** @type {number} */ count) => `${counted(count, "goal")} moved`,
  completed: (/** @type {string} */ name) => `${quoted(name)} completed`,
  completedBelow: (/** @type {string} */ name, /** @type {number} */ below) => `Completed ${quoted(name)} and ${num(below)} below.`,
  reopened: (/** @type {string} */ name) => `${quoted(name)} reopened`,
  deleted: (/** @type {string} */ name, /** @type {number} */ below) => `Deleted ${quoted(name)}${below ? ` and ${num(below)} below` : ""}.`,
  deletedMany: (/** @type {number} */ count) => `Deleted ${counted(count, "goal")}.`,
  restored: (/** @type {string} */ name) => `Restored ${quoted(name)}.`,
  pasted: (/** @type {number} */ count) => `Added ${counted(count, "goal")}.`,
  dragged: (/** @type {string} */ name, /** @type {number} */ more) => `${name} and ${num(more)} more`,
  cut: (/** @type {number} */ count) => `${counted(count, "goal")} cut. Paste where they are to go.`,
  undone: (/** @type {string} */ say) => `Undid: ${readable(say)}.`,
  redone: (/** @type {string} */ say) => `Redid: ${readable(say)}.`,
  nothingUndo: "Nothing to undo.",
  nothingRedo: "Nothing to redo.",
  others: (/** @type {number} */ count) => `${counted(count, "change")} by others`,
  showTrash: "Show in trash",
  change: "the change",
};

/** Why a command is not offered. */
export const why = {
  time: "You are looking at the past, which is read only. Close the time machine first.",
  auditor: "Auditors read everything and change nothing.",
  compare: "A comparison is read only. Close it first.",
  noGoal: "No goal is chosen.",
  noUp: "It is the first here.",
  noDown: "It is the last here.",
  noIn: "There is no goal above it to go under.",
  noOut: "It is at the top level.",
  underItself: "A goal cannot go under itself.",
};

export const strips = {
  offline: (/** @type {number} */ count) => `Offline: ${counted(count, "change")} ${count === 1 ? "waits" : "wait"}. Nothing is lost.`,
  behind: (/** @type {number} */ count) => `Catching up: ${counted(count, "event")} behind.`,
  ended: () => "Signed out: sign in again, nothing is lost.",
  version: () => "The service has a new version.",
  reload: "Reload",
};

/** What a problem means where it was met. @param {{kind: string, status: number, message: string}} problem */
export function trouble(problem) {
  if (problem.status === 0) return `The service could not be reached. ${problem.message}`;
  const known = /** @type {Record<string, string>} */ ({
    "user-not-found": "There is no such user, or their goals are not yours to see.",
    "goal-not-found": "That goal is not there any more.",
    "under-itself": "A goal cannot go under itself.",
    "parent-deleted": "The goal it was under is deleted.",
    forbidden: "You may not do that.",
  })[problem.kind];
  return known ?? sentence(problem.message);
}

/** @param {string} text */
export const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?…]$/.test(text) ? "" : "."}`;

export const gone = "It is not there any more.";

export const refused = (/** @type {string} */ label, /** @type {string} */ because) => `${label}: ${because}`;
