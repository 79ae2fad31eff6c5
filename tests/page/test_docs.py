"""docs/page.md lists the keys as the table has them."""

from typing import Any

from playwright.sync_api import Browser

from tests.page.site import Visit
from tests.support.engines import ROOT
from tests.support.serving import Served

GROUPS = {
    "tree": "In the tree",
    "edit": "While naming a goal",
    "page": "Anywhere",
    "time": "In the time machine",
}


def listed(keys: list[dict[str, Any]]) -> str:
    """The table as Markdown."""
    lines = ["| key | does |", "|---|---|"]
    for group, title in GROUPS.items():
        lines.append(f"| **{title}** | |")
        lines += [
            f"| {' · '.join(f'`{_readable(key)}`' for key in row['keys'])} | {row['name']} |"
            for row in keys
            if row["group"] == group and row["keys"]
        ]
    return "\n".join(lines)


def _readable(key: str) -> str:
    for name, shown in {"ArrowUp": "↑", "ArrowDown": "↓", "ArrowLeft": "←", "ArrowRight": "→", "Escape": "Esc"}.items():
        key = key.replace(name, shown)
    return key


def test_the_documentation_lists_the_keys(browser: Browser, served: Served) -> None:
    visit = Visit(browser, served)
    page = visit.page()
    page.goto(served.url)
    module = "document.querySelector('script[type=module]').src.replace('app.js', 'keys.js')"
    keys = page.evaluate(f"() => import({module}).then(({{KEYS}}) => KEYS)")
    visit.close()

    assert listed(keys) in (ROOT / "docs" / "page.md").read_text()
