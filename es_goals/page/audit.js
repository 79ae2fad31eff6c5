/** The log as auditors read it: filters in the URL, grouped by command, followed live, taken away as lines, replayed. */
import { at, get, request } from "./api.js";
import { blank, theirs } from "./parts.js";
import { closeReplay, openReplay, replay } from "./replay.js";
import { hashOf } from "./routes.js";
import { attempt, because, button, everybody, notYet, save, screen } from "./screens.js";
import { change, state } from "./state.js";
import { html, live, nothing, repeat } from "./vendor/lit.js";
import { audit as say } from "./phrases.js";
import * as texts from "./texts.js";
import * as words from "./words.js";

/** @typedef {{position: number, user: string, version: number, type: string, goal_id: string|null, at: string, actor: string|null, command: string, reason: string|null, data: any}} Fact */

const PAGE = 200;
const MOST = 5000;
const FIELDS = /** @type {const} */ (["user", "type", "actor", "goal", "from", "until"]);
const TYPES = ["GoalCreated", "GoalRenamed", "GoalDescribed", "GoalScheduled", "GoalMoved", "GoalCompleted", "GoalReopened", "GoalDeleted", "GoalRestored",
  "UserRegistered", "UserRenamed", "UserDisabled", "UserEnabled", "PasswordChanged", "TokenIssued", "TokenRevoked"];

/** @type {Record<string, string>} */
let asked = {};
/** Latest first. @type {Fact[]|null} */
let facts = null;
/** @type {number|null} */
let next = null;
let failure = "";
/** @type {Map<string, string>|null} */
let names = null;
/** @type {EventSource|null} */
let source = null;
let paused = false;
/** @type {Fact[]} */
let held = [];
let asking = 0;
/** What goals were called last, as far as it was seen. @type {Map<string, string>} */
const called = new Map();

/** What the service filters; it has no filter by actor or from a time on. @param {Record<string, any>} more */
const query = (more) => ({ user: asked.user, type: asked.type, goal: asked.goal, until: asked.until && moment(asked.until), ...more });
/** @param {string} text a position, or a local time */
const moment = (text) => (/^\d+$/.test(text) ? text : new Date(text).toISOString());

/** @param {Fact} fact */
const passes = (fact) => (!asked.actor || idOf(asked.actor) === fact.actor) && (!asked.from || !before(fact));
/** @param {Fact} fact whether it is older than what is asked for */
const before = (fact) => Boolean(asked.from) && (/^\d+$/.test(asked.from) ? fact.position < Number(asked.from) : fact.at < moment(asked.from));
/** @param {string} name */
const idOf = (name) => [...(names ?? [])].find(([, known]) => known === name)?.[0] ?? name;
/** @param {string|null} id */
const nameOf = (id) => (id ? (names?.get(id) ?? id.slice(0, 8)) : say.nobody);

/** More of them, older than `next`: until a page is full or some pages were looked through. */
async function more() {
  const mine = asking;
  const wanted = (facts?.length ?? 0) + PAGE;
  for (let pages = 0; next !== null && pages < 10 && (facts?.length ?? 0) < wanted; pages++) {
    const { events } = await get("/v2/events", query({ order: "desc", limit: PAGE, before: next }));
    if (mine !== asking) return;
    for (const fact of events) if (fact.data.name && !called.has(fact.goal_id)) called.set(fact.goal_id, fact.data.name);
    facts = [...(facts ?? []), ...events.filter(passes)];
    const last = events.at(-1);
    next = events.length < PAGE || before(last) ? null : last.position;
  }
  change();
}

