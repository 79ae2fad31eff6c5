/** For administrators: users, read models and their rebuilding, the log's digest and its verification, health. */
import { get, newId, request, userPath } from "./api.js";
import { choose, fill } from "./dialogs.js";
import { icon, when } from "./parts.js";
import { attempt, because, button, copy, everybody, notYet, screen, section } from "./screens.js";
import { change, state } from "./state.js";
import { hashOf } from "./routes.js";
import { html, nothing, repeat } from "./vendor/lit.js";
import { admin as say, account } from "./phrases.js";
import * as words from "./words.js";

const SOON = 400; // ms until it is looked again while something is under way
const LATER = 5000;

/** @type {{users: any[], models: any[], health: any}|null} */
let seen = null;
/** @type {any} */
let verification = null;
let failure = "";
let timer = 0;
let shown = false;
/** How far each rebuild was, and when. @type {Map<string, {done: number, at: number, rate: number}>} */
const paces = new Map();

async function load() {
  try {
    const [users, { projections }] = await Promise.all([everybody(), get("/v2/projections")]);
    seen = { users, models: projections, health: await health() };
  } catch (error) {
    failure = because(error);
  }
  change();
}

/** Whether it can serve, or why not. */
const health = () => get("/readyz").catch((/** @type {any} */ error) => ({ status: error.message, position: null }));

/** Read models move by themselves. */
async function look() {
  clearTimeout(timer);
  if (!shown || !seen) return;
  try {
    seen.models = (await get("/v2/projections")).projections;
    if (verification?.state === "running") verification = await get(`/v2/verifications/${verification.id}`);
    seen.models.forEach(paced);
    change();
  } catch {
    // The next look tells.
  }
  const busy = verification?.state === "running" || seen.models.some(({ state: how }) => how === "rebuilding");
  clearTimeout(timer);
  if (shown) timer = window.setTimeout(look, busy ? SOON : LATER);
}

/** @param {any} model */
function paced({ name, done, state: how }) {
  const before = paces.get(name);
  const at = performance.now();
  if (how !== "rebuilding") return paces.delete(name);
  const rate = before && done > before.done ? ((done - before.done) * 1000) / (at - before.at) : (before?.rate ?? 0);
  paces.set(name, { done, at, rate });
}

/** @param {string} name @param {"rebuild"|"rollback"} what */
async function act(name, what) {
  await attempt(() => request("POST", `/v2/projections/${name}/${what}`), what === "rollback" ? say.rolledBack(name) : undefined);
  await look();
}

async function verify() {
  const begun = await attempt(() => request("POST", "/v2/verifications", { body: {} }));
  if (begun) verification = begun.data;
  await look();
}

// ––– users

/** @param {any} user @param {any} fields @param {string} go @param {(given: any) => Promise<any>} run @param {string} told */
async function asked(user, fields, go, run, told) {
  const given = await fill({ title: user?.name ?? say.newUser, fields, go });
  if (given && (await attempt(() => run(given), told))) await load();
}

const newUser = () => {
  const fields = [{ name: "name", label: words.sign.name, required: true }, ...(state.meta.accounts ? [{ name: "password", label: words.sign.password, type: "password", auto: "new-password", hint: say.passwordHint }] : [])];
  const headers = { "Idempotency-Key": newId() };
  return asked(null, fields, words.sign.add, ({ name, password }) => request("POST", "/v2/users", { body: { name, ...(password ? { password } : {}) }, headers }), say.userMade);
};

/** @param {any} user */
const setPassword = (user) =>
  asked(user, [{ name: "new", label: account.newPassword, type: "password", required: true, auto: "new-password" }], say.setPassword,
    (body) => request("PUT", `${userPath(user.id)}/password`, { body }), account.passwordSet);

/** @param {any} user */
async function admit(user) {
  const what = user.disabled ? "enable" : "disable";
  if (!user.disabled) {
    const sure = await choose({ title: say.disableTitle(user.name), text: say.disableText, choices: [{ key: "no", text: account.keep }, { key: "yes", text: say.disable, danger: true }] });
    if (sure !== "yes") return;
  }
  await attempt(() => request("POST", `${userPath(user.id)}/${what}`, { body: {} }), say.admitted(user.name, user.disabled));
  await load();
}

/** Auditors read it all, and are offered nothing that they may not do. */
const mayAct = () => state.me?.role !== "auditor";

