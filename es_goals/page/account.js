/** One's own account: name, password, where one is signed in, API tokens, all one's goals as a file. */
import { get, request, userPath } from "./api.js";
import { ask, choose, fill } from "./dialogs.js";
import { exportFile } from "./files.js";
import { icon, when } from "./parts.js";
import { attempt, button, copy, notYet, screen, section } from "./screens.js";
import { change, state } from "./state.js";
import { html, nothing, repeat } from "./vendor/lit.js";
import { account as say } from "./phrases.js";
import * as words from "./words.js";

/** @type {{user: any, sessions: any[], tokens: any[]}|null} */
let mine = null;
let failure = "";

async function load() {
  if (!state.me) failure = say.open;
  else {
    try {
      const [user, { sessions }, { tokens }] = await Promise.all([get(userPath(state.me.id)), get("/v2/sessions"), get("/v2/tokens", { limit: 1000 })]);
      mine = { user, sessions, tokens };
    } catch (error) {
      failure = words.trouble(/** @type {any} */ (error));
    }
  }
  change();
}

/** @param {(fields: any, form: HTMLFormElement) => void} run */
const submitted = (run) => (/** @type {SubmitEvent} */ event) => {
  event.preventDefault();
  const form = /** @type {HTMLFormElement} */ (event.target);
  run(Object.fromEntries(new FormData(form)), form);
};

const path = () => userPath(/** @type {any} */ (state.me).id);

/** @param {{name: string, email: string}} fields */
async function rename({ name, email }) {
  const body = { name, email: email || null };
  const done = await attempt(() => request("PATCH", path(), { body }), say.saved);
  if (!done) return;
  const me = { .../** @type {any} */ (state.me), name: done.data.name };
  change({ me, user: state.user?.id === me.id ? { ...state.user, name: me.name } : state.user });
  await load();
}

/** @param {{current: string, new: string}} fields @param {HTMLFormElement} form */
async function setPassword(fields, form) {
  const body = { new: fields.new, ...(fields.current ? { current: fields.current } : {}) };
  if (!(await attempt(() => request("PUT", `${path()}/password`, { body }), say.passwordSet))) return;
  form.reset();
  await load();
}

/** @param {any[]} sessions */
async function end(sessions) {
  await attempt(() => Promise.all(sessions.map(({ id }) => request("DELETE", `/v2/sessions/${id}`))), say.ended(sessions.length));
  await load();
}

async function newToken() {
  const fields = [
    { name: "name", label: say.tokenName, required: true, hint: say.tokenHint },
    { name: "scope", label: say.scope, choices: ["read", "write"], hint: say.scopeHint },
    { name: "ends", label: say.ends, type: "date", hint: say.endsHint },
  ];
  const given = await fill({ title: say.newToken, fields, go: say.make });
  if (!given) return;
  const expires = given.ends ? { expires_at: new Date(`${given.ends}T23:59:59`).toISOString() } : {};
  const made = await attempt(() => request("POST", "/v2/tokens", { body: { name: given.name, scope: given.scope, ...expires } }));
  if (!made) return;
  await load();
  const { token, name } = made.data;
  await ask((done) => html`<p>${say.once}</p><p class="secret"><code>${token}</code></p>
    <div class="buttons"><button type="button" class="primary" autofocus @click=${() => copy(token)}>${icon("copy")} ${say.copy}</button>
      <button type="button" @click=${() => done(null)}>${say.kept}</button></div>`, { title: name });
}

/** @param {any} token */
async function revoke(token) {
  const sure = await choose({ title: say.revokeTitle(token.name), text: say.revokeText, choices: [{ key: "no", text: say.keep }, { key: "yes", text: say.revoke, danger: true }] });
  if (sure !== "yes") return;
  await attempt(() => request("DELETE", `/v2/tokens/${token.id}`), say.revoked(token.name));
  await load();
}

/** @param {string|null} at */
const used = (at) => (at ? html`${say.used} ${when(at)}` : say.unused);

/** @param {any} one */
const session = (one) => html`<li><span class="say"><span class="strong">${one.address || say.somewhere}</span> ${one.current ? html`<span class="chip here">${say.here}</span>` : nothing}
  <small>${say.since} ${when(one.created_at)} · ${used(one.last_used_at)} · ${say.until} ${when(one.expires_at)}</small></span>
  ${one.current ? nothing : button("log-out", say.end, () => end([one]))}</li>`;

/** @param {any} one */
const token = (one) => html`<li><span class="say"><bdi class="strong">${one.name}</bdi> <span class="chip">${say.scopes[one.scope]}</span>
  <small>${say.made} ${when(one.created_at)} · ${used(one.last_used_at)} · ${say.until} ${when(one.expires_at)}</small></span>
  ${button("trash-2", say.revoke, () => revoke(one), "danger")}</li>`;

/** @param {any} user */
const profile = (user) => html`<form class="line-form" @submit=${submitted(rename)}>
  <label><span>${words.sign.name}</span><input name="name" required maxlength="64" autocomplete="username" dir="auto" .value=${user.name}></label>
  <label><span>${say.email}</span><input name="email" type="email" autocomplete="email" dir="auto" .value=${user.email ?? ""}></label>
  <button>${say.save}</button></form>`;

const password = () => html`<form class="line-form" @submit=${submitted(setPassword)}>
  <input class="sr" tabindex="-1" aria-hidden="true" autocomplete="username" .value=${state.me?.name ?? ""} readonly>
  <label><span>${say.current}</span><input name="current" type="password" autocomplete="current-password"></label>
  <label><span>${say.newPassword}</span><input name="new" type="password" required minlength="8" autocomplete="new-password"></label>
  <button>${say.change}</button></form>`;

export const view = {
  async enter() {
    [mine, failure] = [null, ""];
    await load();
  },
  body() {
    if (!mine || failure) return notYet(words.tools.account, failure);
    const others = mine.sessions.filter((one) => !one.current);
    return screen(words.tools.account, html`
      ${section(say.you, profile(mine.user), { text: say.roles[state.me?.role ?? "user"] })}
      ${section(words.sign.password, password(), { text: say.passwordText })}
      ${section(say.sessions, html`<ul class="list">${repeat(mine.sessions, ({ id }) => id, session)}</ul>`,
        { text: say.sessionsText, tools: others.length > 1 ? button("log-out", say.endOthers, () => end(others)) : nothing })}
      ${section(say.tokens, html`${mine.tokens.length ? nothing : html`<p class="quiet none">${say.noTokens}</p>`}<ul class="list">${repeat(mine.tokens, ({ id }) => id, token)}</ul>`,
        { text: say.tokensText, tools: button("plus", say.newToken, newToken) })}
      ${section(say.data, nothing, { text: say.dataText, tools: button("download", words.tools.exportFile, () => exportFile(/** @type {any} */ (state.me))) })}`);
  },
};
