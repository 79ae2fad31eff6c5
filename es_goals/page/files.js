/** Goals from files and to files. A file is first tried; then it is one command, to be undone as one. */
import { Problem, newId, request, userPath } from "./api.js";
import { ask } from "./dialogs.js";
import { icon } from "./parts.js";
import { change, state } from "./state.js";
import { html, nothing } from "./vendor/lit.js";
import { files as say } from "./phrases.js";
import { attempt, save } from "./screens.js";
import * as words from "./words.js";

const BINARY = { "Content-Type": "application/octet-stream" };
const SHOWN = 12;

/** @type {{file: File, key: string, tried: any, failure: string, busy: boolean}|null} */
let chosen = null;

/** @param {string} more */
const path = (more) => `${userPath(/** @type {any} */ (state.user).id)}/import${more}`;

/** What would come of a file. @param {File|undefined|null} file */
async function take(file) {
  if (!file) return;
  const mine = { file, key: newId(), tried: /** @type {any} */ (null), failure: "", busy: true };
  chosen = mine;
  change();
  try {
    mine.tried = (await request("POST", path("?dry_run=true"), { body: file, headers: BINARY })).data;
  } catch (error) {
    mine.failure = trouble(/** @type {Problem} */ (error));
  }
  mine.busy = false;
  change();
}

/** @param {Problem} problem */
const trouble = (problem) => (problem.kind === "body-too-large" ? say.tooLarge : words.trouble(problem));

/** Record it; a repeat after a lost answer records nothing twice. @param {(answer: any) => void} done */
async function go(done) {
  const mine = /** @type {NonNullable<typeof chosen>} */ (chosen);
  if (mine.busy) return;
  mine.busy = true;
  mine.failure = "";
  change();
  try {
    const { data, headers } = await request("POST", path(""), { body: mine.file, headers: { ...BINARY, "Idempotency-Key": mine.key } });
    done({ goals: data.goals, command: headers.get("Command") });
  } catch (error) {
    mine.failure = trouble(/** @type {Problem} */ (error));
  }
  mine.busy = false;
  change();
}

/** Ask for a file, unless it is there. @param {File|null} [file] */
export async function importFile(file = null) {
  chosen = null;
  take(file);
  const done = await ask((done) => html`<div class="importing" @dragover=${over} @drop=${dropped}>
    <label class="dropzone">${icon("upload")}<span>${chosen ? html`<bdi>${chosen.file.name}</bdi>` : say.drop}</span>
      <input type="file" class="sr" aria-label=${say.choose} @change=${(/** @type {any} */ event) => take(event.target.files[0])}><span class="link-like">${chosen ? say.another : say.choose}</span></label>
    ${chosen ? outcome(chosen) : html`<p class="quiet">${say.formats}</p>`}
    <div class="buttons"><button type="button" class="primary" aria-disabled=${chosen?.tried && !chosen.busy ? nothing : "true"} @click=${() => chosen?.tried && go(done)}>${chosen?.tried ? say.go(chosen.tried.result.goals) : say.goFirst}</button></div>
  </div>`, { title: say.importTitle });
  chosen = null;
  if (done) change({ toast: { text: say.imported(done.goals), command: done.command } });
}

/** @param {NonNullable<typeof chosen>} one */
function outcome({ tried, failure, busy }) {
  if (failure) return html`<p class="problem" role="alert" dir="auto">${icon("circle-alert")} ${failure}</p>`;
  if (!tried) return html`<p class="quiet" role="status">${busy ? say.reading : ""}</p>`;
  const { result } = tried;
  const levels = levelsOf(tried);
  return html`<dl class="both facts" role="status" aria-label=${result.summary}><dt>${say.format}</dt><dd>${result.format}</dd><dt>${say.goals}</dt><dd>${words.num(result.goals)}</dd>
    ${levels ? html`<dt>${say.levels}</dt><dd>${words.num(levels)}</dd>` : nothing}
    ${["left_out", "shortened", "changed", "taken"].map((kind) => result[kind].map((/** @type {any} */ note) => html`<dt>${say.notes[kind]}</dt>
      <dd>${note.what} <span class="quiet">${say.lines(note.lines.slice(0, SHOWN), note.lines.length)}</span></dd>`))}</dl>`;
}

/** How deep, as far as all of it was told. @param {{events: any[], events_count: number}} tried */
function levelsOf({ events, events_count }) {
  if (events.length < events_count) return 0;
  const depths = new Map();
  for (const { type, goal_id, data } of events) if (type === "GoalCreated") depths.set(goal_id, (depths.get(data.parent_id) ?? 0) + 1);
  return Math.max(0, ...depths.values());
}

/** @param {DragEvent} event */
const over = (event) => event.preventDefault();

/** @param {DragEvent} event */
function dropped(event) {
  event.preventDefault();
  take(event.dataTransfer?.files[0]);
}

const FORMATS = ["json", "opml", "markdown", "csv", "ics"];

/** @param {{id: string, name: string}|null} [user] */
export async function exportFile(user = state.user) {
  if (!user) return;
  const base = userPath(user.id);
  await ask((done) => html`<p class="quiet">${say.exportText}</p><ul class="list">${FORMATS.map((format) => html`
      <li><span class="say"><span class="strong">${say.names[format][0]}</span><small>${say.names[format][1]}</small></span><a class="button" href="${base}/export?format=${format}" download @click=${() => done(null)}>${icon("download")} ${say.save}</a></li>`)}
      <li><span class="say"><span class="strong">${say.history[0]}</span><small>${say.history[1]}</small></span><button type="button" @click=${() => history(user, done)}>${icon("download")} ${say.save}</button></li></ul>`,
  { title: say.exportTitle(user.name) });
}

/** All of the user's events, one a line. @param {{id: string, name: string}} user @param {(answer: null) => void} done */
async function history({ id, name }, done) {
  const got = await attempt(() => request("GET", `${userPath(id)}/events`, { headers: { Accept: "application/x-ndjson" } }));
  if (got) save(`${name}.ndjson`, got.data, "application/x-ndjson");
  done(null);
}
