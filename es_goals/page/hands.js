/** What changes goals and follows them: all that is not needed to show a tree. Importing it gives the tree its keys. */
import { listen } from "./queue.js";
import { ended, refused } from "./signin.js";
import "./treekeys.js";

export { elsewhere } from "./actions.js";
export { follow } from "./live.js";
export { adopt, showWaiting } from "./queue.js";

listen({ refused, ended });
