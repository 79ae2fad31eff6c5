/**
 * One table of all keys, and the commands that they and the palette run. A view gives its commands with `provide`;
 * `docs/page.md` and the `?` dialog are made of the table.
 *
 * @typedef {{keys: string[], command: string, name: string, group: "tree"|"edit"|"page"|"time"}} Key
 * `group`: "tree" keys work while the grid or nothing has the focus, "edit" ones while a goal is named, "time" ones in the time
 * machine, "page" ones wherever no text is typed; some have no key, only a place in the palette
 * @typedef {{run: (event?: Event) => void, why?: () => string|null}} Command  `why`: it cannot be run now, if it is text
 */
import { announce, flush } from "./state.js";

/** @type {Key[]} */
export const KEYS = [
  { keys: ["ArrowUp"], command: "up", name: "Row above", group: "tree" },
  { keys: ["ArrowDown"], command: "down", name: "Row below", group: "tree" },
  { keys: ["Home", "Ctrl+Home"], command: "first", name: "First row", group: "tree" },
  { keys: ["End", "Ctrl+End"], command: "last", name: "Last row", group: "tree" },
  { keys: ["PageUp"], command: "pageUp", name: "A page up", group: "tree" },
  { keys: ["PageDown"], command: "pageDown", name: "A page down", group: "tree" },
  { keys: ["ArrowRight"], command: "right", name: "Open, or into the cells", group: "tree" },
  { keys: ["ArrowLeft"], command: "left", name: "Close, then to the parent", group: "tree" },
  { keys: ["Shift+ArrowRight"], command: "openBelow", name: "Open all below", group: "tree" },
  { keys: ["Shift+ArrowLeft"], command: "closeBelow", name: "Close all below", group: "tree" },
  { keys: ["*"], command: "openSiblings", name: "Open the siblings", group: "tree" },
  { keys: ["Space"], command: "select", name: "Select", group: "tree" },
  { keys: ["Shift+ArrowUp"], command: "extendUp", name: "Extend the selection up", group: "tree" },
  { keys: ["Shift+ArrowDown"], command: "extendDown", name: "Extend the selection down", group: "tree" },
  { keys: ["Ctrl+A"], command: "selectAll", name: "Select all that is shown", group: "tree" },
  { keys: ["Escape"], command: "leave", name: "Select nothing, end the search, leave the past", group: "tree" },
  { keys: ["Enter", "F2"], command: "rename", name: "Rename", group: "tree" },
  { keys: ["n"], command: "newSibling", name: "New goal behind", group: "tree" },
  { keys: ["Shift+Enter"], command: "newSub", name: "New sub-goal", group: "tree" },
  { keys: ["Alt+Shift+ArrowUp"], command: "moveUp", name: "Move up", group: "tree" },
  { keys: ["Alt+Shift+ArrowDown"], command: "moveDown", name: "Move down", group: "tree" },
  { keys: ["Alt+Shift+ArrowRight"], command: "moveIn", name: "Move in, under the one above", group: "tree" },
  { keys: ["Alt+Shift+ArrowLeft"], command: "moveOut", name: "Move out, behind its parent", group: "tree" },
  { keys: ["Ctrl+Enter", "c"], command: "toggleDone", name: "Complete or reopen", group: "tree" },
  { keys: ["m"], command: "moveTo", name: "Move to…", group: "tree" },
  { keys: ["Ctrl+X"], command: "cut", name: "Cut", group: "tree" },
  { keys: ["Ctrl+V"], command: "paste", name: "Paste goals or lines of text", group: "tree" },
  { keys: ["Delete"], command: "remove", name: "Delete", group: "tree" },
  { keys: ["d"], command: "due", name: "Due date", group: "tree" },
  { keys: ["e"], command: "detail", name: "Detail", group: "tree" },
  { keys: ["z"], command: "zoom", name: "Zoom in", group: "tree" },
  { keys: ["Shift+Z"], command: "zoomOut", name: "Zoom out", group: "tree" },
  { keys: ["Shift+F10", "ContextMenu"], command: "menu", name: "Actions", group: "tree" },
  { keys: ["Enter"], command: "keepAndNext", name: "Keep the name, start the next goal", group: "edit" },
  { keys: ["Escape"], command: "leaveName", name: "Leave the name as it was", group: "edit" },
  { keys: ["Tab"], command: "nameIn", name: "One level in, with what is below", group: "edit" },
  { keys: ["Shift+Tab"], command: "nameOut", name: "One level out, with what is below", group: "edit" },
  { keys: ["Ctrl+Z"], command: "undo", name: "Undo", group: "page" },
  { keys: ["Ctrl+Shift+Z", "Ctrl+Y"], command: "redo", name: "Redo", group: "page" },
  { keys: ["/"], command: "search", name: "Search", group: "page" },
  { keys: ["f"], command: "filter", name: "Filter", group: "page" },
  { keys: ["h"], command: "history", name: "History", group: "page" },
  { keys: ["t"], command: "time", name: "Time machine", group: "page" },
  { keys: ["x"], command: "compare", name: "Compare", group: "page" },
  { keys: ["w"], command: "draft", name: "What if", group: "page" },
  { keys: ["?"], command: "keys", name: "These keys", group: "page" },
  { keys: ["Ctrl+K"], command: "palette", name: "All commands", group: "page" },
  { keys: [], command: "newGoal", name: "New goal, last of all", group: "page" },
  { keys: [], command: "trash", name: "Trash", group: "page" },
  { keys: [], command: "activity", name: "Activity", group: "page" },
  { keys: [], command: "importFile", name: "Import a file", group: "page" },
  { keys: [], command: "exportFile", name: "Export to a file", group: "page" },
  { keys: [], command: "theme", name: "Light, dark, or as the system", group: "page" },
  { keys: [], command: "signOut", name: "Sign out", group: "page" },
  { keys: ["ArrowLeft"], command: "timeBack", name: "One command back", group: "time" },
  { keys: ["ArrowRight"], command: "timeOn", name: "One command on", group: "time" },
  { keys: ["Home"], command: "timeFirst", name: "The beginning", group: "time" },
  { keys: ["End"], command: "timeLast", name: "Now", group: "time" },
  { keys: ["Space"], command: "timePlay", name: "Play or pause", group: "time" },
  { keys: ["+"], command: "timeZoomIn", name: "Closer", group: "time" },
  { keys: ["-"], command: "timeZoomOut", name: "Farther", group: "time" },
  { keys: ["0"], command: "timeZoomAll", name: "All of the time", group: "time" },
];

