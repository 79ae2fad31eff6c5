/** The time machine: all events of a user as a tape, folded up to a moment, with a slider over the whole time. */
import { batch, toast } from "./actions.js";
import { lines, userPath } from "./api.js";
import { choose } from "./dialogs.js";
import { density } from "./charts.js";
import { isGoals, tape } from "./fold.js";
import { provide } from "./keys.js";
import { goalOf, model } from "./model.js";
import { blank, iconButton } from "./parts.js";
import { hashOf, pointOf } from "./routes.js";
import { change, flush, state, treeChanged } from "./state.js";
import { livingUnder } from "./tree.js";
import { giveBack, source, tree } from "./treeview.js";
import { html, live, nothing } from "./vendor/lit.js";
import * as texts from "./texts.js";
import * as words from "./words.js";

/** @typedef {{count: number, at: number, facts: import("./fold.js").Fact[]}} Step  a command: how many events up to its end, when */

const SPEEDS = [1, 2, 5, 10, 25, 50, 100];
const GRAIN = 1000; // of the slider

/** @type {ReturnType<typeof tape>|null} */
let past = null;
/** @type {Step[]} */
let steps = [];
let at = 0; // how many steps are done
let from = 0;
let to = 0;
let failure = "";
let speed = 5;
let playing = 0;
/** @type {import("./fold.js").Tree|null} */
let seen = null;

/** Events of one command are one step. @param {any[]} facts @returns {Step[]} */
export function stepsOf(facts) {
  /** @type {Step[]} */
  const found = [];
  facts.forEach((fact, i) => {
    if (i && facts[i - 1].command === fact.command) {
      const last = found[found.length - 1];
      last.count = i + 1;
      last.facts.push(fact);
    } else found.push({ count: i + 1, at: Date.parse(fact.at), facts: [fact] });
  });
  return found;
}

/** @param {import("./state.js").Route} route */
async function enter(route) {
  source.tree = () => seen ?? model.tree;
  source.readonly = () => words.why.time;
  source.grid = { classes: ({ goal }) => (at && steps[at - 1]?.facts.some((fact) => fact.goal_id === goal.id) ? "changed" : "") };
  const user = /** @type {any} */ (state.user).id;
  failure = "";
  try {
    if (!past || past.facts[0]?.user !== user || past.facts.at(-1)?.position !== model.position) {
      const facts = (await lines(`${userPath(user)}/events`)).filter(isGoals);
      past = tape(facts);
      steps = stepsOf(facts);
    }
    // A fold that moves back and forth is the same object: what is remembered of it goes by the stamp.
    seen = past.tree;
    zoomAll();
    go(await placed(route.at ?? "now"), { keepUrl: true });
  } catch (error) {
    failure = words.trouble(/** @type {any} */ (error));
  }
  change({ detail: null, edit: null });
  flush();
  /** @type {HTMLElement|null} */ (document.querySelector(".slider"))?.focus();
}

/** How many steps are done at a position or time. @param {string} text */
async function placed(text) {
  const point = pointOf(text, state.now);
  if (point === null) return steps.length;
  const known = /^\d+$/.test(point) ? (/** @type {Step} */ step) => /** @type {number} */ (step.facts[0].position) <= Number(point) : (/** @type {Step} */ step) => step.at <= Date.parse(point);
  const first = steps.findIndex((step) => !known(step));
  return first < 0 ? steps.length : first;
}

function leave() {
  pause();
  giveBack();
  seen = null;
  treeChanged();
}

/** Be behind so many steps. @param {number} count @param {{keepUrl?: boolean}} [how] */
function go(count, { keepUrl = false } = {}) {
  at = Math.max(0, Math.min(steps.length, count));
  past?.seek(at ? steps[at - 1].count : 0);
  const when = at ? steps[at - 1].at : from;
  if (when < from || when > to) [from, to] = [when - (to - from) / 2, when + (to - from) / 2];
  const name = /** @type {any} */ (state.user).name;
  if (!keepUrl) history.replaceState(null, "", hashOf(name, `at/${past?.tree.position ?? 0}`));
  treeChanged();
}

/** @param {number} time */
function goTime(time) {
  const first = steps.findIndex((step) => step.at > time);
  go(first < 0 ? steps.length : first);
}

function zoomAll() {
  [from, to] = [steps[0]?.at ?? Date.now() - 1000, Date.now()];
}

/** @param {number} factor */
function zoom(factor) {
  const middle = at ? steps[at - 1].at : from;
  const all = Date.now() - (steps[0]?.at ?? 0);
  const span = Math.min(all, Math.max(60_000, (to - from) * factor));
  if (span >= all) zoomAll();
  else [from, to] = [middle - span / 2, middle + span / 2];
  change();
}

function play() {
  if (playing) return pause();
  if (at >= steps.length) go(0);
  playing = window.setInterval(() => (at < steps.length ? go(at + 1) : pause()), 1000 / speed);
  change();
}

function pause() {
  clearInterval(playing);
  playing = 0;
  change();
}

const close = () => void (location.hash = hashOf(/** @type {any} */ (state.user).name));

async function copy() {
  await navigator.clipboard.writeText(location.href);
  change({ toast: { text: texts.timeMachine.copied } });
}

// ––– as it was then

