/** Light, dark, or as the system has it. */
import { keep, kept } from "./state.js";

const THEMES = /** @type {const} */ (["auto", "light", "dark"]);

/** @returns {"auto"|"light"|"dark"} */
export const theme = () => THEMES.find((one) => one === kept("theme")) ?? "auto";

export function applyTheme() {
  document.documentElement.dataset.theme = theme();
}

/** The next one. */
export function nextTheme() {
  keep("theme", THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length]);
  applyTheme();
}
