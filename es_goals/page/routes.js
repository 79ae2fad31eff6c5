/** URLs are fragments, so that back, forward, reload and sharing work. Pure. */

const OWN = ["account", "admin", "audit"];
const VIEWS = ["goal", "under", "at", "compare", "history", "trash", "draft", "activity"];

/** @param {string} hash @returns {import("./state.js").Route} */
export function parseRoute(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [first, view = "", ...rest] = path.split("/").map(decoded);
  if (!first) return { view: "goals", user: null, query };
  if (OWN.includes(first) && !view) return { view: first, user: null, query };
  if (!VIEWS.includes(view)) return { view: "goals", user: first, query };
  const id = rest.join("/");
  if (view === "compare") {
    const [from = "-7d", to = "now"] = id.split("..");
    return { view, user: first, from: from || "-7d", to: to || "now", query };
  }
  return { view, user: first, id: id || undefined, at: id || undefined, query };
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** @param {string} user @param {string} [rest] */
export const hashOf = (user, rest = "") => `#/${encodeURIComponent(user)}${rest ? `/${rest}` : ""}`;

/**
 * A point in time as URLs have it: a position, `now`, a day, an instant, or so long ago: `-7d`, `-1m`. As the API takes it.
 * @param {string} text @param {string} now @returns {string|null} null: now
 */
export function pointOf(text, now) {
  if (text === "now" || text === "") return null;
  const ago = /^-(\d+)([dwm])$/.exec(text);
  if (ago) {
    const date = new Date(now);
    if (ago[2] === "m") date.setMonth(date.getMonth() - Number(ago[1]));
    else date.setDate(date.getDate() - Number(ago[1]) * (ago[2] === "w" ? 7 : 1));
    return date.toISOString();
  }
  // A day is meant as it ends where the person is.
  if (/^\d{4}-\d\d-\d\d$/.test(text)) return new Date(`${text}T23:59:59`).toISOString();
  return text;
}
