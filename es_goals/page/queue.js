/**
 * Commands on their way: sent in order, one at a time, each with a key, so that repeating one until it is answered does
 * no harm. Kept in this browser, so that neither a reload nor a dead network loses any.
 *
 * @typedef {import("./fold.js").Fact} Fact
 * @typedef {{key: string, user: string, method: string, path: string, body: any, label: string, kind: string,
 *   goal?: string|null, seen?: number|null, facts: Fact[], waits?: string[], quiet?: string[]}} Command
 * `seen`: the revision that the person saw, held to by the service, unless a later one is ours; `waits`: goals that are
 * busy until it is answered; `quiet`: kinds of problem that the caller tells
 */
import { Problem, newId, request } from "./api.js";
import { addPatch, drop, settle } from "./model.js";
import { change, keep, kept, keptNames, state } from "./state.js";

export const MOST = 200;
const AGAIN = [0, 429, 502, 503, 504];

/** @typedef {{command: Command, patch: any, resolve: (answer: any) => void, reject: (problem: Problem) => void}} Entry */

/** @type {Entry[]} */
let entries = [];
/** Revisions that commands of ours made, by goal. @type {Map<string, number>} */
const revisions = new Map();
const tab = newId();
let sending = false;
let wake = () => {};
/** @type {(command: Command, problem: Problem) => void} */
let onRefused = () => {};
/** @type {() => void} */
let onEnded = () => {};
/** @type {(() => void)[]} */
let idlers = [];

/** @param {{refused: typeof onRefused, ended: typeof onEnded}} ears */
export function listen(ears) {
  onRefused = ears.refused;
  onEnded = ears.ended;
  addEventListener("online", () => wake());
}

/** When all are answered. @returns {Promise<void>} */
export const idle = () => (entries.length ? new Promise((resolve) => idlers.push(resolve)) : Promise.resolve());

const place = () => `queue.${state.me?.id ?? "open"}.${tab}`;

function store() {
  keep(place(), entries.length ? entries.map(({ command }) => command) : null);
  change({ waiting: entries.length });
}

/**
 * Send a command, after those before it.
 * @param {Omit<Command, "key"|"user"> & {key?: string, user?: string}} given
 * @returns {Promise<{data: any, position: number, command: string|null, headers: Headers}>}
 */
export function submit(given) {
  if (entries.length >= MOST) return Promise.reject(new Problem(0, { detail: "Too many changes wait for the service." }));
  const command = { key: newId(), user: /** @type {any} */ (state.user).id, ...given };
  const answered = new Promise((resolve, reject) => enter(command, resolve, reject));
  answered.catch(() => {});
  store();
  pump();
  return /** @type {any} */ (answered);
}

/** @param {Command} command @param {(answer: any) => void} resolve @param {(problem: any) => void} reject */
function enter(command, resolve, reject) {
  const shown = command.user === state.user?.id && command.facts.length;
  entries.push({ command, patch: shown ? addPatch(command.facts) : null, resolve, reject });
  command.waits?.forEach((id) => state.busy.add(id));
  change();
}

/** Another user's goals are shown: put what waits for them on top. */
export function showWaiting() {
  for (const entry of entries) {
    const shown = entry.command.user === state.user?.id && entry.command.facts.length;
    entry.patch = shown ? addPatch(entry.command.facts) : null;
  }
}

/** Take over what closed tabs of the same person left, and go on. */
export async function adopt() {
  navigator.locks?.request(`es-goals.tab.${tab}`, () => new Promise(() => {}));
  for (const name of keptNames(`queue.${state.me?.id ?? "open"}.`)) {
    const owner = name.split(".")[2];
    if (owner === tab || !navigator.locks) continue;
    await navigator.locks.request(`es-goals.tab.${owner}`, { ifAvailable: true }, (lock) => {
      if (!lock) return;
      for (const command of kept(name) ?? []) enter(command, () => {}, () => {});
      keep(name, null);
      store();
    });
  }
  pump();
}

/** Drop all that waits, such as another person's. */
export function abandon() {
  for (const { patch, command } of entries) {
    if (patch) drop(patch);
    command.waits?.forEach((id) => state.busy.delete(id));
  }
  entries = [];
  store();
}

/** Go on, after signing in. */
export const resume = () => {
  pump();
  wake();
};

async function pump() {
  if (sending) return;
  sending = true;
  while (entries.length) {
    const entry = entries[0];
    try {
      done(entry, await sent(entry.command));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.status === 401) {
        onEnded();
        break;
      }
      refused(entry, error);
    }
  }
  sending = false;
  if (state.strip?.kind === "offline") change({ strip: null });
  if (!entries.length) idlers.splice(0).forEach((go) => go());
}

/** @param {Entry} entry */
function leave(entry) {
  entries = entries.filter((one) => one !== entry);
  entry.command.waits?.forEach((id) => state.busy.delete(id));
  store();
}

/** @param {Entry} entry @param {{data: any, headers: Headers}} answer */
function done(entry, { data, headers }) {
  const position = Number(headers.get("Position") ?? data?.position ?? 0);
  for (const goal of data?.results ?? [data]) if (goal?.revision) revisions.set(goal.id, goal.revision);
  leave(entry);
  if (entry.patch) settle(entry.patch, position);
  else change();
  entry.resolve({ data, position, command: headers.get("Command") ?? data?.command ?? null, headers });
}

/** @param {Entry} entry @param {Problem} problem */
function refused(entry, problem) {
  leave(entry);
  if (entry.patch) drop(entry.patch);
  else change();
  if (!entry.command.quiet?.includes(problem.kind)) onRefused(entry.command, problem);
  entry.reject(problem);
}

/** Until it is answered. @param {Command} command */
async function sent(command) {
  for (let tries = 0; ; tries++) {
    try {
      const answer = await request(command.method, command.path, { body: command.body, headers: headersOf(command) });
      if (state.strip?.kind === "offline") change({ strip: null });
      return answer;
    } catch (error) {
      if (!(error instanceof Problem) || !AGAIN.includes(error.status)) throw error;
      change({ strip: { kind: "offline", count: entries.length } });
      await until(error.retryAfter || Math.min(4, 2 ** tries / 2));
    }
  }
}

/** @param {Command} command */
function headersOf(command) {
  const seen = command.seen && Math.max(command.seen, revisions.get(command.goal ?? "") ?? 0);
  return { "Idempotency-Key": command.key, ...(seen ? { "If-Match": `"r${seen}"` } : {}) };
}

/** @param {number} seconds @returns {Promise<void>} */
const until = (seconds) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    wake = () => {
      clearTimeout(timer);
      resolve();
    };
  });