/** What makes a goal as it was at the moment that is shown. @param {string} id */
function commandsFor(id) {
  const then = past?.tree.goals.get(id);
  const now = model.tree.goals.get(id);
  if (!then || !now || then.root !== null) return [];
  /** @type {any[]} */
  const commands = [];
  if (now.root !== null) commands.push({ type: "RestoreGoal", id: now.root === id ? id : now.root });
  const fields = /** @type {const} */ (["name", "description", "start", "due"]).filter((field) => then[field] !== now[field]);
  if (fields.length) commands.push({ type: "ChangeGoal", id, ...Object.fromEntries(fields.map((field) => [field, then[field]])) });
  if (then.end !== null && then.end !== now.end) commands.push(...(now.end === null ? [] : [{ type: "ReopenGoal", id }]), { type: "CompleteGoal", id, end: then.end });
  if (then.end === null && now.end !== null) commands.push({ type: "ReopenGoal", id });
  const parent = then.parent_id === null || goalOf(then.parent_id) ? then.parent_id : undefined;
  if (parent !== undefined && (now.parent_id !== parent || now.rank !== then.rank)) {
    const old = livingUnder(/** @type {any} */ (past).tree, parent);
    const after = old.slice(0, old.indexOf(id)).reverse().find((one) => goalOf(one)?.parent_id === parent);
    const first = livingUnder(model.tree, parent).find((one) => one !== id);
    commands.push({ type: "MoveGoal", id, parent_id: parent, ...(after ? { after } : first ? { before: first } : {}) });
  }
  return commands;
}

/** Show what it would change, then do it. @param {string} id */
async function asThen(id) {
  const commands = commandsFor(id);
  const name = past?.tree.goals.get(id)?.name ?? "";
  if (!commands.length) return change({ toast: { text: texts.timeMachine.same(name) } });
  const text = html`<ul>${commands.map((command) => html`<li>${texts.timeMachine.would(command)}</li>`)}</ul>`;
  const answer = await choose({ title: texts.timeMachine.asThen(name), text, choices: [{ key: "do", text: texts.timeMachine.doIt }] });
  if (!answer) return;
  const { command } = await batch(commands, { label: texts.label.change(name), kind: "then", facts: [], waits: [id] });
  close();
  toast({ text: texts.timeMachine.done(name), command });
}

// ––– what is drawn

function body() {
  if (failure) return blank(failure);
  if (!past) return nothing;
  const step = at ? steps[at - 1] : null;
  const focused = state.focus?.id && past.tree.goals.get(state.focus.id);
  return html`<section class="time" aria-label=${words.tools.time}>
    <div class="time-line"><strong>${step ? words.exact(new Date(step.at).toISOString()) : texts.timeMachine.beginning}</strong>
      <span class="quiet">${texts.timeMachine.position(past.tree.position, model.position)}</span><span class="badge">${texts.timeMachine.readonly}</span><span class="grow"></span>
      <label class="sr" for="then">${texts.timeMachine.goto}</label>
      <input id="then" type="datetime-local" step="1" .value=${live(step ? local(step.at) : "")} @change=${(/** @type {any} */ event) => event.target.value && goTime(new Date(event.target.value).getTime() + 999)}>
      <button type="button" @click=${copy}>${texts.timeMachine.copy}</button> ${iconButton("x", words.tools.close, close)}</div>
    <div class="time-line controls">
      ${iconButton("skip-back", texts.timeMachine.first, () => go(0))} ${iconButton("step-back", texts.timeMachine.back, () => go(at - 1))}
      ${iconButton(playing ? "pause" : "play", playing ? texts.timeMachine.pause : texts.timeMachine.play, play)}
      ${iconButton("step-forward", texts.timeMachine.on, () => go(at + 1))} ${iconButton("skip-forward", texts.timeMachine.last, () => go(steps.length))}
      <label><span class="sr">${texts.timeMachine.speed}</span><select @change=${(/** @type {any} */ event) => { speed = Number(event.target.value); if (playing) { pause(); play(); } }}>
        ${SPEEDS.map((one) => html`<option value=${one} ?selected=${one === speed}>${one}×</option>`)}</select></label>
      <div class="track" @wheel=${wheeled}>${density(steps.map((one) => one.at), from, to)}
        <input class="slider" type="range" min="0" max=${GRAIN} .value=${live(String(valueAt()))} aria-label=${words.tools.time} aria-valuetext=${step ? words.exact(new Date(step.at).toISOString()) : texts.timeMachine.beginning}
          @input=${(/** @type {any} */ event) => goTime(from + ((to - from) * Number(event.target.value)) / GRAIN)}></div>
      ${iconButton("plus", texts.timeMachine.closer, () => zoom(0.5))} ${iconButton("minus", texts.timeMachine.farther, () => zoom(2))}</div>
    <p class="step" dir="auto" aria-live="off">${step ? texts.happened(step.facts, past.tree) : ""}
      ${focused && goalOf(focused.id) !== focused && !state.me?.role?.startsWith("auditor") ? html`<button type="button" class="link" @click=${() => asThen(focused.id)}>${texts.timeMachine.asThen(focused.name)}</button>` : nothing}</p>
  </section>${tree()}`;
}

const valueAt = () => (at ? Math.round((GRAIN * (steps[at - 1].at - from)) / Math.max(1, to - from)) : 0);
/** @param {number} time */
const local = (time) => new Date(time - new Date(time).getTimezoneOffset() * 60_000).toISOString().slice(0, 19);

/** @param {WheelEvent} event */
function wheeled(event) {
  event.preventDefault();
  zoom(event.deltaY < 0 ? 0.8 : 1.25);
}

export const view = { enter, leave, body, tint: "past" };

provide({
  timeBack: { run: () => go(at - 1) }, timeOn: { run: () => go(at + 1) }, timeFirst: { run: () => go(0) }, timeLast: { run: () => go(steps.length) },
  timePlay: { run: play }, timeZoomIn: { run: () => zoom(0.5) }, timeZoomOut: { run: () => zoom(2) }, timeZoomAll: { run: () => { zoomAll(); change(); } },
});

