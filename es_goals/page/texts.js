/** Texts of the views that are loaded when they are first shown. */
import { counted, day, num, quoted, tree } from "./words.js";

export const undo = {
  title: (/** @type {string} */ say) => `Can't undo: ${say}`,
  builds: (/** @type {number} */ count) => `${counted(count, "later change")} ${count === 1 ? "builds" : "build"} on it:`,
  blocked: (/** @type {any} */ one) => {
    const fields = /** @type {Record<string, string>} */ ({ below: "there are goals under it now", parent: "its old place is gone", limit: "there would be too many" });
    return `${quoted(one.name)}: ${fields[one.field] ?? `${one.field} is now ${quoted(String(one.now ?? "none"))}`}`;
  },
  both: "Undo both, latest first",
  all: (/** @type {number} */ count) => `Undo all ${num(count)}, latest first`,
  show: "Show it",
  leave: "Leave it",
};

export const detail = {
  title: "Detail",
  name: "Name",
  start: "Start",
  due: "Due",
  done: "Done",
  description: "Description",
  why: "Why",
  whyHint: "Recorded with your next change here",
  history: "History",
  thisGoal: "This goal",
  withBelow: "With what is below",
  created: (/** @type {string} */ at) => `Created ${at}`,
  none: "No change yet.",
  more: "Show more",
  missing: "There is no such goal.",
  jump: "Look at that moment",
  asThen: "Make it as it was then",
  set: "Set",
  by: (/** @type {{reason: string|null}} */ made, /** @type {string} */ at) => `Last changed ${at}${made.reason ? `: ${made.reason}` : ""}`,
};

export const conflict = {
  title: (/** @type {string} */ field) => `${field} was changed meanwhile`,
  later: (/** @type {string} */ field) => `${field} was changed meanwhile. Which one stays is asked when you are done typing.`,
  kept: (/** @type {string} */ field) => `${field}: theirs was kept.`,
  theirs: "Theirs",
  yours: "Yours",
  keepTheirs: "Keep theirs",
  useMine: "Use mine",
  edit: "Edit",
  /** @type {Record<string, string>} */
  fields: { name: "Name", description: "Description", start: "Start", due: "Due" },
};

export const filter = {
  title: "Filter",
  status: "Status",
  /** @type {Record<string, string>} */
  statuses: { all: "All goals", open: "Open", done: "Done", overdue: "Overdue" },
  due: "Due until",
  since: "Changed since",
  apply: "Show",
  clear: "Show all",
};

export const trash = {
  title: "Trash",
  text: "What was deleted stays here, with all that was below it.",
  empty: "Nothing is deleted.",
  restore: "Restore",
  elsewhere: "Restore elsewhere…",
  below: (/** @type {number} */ count) => (count ? `and ${num(count)} below` : ""),
  gone: "Its parent is gone.",
  where: "Restore under…",
};

export const history = {
  someone: "someone",
  kind: "Kind",
  allKinds: "All kinds",
  who: "Who",
  anyone: "Anyone",
  none: "No change to show.",
  /** @type {Record<string, string>} */
  kinds: {
    GoalCreated: "Created", GoalRenamed: "Renamed", GoalDescribed: "Described", GoalScheduled: "Scheduled", GoalMoved: "Moved",
    GoalCompleted: "Completed", GoalReopened: "Reopened", GoalDeleted: "Deleted", GoalRestored: "Restored",
  },
};

export const timeMachine = {
  beginning: "Before everything",
  readonly: "read only",
  position: (/** @type {number} */ at, /** @type {number} */ of) => `position ${num(at)} of ${num(of)}`,
  goto: "Go to a moment",
  copy: "Copy link",
  copied: "The link is copied.",
  first: "To the beginning",
  last: "To now",
  back: "One command back",
  on: "One command on",
  play: "Play",
  pause: "Pause",
  speed: "Speed",
  closer: "Closer",
  farther: "Farther",
  asThen: (/** @type {string} */ name) => `Make ${quoted(name)} as it was then`,
  same: (/** @type {string} */ name) => `${quoted(name)} is as it was then.`,
  would: (/** @type {any} */ command) => {
    const { type, id: _, ...fields } = command;
    const given = Object.entries(fields).filter(([name]) => ["name", "description", "start", "due"].includes(name));
    const what = /** @type {Record<string, string>} */ ({ RestoreGoal: "restore it", CompleteGoal: "complete it", ReopenGoal: "reopen it", MoveGoal: "move it to its old place" });
    return what[type] ?? given.map(([name, value]) => `set its ${name} to ${quoted(String(value ?? "none"))}`).join(", ");
  },
  doIt: "Do it",
  done: (/** @type {string} */ name) => `${quoted(name)} is as it was then.`,
};