/** @param {any} user */
const person = (user) => html`<tr class=${user.disabled ? "off" : ""}>
  <th scope="row"><a href=${hashOf(user.name)}><bdi>${user.name}</bdi></a>${user.disabled ? html` <span class="chip deleted">${say.disabled}</span>` : nothing}</th>
  <td>${account.roleNames[user.role] ?? nothing}</td><td>${when(user.created_at, words.day(user.created_at, state.now))}</td>
  ${mayAct() ? html`<td class="acts">${state.meta.accounts ? html`${button("", say.setPassword, () => setPassword(user), "plain")}
    ${button("", user.disabled ? say.enable : say.disable, () => admit(user), "plain", user.id === state.me?.id ? say.notYourself : null)}` : nothing}</td>` : nothing}</tr>`;

const people = (/** @type {any[]} */ users) => html`<div class="table"><table><thead><tr><th scope="col">${words.sign.name}</th><th scope="col">${say.role}</th><th scope="col">${say.made}</th>${mayAct() ? html`<th scope="col"><span class="sr">${words.tree.actions}</span></th>` : nothing}</tr></thead>
  <tbody>${repeat(users, ({ id }) => id, person)}</tbody></table></div>`;

// ––– read models, the log

/** @param {any} model */
function readModel(model) {
  const { name, state: how, done, total } = model;
  const rebuilding = how === "rebuilding";
  const pace = paces.get(name)?.rate;
  const share = rebuilding && total ? Math.floor((100 * done) / total) : 100;
  return html`<li class="model" data-model=${name} data-state=${how}><span class="say"><span class="strong">${name}</span> <span class="chip ${how === "failed" ? "deleted" : how === "live" ? "completed" : "moved"}">${say.states[how] ?? how}</span>
      <small>${rebuilding ? html`${words.num(done)}/${words.num(total)}${pace ? ` · ${say.rate(pace)}` : ""}` : say.facts(model)}</small>
      ${how === "failed" ? html`<small class="late">${say.failed(model.failed_at, model.error)}</small>` : nothing}</span>
    ${rebuilding ? html`<span class="bar wide" role="progressbar" aria-label=${say.rebuilding(name)} aria-valuenow=${share} aria-valuemin="0" aria-valuemax="100"><i .style=${`width:${share}%`}></i></span><span class="count">${share} %</span>` : nothing}
    ${mayAct() ? html`${button("rotate-ccw", say.rebuild, () => act(name, "rebuild"), "", rebuilding ? say.underWay : null)} ${button("undo-2", say.rollBack, () => act(name, "rollback"), "", rebuilding ? say.underWay : null)}` : nothing}</li>`;
}

function log() {
  const one = verification;
  if (!one) return html`<p class="quiet none">${say.notVerified}</p>`;
  const running = one.state === "running";
  const share = one.total ? Math.floor((100 * one.done) / one.total) : 0;
  return html`<div class="verified" data-state=${one.state} aria-live="polite">
    ${running ? html`<p>${say.verifying(one.step)} <span class="bar wide" role="progressbar" aria-label=${say.verify} aria-valuenow=${share} aria-valuemin="0" aria-valuemax="100"><i .style=${`width:${share}%`}></i></span> <span class="count">${share} %</span></p>` : nothing}
    ${one.head ? html`<p class="secret"><code>${one.head}</code> ${button("copy", account.copy, () => copy(one.head), "plain")}</p>` : nothing}
    ${running ? nothing : one.state === "sound" ? html`<p class="sound">${icon("circle-check")} ${say.sound}</p>`
      : html`<p class="problem" role="alert" dir="auto">${icon("triangle-alert")} ${one.finding}</p>`}</div>`;
}

export const view = {
  async enter() {
    [seen, failure, shown] = [null, "", true];
    change();
    await load();
    await look();
  },
  leave() {
    shown = false;
    clearTimeout(timer);
  },
  body() {
    if (!seen) return notYet(words.tools.admin, failure);
    const { users, models, health: how } = seen;
    const ready = how.status === "ready";
    return screen(words.tools.admin, html`
      <p class="health ${ready ? "sound" : "late"}" role="status">${icon(ready ? "circle-check" : "triangle-alert")} ${ready ? say.ready(state.meta.version, how.position) : how.status}</p>
      ${section(say.users, people(users), { text: words.counted(users.length, "user"), tools: mayAct() ? button("plus", say.newUser, newUser) : nothing })}
      ${section(say.models, html`<ul class="list">${repeat(models, ({ name }) => name, readModel)}</ul>`, { text: say.modelsText })}
      ${section(say.log, log(), { text: say.logText, tools: mayAct() ? button("shield", say.verify, verify, "", verification?.state === "running" ? say.underWay : null) : nothing })}`);
  },
};
