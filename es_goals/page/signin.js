/** Who is here: signing in and out, or choosing a user where the service is open; and what is told when that ends. */
import { Problem, get, request } from "./api.js";
import { clear } from "./model.js";
import { icon } from "./parts.js";
import { hashOf } from "./routes.js";
import { change, forget, keep, kept, state } from "./state.js";
import { html, nothing } from "./vendor/lit.js";
import * as words from "./words.js";

/** Ask who one is; then the page goes on by its route. */
export async function start() {
  const meta = document.querySelector('meta[name="es-goals"]')?.getAttribute("content");
  Object.assign(state.meta, JSON.parse(meta ?? "{}"));
  if (!state.meta.accounts) return change({ phase: "loading" });
  try {
    const { user } = await get("/v2/sessions/current");
    if (user) signedIn(user);
    else change({ phase: "sign-in" });
  } catch (error) {
    change({ phase: "failed", failure: /** @type {Problem} */ (error).message });
  }
}

/** @param {import("./state.js").User} me */
function signedIn(me) {
  const before = kept("me");
  if (before && before !== me.id) {
    forget();
    clear();
    change({ user: null, detail: null });
  }
  keep("me", me.id);
  change({ me, phase: "loading", strip: null });
}

/** The session is over: what is on the screen stays, and what waits. */
export function ended() {
  change({ strip: { kind: "ended" } });
}

let failure = "";
let registering = false;

/** @param {SubmitEvent} event */
async function submitted(event) {
  event.preventDefault();
  const form = /** @type {HTMLFormElement} */ (event.target);
  const { user, password } = /** @type {any} */ (Object.fromEntries(new FormData(form)));
  failure = "";
  try {
    if (registering) await request("POST", "/v2/users", { body: { name: user, password } });
    await request("POST", "/v2/sessions", { body: { user, password, cookie: true } });
    const { user: me } = await get("/v2/sessions/current");
    const same = state.me?.id === me.id;
    const another = state.me && !same;
    if (another) (await import("./queue.js")).abandon();
    if (another) history.replaceState(null, "", "#/");
    if (!same) state.user = null;
    signedIn(me);
    registering = false;
    if (same) return again();
    const back = sessionStorage.getItem("es-goals.back");
    sessionStorage.removeItem("es-goals.back");
    if (back) location.hash = back;
    dispatchEvent(new HashChangeEvent("hashchange"));
  } catch (error) {
    const problem = /** @type {Problem} */ (error);
    failure = problem.status === 429 ? words.sign.later(problem.retryAfter) : problem.status === 401 ? words.sign.wrong : words.trouble(problem);
    change();
    /** @type {HTMLInputElement} */ (form.elements.namedItem("password")).select();
  }
}

/** The same person is back: everything goes on where it was. */
function again() {
  change({ phase: "ready", strip: null });
  void import("./queue.js").then(({ resume }) => resume());
  dispatchEvent(new Event("es-goals-again"));
}

export function signIn() {
  const { oidc, registration } = state.meta;
  return html`<main class="sign" id="goals">
    <form class="card" @submit=${submitted} aria-labelledby="sign-title">
      <h1 id="sign-title">${words.brand}</h1>
      ${state.strip?.kind === "ended" ? html`<p class="quiet">${words.strips.ended()}</p>` : nothing}
      <label><span>${words.sign.name}</span><input name="user" required autofocus autocomplete="username" autocapitalize="none" spellcheck="false" dir="auto" .value=${state.me?.name ?? ""}></label>
      <label><span>${words.sign.password}</span><input name="password" type="password" required minlength=${registering ? 8 : nothing} autocomplete=${registering ? "new-password" : "current-password"}></label>
      <p class="error" role="alert">${failure}</p>
      <button class="primary">${registering ? words.sign.register : words.sign.go}</button>
      ${oidc ? html`<button type="button" @click=${provider}>${icon("log-in")} ${oidc}</button>` : nothing}
      ${registration === "open" ? html`<p class="quiet">${registering ? words.sign.known : words.sign.newHere}
        <button type="button" class="link" @click=${() => { registering = !registering; failure = ""; change(); }}>${registering ? words.sign.go : words.sign.register}</button></p>` : nothing}
    </form></main>`;
}

/** To the provider and back to where one was. */
function provider() {
  if (location.hash) sessionStorage.setItem("es-goals.back", location.hash);
  location.href = "/v2/sessions/oidc?page=1";
}

export async function signOut() {
  await request("DELETE", "/v2/sessions/current").catch(() => {});
  (await import("./queue.js")).abandon();
  forget();
  clear();
  location.hash = "";
  location.reload();
}

// ––– an open service

/** Choose whose goals are shown. */
export async function pickUser() {
  change({ phase: "loading" });
  const { users } = await get("/v2/users", { limit: 200 });
  change({ phase: "pick", users });
}

pickUser.screen = () => html`<main class="sign" id="goals"><div class="card">
  <h1>${words.brand}</h1>
  <p class="badge">${words.openBadge}</p>
  <h2>${state.users?.length ? words.sign.pick : words.sign.nobody}</h2>
  <ul class="users">${(state.users ?? []).map((user) => html`<li><a href=${hashOf(user.name)} @click=${() => change({ phase: "loading" })}>${icon("user")}<bdi>${user.name}</bdi></a></li>`)}</ul>
  <button type="button" class="primary" @click=${newUser}>${icon("plus")} ${words.sign.newUser}</button></div></main>`;

async function newUser() {
  const { fill } = await import("./dialogs.js");
  const given = await fill({ title: words.sign.newUser, fields: [{ name: "name", label: words.sign.name, required: true }], go: words.sign.add });
  if (!given) return;
  try {
    const { data } = await request("POST", "/v2/users", { body: { name: given.name } });
    change({ phase: "loading" });
    location.hash = hashOf(data.name);
  } catch (error) {
    change({ toast: { text: words.trouble(/** @type {Problem} */ (error)), error: true } });
  }
}

/** A command was refused: say so where it can be seen, and light up the row. @param {import("./queue.js").Command} command @param {Problem} problem */
export function refused(command, problem) {
  if (problem.status === 412 && command.kind === "edit") return void import("./conflict.js").then(({ conflict }) => conflict(command));
  const id = command.goal ?? command.facts[0]?.goal_id;
  if (id) {
    state.glow.set(id, "refused");
    setTimeout(() => state.glow.delete(id) && change(), 1500);
  }
  change({ toast: { text: words.refused(command.label, words.trouble(problem)), error: true } });
}


