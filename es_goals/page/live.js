/**
 * The stream of a user's events, one for all tabs of a browser: the tab that holds the lock reads it and hands each
 * event on. `follow` calls back with events that follow what is known, each once and in order.
 */
import { Problem, get, request, userPath } from "./api.js";

const BEHIND = 2000;

/**
 * @typedef {{known: () => {position: number, version: number}, events: (facts: any[]) => void, reload: () => Promise<void>,
 *   status: (status: string, behind?: number) => void, ended: () => void}} Ears
 * `reload`: load the tree anew; `ended`: nobody is signed in any more
 */

/** Follow a user's events until the returned function is called. @param {string} user @param {Ears} ears @returns {() => void} */
export function follow(user, ears) {
  const over = new AbortController();
  const channel = new BroadcastChannel(`es-goals.${user}`);
  const take = taker(user, ears, over.signal);
  channel.onmessage = ({ data }) => {
    if (data.facts) take(data.facts);
    else if (data.reload) ears.reload().catch(() => {});
    else ears.status(data.status);
  };
  const tell = (/** @type {any} */ message) => channel.postMessage(message);
  const lead = () => streamed(user, ears, over.signal, take, tell);
  if (navigator.locks) {
    // Until the lock is free another tab reads.
    ears.status("live");
    navigator.locks.request(`es-goals.${user}`, { signal: over.signal }, lead).catch(() => {});
  } else lead();
  return () => {
    over.abort();
    channel.close();
  };
}

/** What takes events, one lot after the other, and fetches those that are missing. @param {string} user @param {Ears} ears @param {AbortSignal} signal */
function taker(user, ears, signal) {
  let queue = Promise.resolve();
  return (/** @type {any[]} */ facts) => {
    queue = queue.then(() => (signal.aborted ? undefined : received(user, ears, facts))).catch(() => {});
    return queue;
  };
}

/** @param {string} user @param {Ears} ears @param {any[]} facts */
async function received(user, ears, facts) {
  const fresh = facts.filter(({ position }) => position > ears.known().position);
  if (!fresh.length) return;
  const gap = fresh.find((fact) => fact.goal_id !== null);
  if (!gap || gap.version === ears.known().version + 1) {
    ears.events(fresh);
    return;
  }
  const missing = gap.version - ears.known().version;
  if (missing > BEHIND || missing < 1) {
    ears.status("behind", missing);
    await ears.reload();
  } else await catchUp(user, ears);
}

/** Fetch what is missing, page by page. @param {string} user @param {Ears} ears @param {(message: any) => void} [tell] */
async function catchUp(user, ears, tell = () => {}) {
  for (;;) {
    const { events: facts } = await get(`${userPath(user)}/events`, { after: ears.known().position, limit: 1000 });
    if (facts.length) ears.events(facts);
    if (facts.length) tell({ facts });
    if (facts.length < 1000) return;
  }
}

/**
 * Read the stream for as long as the page lives, whatever happens to it.
 * @param {string} user @param {Ears} ears @param {AbortSignal} signal
 * @param {(facts: any[]) => Promise<void>} take @param {(message: any) => void} tell
 */
async function streamed(user, ears, signal, take, tell) {
  const status = (/** @type {string} */ text) => {
    ears.status(text);
    tell({ status: text });
  };
  for (let failures = 0; !signal.aborted; ) {
    const opened = await once(user, ears, signal, async (facts) => {
      tell({ facts });
      await take(facts);
    }, () => status("live"));
    if (signal.aborted) return;
    failures = opened ? 0 : failures + 1;
    const longest = await diagnosed(user, ears, status, tell);
    if (longest === null) return;
    await pause(Math.min(longest, 2 ** failures / 2) * (0.75 + Math.random() / 2), signal);
  }
}

/** One connection, until it is closed for good; whether it was open. @param {string} user @param {Ears} ears @param {AbortSignal} signal @param {(facts: any[]) => Promise<void>} take @param {() => void} opened @returns {Promise<boolean>} */
function once(user, ears, signal, take, opened) {
  return new Promise((resolve) => {
    const source = new EventSource(`${userPath(user)}/events?after=${ears.known().position}`);
    let open = false;
    /** @type {any[]} */
    let lot = [];
    const close = () => {
      source.close();
      resolve(open);
    };
    signal.addEventListener("abort", close, { once: true });
    source.onopen = () => {
      open = true;
      opened();
    };
    source.onmessage = ({ data }) => {
      // What comes at once is folded and drawn at once.
      if (!lot.length) setTimeout(() => take(lot.splice(0)));
      lot.push(JSON.parse(data));
    };
    // The browser's own retries know nothing of sessions and other logs.
    source.onerror = close;
  });
}

/**
 * Why a stream ended: how many seconds to wait at most, null to give up. Where only streams are refused, it is polled.
 * @param {string} user @param {Ears} ears @param {(text: string) => void} status @param {(message: any) => void} tell
 * @returns {Promise<number|null>}
 */
async function diagnosed(user, ears, status, tell) {
  try {
    await catchUp(user, ears, tell);
    return 5;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    status("offline");
    if (error.status === 422) {
      tell({ reload: true });
      await ears.reload().catch(() => {});
      return 5;
    }
    if (error.status !== 401 && error.status !== 404) return 30;
    const { data } = await request("GET", "/v2/sessions/current").catch(() => ({ data: { user: {} } }));
    if (data.user !== null) return 5;
    ears.ended();
    return null;
  }
}

/** @param {number} seconds @param {AbortSignal} signal @returns {Promise<void>} */
function pause(seconds, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      resolve();
    };
    const timer = setTimeout(done, seconds * 1000);
    addEventListener("online", done, { once: true });
    signal.addEventListener("abort", done, { once: true });
  });
}