/** @param {import("./state.js").Route} route */
async function enter(route) {
  const mine = ++asking;
  asked = Object.fromEntries([...new URLSearchParams(route.query)].filter(([, value]) => value));
  [facts, failure, held, paused] = [facts && [], "", [], false];
  change();
  try {
    if (!names) {
      const users = await everybody().catch(() => []);
      names = new Map(users.map((user) => [user.id, user.name]));
      if (users.length) change({ users });
    }
    const { position } = await get("/readyz");
    if (mine !== asking) return;
    next = position + 1;
    await more();
    if (mine === asking && asked.follow) follow(position);
  } catch (error) {
    facts ??= [];
    failure = because(error);
  }
  if (asked.replay && !failure) openReplay(asked.replay);
  else closeReplay();
  change();
}

/** @param {number} after */
function follow(after) {
  source?.close();
  source = new EventSource(at("/v2/events", { ...query({ until: null }), after }));
  source.onmessage = ({ data }) => {
    const fact = JSON.parse(data);
    if (fact.data.name) called.set(fact.goal_id, fact.data.name);
    if (!passes(fact)) return;
    if (paused) held = [fact, ...held].slice(0, MOST);
    else facts = [fact, ...(facts ?? [])].slice(0, MOST);
    change();
  };
}

function pause() {
  paused = !paused;
  if (!paused) [facts, held] = [[...held, ...(facts ?? [])].slice(0, MOST), []];
  change();
}

/** Another filter is another URL. @param {Record<string, string>} some */
function ask(some) {
  const wanted = Object.entries({ ...asked, ...some }).filter(([, value]) => value);
  location.hash = `#/audit${wanted.length ? `?${new URLSearchParams(wanted)}` : ""}`;
}

/** All that passes the filters, as the service writes it. */
const download = () =>
  attempt(async () => {
    const { data } = await request("GET", at("/v2/events", query({})), { headers: { Accept: "application/x-ndjson" } });
    const chosen = asked.actor || asked.from ? data.split("\n").filter((/** @type {string} */ line) => line && passes(JSON.parse(line))).join("\n") : data;
    save("events.ndjson", chosen, "application/x-ndjson");
  });

/** @param {Fact[]} all @returns {Fact[][]} neighbours of one command */
function grouped(all) {
  /** @type {Fact[][]} */
  const groups = [];
  for (const fact of all) {
    const group = groups.at(-1);
    if (group && asked.group !== "no" && group[0].command === fact.command) group.push(fact);
    else groups.push([fact]);
  }
  return groups;
}

