/** Goals from a file and to a file: what a file holds is told before it is imported, which is one command. */
import { at, request, userPath } from "./api.js";
import { toast } from "./actions.js";
import { ask, choose } from "./dialogs.js";
import { change, state } from "./state.js";
import * as texts from "./texts.js";
import { html, nothing } from "./vendor/lit.js";
import * as words from "./words.js";

const FORMATS = ["json", "opml", "markdown", "csv", "ics"];
const path = () => userPath(/** @type {any} */ (state.user).id);

export async function importFile() {
  const text = await ask((done) => html`<form class="fields" @submit=${(/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      const given = new FormData(/** @type {HTMLFormElement} */ (event.target));
      const file = /** @type {File} */ (given.get("file"));
      done(file.size ? file : String(given.get("text")));
    }}>
    <label class="dropzone" @dragover=${(/** @type {DragEvent} */ event) => event.preventDefault()} @drop=${(/** @type {DragEvent} */ event) => { event.preventDefault(); if (event.dataTransfer?.files[0]) done(event.dataTransfer.files[0]); }}>
      <span>${texts.files.choose}</span><input type="file" name="file"></label>
    <label><span>${texts.files.paste}</span><textarea name="text" rows="6" dir="auto"></textarea></label>
    <p class="quiet">${texts.files.formats}</p><div class="buttons"><button class="primary">${texts.files.look}</button></div></form>`, { title: words.tools.importFile });
  if (text) await tryOut(text);
}

/** @param {File|string} file */
async function tryOut(file) {
  const body = typeof file === "string" ? file : new Blob([await file.arrayBuffer()]);
  const headers = { "Content-Type": "application/octet-stream" };
  try {
    const { data } = await request("POST", `${path()}/import?dry_run=true`, { body, headers });
    const found = data.result;
    const notes = [...found.left_out, ...found.shortened, ...found.changed];
    const text = html`<p>${found.summary}.</p>${notes.length ? html`<ul>${notes.map((note) => html`<li>${texts.files.note(note)}</li>`)}</ul>` : nothing}`;
    const answer = await choose({ title: texts.files.title, text, choices: [{ key: "do", text: texts.files.go(found.goals) }] });
    if (!answer) return;
    const made = await request("POST", `${path()}/import`, { body, headers: { ...headers, "Idempotency-Key": crypto.randomUUID() } });
    toast({ text: texts.files.done(made.data.goals), command: made.headers.get("Command") });
  } catch (error) {
    change({ toast: { text: words.refused(texts.files.failed, words.trouble(/** @type {any} */ (error))), error: true } });
  }
}

export async function exportFile() {
  const choices = [...FORMATS, "ndjson"].map((key) => ({ key, text: texts.files.names[key] }));
  const format = await choose({ title: words.tools.exportFile, text: texts.files.which, choices });
  if (!format) return;
  const log = format === "ndjson";
  const headers = log ? { Accept: "application/x-ndjson" } : {};
  const { data } = await request("GET", log ? `${path()}/events` : at(`${path()}/export`, { format }), { headers });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([typeof data === "string" ? data : JSON.stringify(data, null, 1)]));
  link.download = `${state.user?.name}.${/** @type {Record<string, string>} */ ({ markdown: "md" })[format] ?? format}`;
  link.click();
  URL.revokeObjectURL(link.href);
}