/** @type {Record<string, string>} */
const DONE = {
  GoalCreated: "created", GoalRenamed: "renamed", GoalDescribed: "described", GoalScheduled: "scheduled", GoalMoved: "moved",
  GoalCompleted: "completed", GoalReopened: "reopened", GoalDeleted: "deleted", GoalRestored: "restored",
};

/** What a command did, in a sentence. @param {any[]} facts @param {import("./fold.js").Tree} behind */
export function happened(facts, behind) {
  const told = facts.filter((fact) => !fact.data.spaced);
  const main = told.find((fact) => fact.data.root === fact.goal_id) ?? told.at(-1) ?? facts[0];
  const others = new Set(told.map((fact) => fact.goal_id)).size - 1;
  const name = behind.goals.get(main.goal_id)?.name ?? "";
  return `${DONE[main.type] ?? main.type} ${quoted(name)}${others > 0 ? ` and ${num(others)} more` : ""}${main.reason ? ` · ${quoted(main.reason)}` : ""}`;
}

export const compare = {
  from: "From",
  to: "To",
  presets: "Since…",
  /** @type {Record<string, string>} */
  preset: { "-1d": "Since yesterday", "-7d": "A week", "-1m": "A month", "-3m": "Three months" },
  only: "Only what changed",
  copy: "Copy as text",
  copied: "The comparison is copied.",
  same: "Nothing differs.",
  jump: "Go there",
  movedTo: (/** @type {string} */ to) => `→ ${to}`,
  progress: (/** @type {any} */ both) => `${both.from.completed}/${both.from.leaves} → ${both.to.completed}/${both.to.leaves}`,
  /** @type {Record<string, string>} */
  kinds: {
    created: "created", restored: "restored", deleted: "deleted", moved: "moved", reordered: "reordered", renamed: "renamed",
    described: "described", scheduled: "scheduled", completed: "done", reopened: "reopened",
  },
  /** @param {any} one */
  change: (one) => {
    if (one.kind === "moved") return `from ${one.from.path.at(-1) ?? tree.top}`;
    if (one.kind === "scheduled") return `due ${one.to.due ? day(one.to.due) : "none"}`;
    return compare.kinds[one.kind];
  },
};

export const activity = {
  heat: "Changes on each day of the last year",
  burnup: "Goals and how many of them are done, over time",
  leaves: "Goals",
  completed: "Done",
  asTable: "As a table",
  day: "Day",
  changes: "Changes",
  when: "When",
};

/** What a command is called where it failed. */
export const label = {
  create: (/** @type {string} */ name) => `Could not add ${quoted(name)}`,
  rename: (/** @type {string} */ name) => `Could not rename ${quoted(name)}`,
  change: (/** @type {string} */ name) => `Could not change ${quoted(name)}`,
  complete: (/** @type {string} */ name) => `Could not complete ${quoted(name)}`,
  reopen: (/** @type {string} */ name) => `Could not reopen ${quoted(name)}`,
  move: (/** @type {string} */ name) => `Could not move ${quoted(name)}`,
  remove: (/** @type {string} */ name) => `Could not delete ${quoted(name)}`,
  restore: (/** @type {string} */ name) => `Could not restore ${quoted(name)}`,
  undo: "Could not undo",
  paste: "Could not add what was pasted",
};

export const ask = {
  completeTitle: (/** @type {string} */ name) => `Complete ${quoted(name)}`,
  completeText: (/** @type {number} */ open) => `${counted(open, "goal")} below ${open === 1 ? "is" : "are"} still open.`,
  onlyThis: "Only this",
  allBelow: (/** @type {number} */ open) => `This and all ${num(open)} open below`,
  moveTitle: (/** @type {number} */ count) => (count > 1 ? `Move ${num(count)} goals to…` : "Move to…"),
  moveTo: "Move to",
  moveHint: "Type the name of a goal…",
  where: "Where",
  places: /** @type {Record<string, string>} */ ({ last: "under it, last", first: "under it, first", after: "right behind it" }),
  paletteHint: "Type what you want to do…",
};

export const groups = { tree: "In the tree", edit: "While naming a goal", page: "Anywhere", time: "In the time machine" };

/** @type {Record<string, string>} */
const commandNames = {
  rename: "Rename", newSub: "New sub-goal", toggleDone: "Complete or reopen", due: "Due date…", detail: "Detail", moveUp: "Up", moveDown: "Down",
  moveIn: "In", moveOut: "Out", moveTo: "Move to…", zoom: "Zoom in", goalHistory: "History", remove: "Delete",
};
/** How a menu calls a command. @param {string} command */
export const commandName = (command) => commandNames[command] ?? command;