/** @type {Map<string, Command>} */
const commands = new Map();

/** Commands that can be run from now on. @param {Record<string, Command>} some */
export function provide(some) {
  for (const [name, command] of Object.entries(some)) commands.set(name, command);
}

/** Why a command cannot be run now; null: it can. @param {string} name */
export function whyNot(name) {
  const command = commands.get(name);
  return command ? (command.why?.() ?? null) : "";
}

/** Run a command, or tell why not. @param {string} name @param {Event} [event] @returns {boolean} whether there is one */
export function run(name, event) {
  const command = commands.get(name);
  if (!command) return false;
  const why = command.why?.() ?? null;
  if (why === null) command.run(event);
  else if (why) announce(why, true);
  // What is typed next is to find what this put there.
  flush();
  return true;
}

/** How the table spells what was pressed. @param {KeyboardEvent} event */
export function keyOf(event) {
  const { key } = event;
  const letter = /^[a-z]$/i.test(key);
  const name = key === " " ? "Space" : letter && (event.ctrlKey || event.metaKey || event.shiftKey) ? key.toUpperCase() : key;
  const shift = event.shiftKey && (letter || key.length > 1 || key === " ");
  return `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.altKey ? "Alt+" : ""}${shift ? "Shift+" : ""}${name}`;
}

/** Run what a key means in a group. @param {KeyboardEvent} event @param {Key["group"]} group @returns {boolean} */
export function press(event, group) {
  if (event.defaultPrevented || event.isComposing) return false;
  const pressed = keyOf(event);
  const found = KEYS.find((key) => key.group === group && key.keys.includes(pressed));
  if (!found || pressed === "Ctrl+V" || !run(found.command, event)) return false;
  event.preventDefault();
  return true;
}

/** The keys of a command, as people read them. @param {string} command */
export function keysOf(command) {
  const found = KEYS.find((key) => key.command === command);
  return found ? found.keys.map(readable).join(", ") : "";
}

/** @param {string} key */
export const readable = (key) =>
  key.replace("ArrowUp", "↑").replace("ArrowDown", "↓").replace("ArrowLeft", "←").replace("ArrowRight", "→").replace("Escape", "Esc");
