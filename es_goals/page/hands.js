/** What changes goals and follows them: all that is not needed to show a tree. Importing it gives the tree its keys. */
import { listen } from "./queue.js";
import { ended, refused } from "./signin.js";
import { announce, state } from "./state.js";
import * as words from "./words.js";
import "./treekeys.js";

export { elsewhere } from "./actions.js";
export { follow } from "./live.js";
export { adopt, showWaiting } from "./queue.js";

listen({ refused, ended });

let quietUntil = 0;
/** Others' changes are told once in a while. @param {import("./fold.js").Fact[]} facts */
export function sayOthers(facts) {
  const others = facts.filter((fact) => fact.goal_id !== null && fact.actor !== null && fact.actor !== state.me?.id);
  if (!others.length || Date.now() < quietUntil) return;
  quietUntil = Date.now() + 5000;
  announce(words.did.others(others.length));
}

// What drags is loaded when the pointer first comes to a row, in time for the first drag.
addEventListener("pointerover", (event) => {
  const row = /** @type {Element} */ (event.target).closest?.(".row");
  if (row && event.pointerType !== "touch") void import("./drag.js").then(({ ready }) => ready(row));
});