/** @param {Fact} fact */
function what({ data, goal_id }) {
  const { goal_id: _, undoes, ...told } = data;
  if (told.name === called.get(goal_id ?? "")) delete told.name;
  return Object.entries(told).filter(([, value]) => value !== null).map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`).join(" · ");
}

/** @param {string} name @param {string} text @param {string} value */
const only = (name, text, value) => html`<button type="button" class="link" title=${say.only} @click=${() => ask({ [name]: value })}><bdi>${text}</bdi></button>`;

/** @param {Fact} fact */
const line = (fact) => html`<details class="event"><summary><span class="num">${words.num(fact.position)}</span><span class="kind">${texts.history.kinds[fact.type] ?? fact.type}</span><span class="what-data" dir="auto">${fact.goal_id ? html`<bdi class="called">${called.get(fact.goal_id) ?? fact.goal_id.slice(0, 13)}</bdi> ` : nothing}${what(fact)}</span></summary>
  <p>${only("user", nameOf(fact.user), fact.user)} ${fact.goal_id ? only("goal", `${say.goal} ${fact.goal_id}`, fact.goal_id) : nothing} ${only("type", fact.type, fact.type)} ${fact.actor ? only("actor", `${say.by} ${nameOf(fact.actor)}`, fact.actor) : nothing}</p>
  <pre dir="auto">${JSON.stringify(fact, null, 1)}</pre></details>`;

/** @param {Fact[]} group */
const command = (group) => html`<li class="command" data-command=${group[0].command}><p class="head-of"><time datetime=${group[0].at} title=${group[0].at}>${words.dayTime(group[0].at, state.now)}:${group[0].at.slice(17, 19)}</time>
  <span class="strong">${theirs(nameOf(group[0].actor ?? group[0].user))}</span>${group[0].actor !== group[0].user && group[0].actor ? html`<span class="quiet">→ <a href=${hashOf(nameOf(group[0].user))}>${theirs(nameOf(group[0].user))}</a></span>` : nothing}
  ${group.length > 1 ? html`<span class="chip">${words.counted(group.length, "event")}</span>` : nothing}
  ${group[0].data.undoes ? html`<span class="chip moved">${say.undo}</span>` : nothing}
  ${group[0].reason ? html`<span class="reason" dir="auto">“${group[0].reason}”</span>` : nothing}<span class="grow"></span><code class="quiet" title=${group[0].command}>${group[0].command.slice(0, 13)}</code></p>
  ${group.slice(0, 20).map(line)}${group.length > 20 ? html`<details class="rest"><summary>${say.andMore(group.length - 20)}</summary>${group.slice(20, 500).map(line)}</details>` : nothing}</li>`;

/** @param {string} name @param {any} [more] */
const field = (name, { list, type = "text", hint } = /** @type {any} */ ({})) => html`<label><span>${say.fields[name]}</span><input name=${name} type=${type} list=${list ?? nothing} placeholder=${hint ?? nothing} dir="auto" autocomplete="off" size="12"
  .value=${live(asked[name] ? (names?.get(asked[name]) ?? asked[name]) : "")} @change=${(/** @type {any} */ event) => ask({ [name]: event.target.value })}></label>`;

const filters = () => html`<div class="filters" role="search">
  ${field("user", { list: "people" })}
  <label><span>${say.fields.type}</span><select name="type" @change=${(/** @type {any} */ event) => ask({ type: event.target.value })}><option value="">${texts.history.allKinds}</option>
    ${TYPES.map((one) => html`<option value=${one} ?selected=${one === asked.type}>${texts.history.kinds[one] ?? one}</option>`)}</select></label>
  ${field("actor", { list: "people" })} ${field("goal", { hint: "id" })} ${field("from", { type: "datetime-local" })} ${field("until", { type: "datetime-local" })}
  <datalist id="people">${[...(names?.values() ?? [])].map((name) => html`<option value=${name}></option>`)}</datalist>
  ${FIELDS.some((name) => asked[name]) ? button("x", words.tree.clear, () => ask(Object.fromEntries(FIELDS.map((name) => [name, ""]))), "plain") : nothing}</div>`;

const tools = () => html`<div class="audit-tools">
  <button type="button" aria-pressed=${String(Boolean(asked.follow))} @click=${() => ask({ follow: asked.follow ? "" : "1" })}><span class="live" data-live=${asked.follow && !paused ? "live" : ""}><i aria-hidden="true"></i></span> ${say.follow}</button>
  ${asked.follow ? button(paused ? "play" : "pause", paused ? say.resume(held.length) : say.pause, pause) : nothing}
  <label><input type="checkbox" .checked=${live(asked.group !== "no")} @change=${() => ask({ group: asked.group === "no" ? "" : "no" })}> ${say.group}</label><span class="grow"></span>
  ${button("play", say.replay, () => ask({ replay: asked.user }), "", asked.user ? null : say.replayWhy)} ${button("download", say.download, download)}</div>`;

export const view = {
  enter,
  leave() {
    source?.close();
    source = null;
    closeReplay();
  },
  aside: () => replay(() => ask({ replay: "" })),
  body() {
    if (!facts) return notYet(words.tools.audit, failure);
    const groups = grouped(facts);
    return screen(words.tools.audit, html`${filters()} ${tools()}
      ${failure ? blank(say.notShown, failure) : !facts.length && next === null ? blank(say.none) : nothing}
      <ul class="log">${repeat(groups, (group) => group[0].position, command)}</ul>
      ${next !== null && !failure ? html`<p class="buttons">${button("chevron-down", texts.detail.more, () => attempt(more))}</p>` : nothing}`, { wide: true, text: say.text });
  },
};
