/** A user's goals as they came to be, event by event, beside the log. Read only. */
import { lines, userPath } from "./api.js";
import { isGoals, tape } from "./fold.js";
import { blank, iconButton, theirs } from "./parts.js";
import { treegrid } from "./rows.js";
import { happened, timeMachine } from "./texts.js";
import { change, state } from "./state.js";
import { inOrder, visible } from "./tree.js";
import { html, live, nothing } from "./vendor/lit.js";
import { audit as say } from "./phrases.js";
import * as words from "./words.js";

const EVERY = 250; // ms
const NONE = new Set();

/** @type {{user: string, tape: ReturnType<typeof tape>|null, failure: string}|null} */
let open = null;
let playing = 0;

/** @param {string} user */
export async function openReplay(user) {
  if (open?.user === user) return;
  const mine = { user, tape: /** @type {any} */ (null), failure: "" };
  open = mine;
  change();
  try {
    mine.tape = tape((await lines(`${userPath(user)}/events`)).filter(isGoals));
  } catch (error) {
    mine.failure = words.trouble(/** @type {any} */ (error));
  }
  change();
}

export function closeReplay() {
  pause();
  open = null;
}

function pause() {
  clearInterval(playing);
  playing = 0;
  change();
}

/** @param {number} count */
function go(count) {
  const all = open?.tape;
  if (!all) return;
  all.seek(Math.max(0, Math.min(all.facts.length, count)));
  if (all.at === all.facts.length) pause();
  change();
}

function play() {
  if (playing) return pause();
  const all = open?.tape;
  if (all?.at === all?.facts.length) go(0);
  playing = window.setInterval(() => go((open?.tape?.at ?? 0) + 1), EVERY);
  change();
}

const on = { act: () => {}, key: () => {} };

/** @param {() => void} close */
export function replay(close) {
  if (!open) return nothing;
  const { user, tape: all, failure } = open;
  const at = all?.at ?? 0;
  const fact = all && at ? all.facts[at - 1] : null;
  const classes = (/** @type {any} */ row) => (fact?.goal_id === row.goal.id ? "changed" : "");
  const rows = all ? visible(inOrder(all.tree), { closed: NONE }) : [];
  return html`<aside class="pane replay" aria-label=${say.replay} data-at=${at}>
    <header><h2 class="grow">${say.replayOf} ${theirs(user)}</h2>${iconButton("x", words.tools.close, close)}</header>
    ${failure ? blank(failure) : !all ? html`<p class="quiet">${words.tree.loading}</p>` : html`
      <div class="time-line controls">${iconButton("skip-back", timeMachine.first, () => go(0))} ${iconButton("step-back", say.back, () => go(at - 1))}
        ${iconButton(playing ? "pause" : "play", playing ? timeMachine.pause : timeMachine.play, play)}
        ${iconButton("step-forward", say.on, () => go(at + 1))} ${iconButton("skip-forward", timeMachine.last, () => go(all.facts.length))}
        <input class="grow" type="range" min="0" max=${all.facts.length} .value=${live(String(at))} aria-label=${say.replay} @input=${(/** @type {any} */ event) => go(Number(event.target.value))}></div>
      <p class="step" dir="auto">${fact ? html`<span class="quiet">${words.num(fact.position ?? 0)} · ${words.dayTime(fact.at, state.now)}</span> ${happened([fact], all.tree)}` : html`<span class="quiet">${timeMachine.beginning}</span>`}</p>
      ${treegrid({ rows, label: words.tree.label(user), position: fact?.position ?? 0, readonly: true, classes, on, aside: (row) => html`<div role="gridcell" class="count" aria-colindex="2">${row.kids ? `${row.completed}/${row.leaves}` : ""}</div>` })}`}</aside>`;
}
