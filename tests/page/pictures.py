"""The pictures in docs/page/: `python -m tests.page.pictures` takes them anew."""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.page.conftest import CHROMIUM
from tests.page.site import Visit, ids, make, recorded
from tests.support.engines import ROOT
from tests.support.serving import Served

FOLDER = ROOT / "docs" / "page"
GOALS = """- [ ] Run a marathon
  - [ ] Train
    - [x] Run 10 km
    - [ ] Run 21 km
    - [x] Find a running group
    - [ ] Rest days, really
  - [x] Buy shoes
    - [x] Try four pairs
    - [x] Break them in
    - [ ] Laces
  - [ ] Berlin: register before the ballot closes
- [ ] Learn Arabic
  - [x] The alphabet
  - [ ] 300 words
    - [x] Food
    - [ ] Family
    - [ ] Weather
  - [ ] مقاس طويل جدا
- [ ] Home
  - [ ] Kitchen
    - [x] Paint
    - [ ] Shelves
    - [ ] Fix the tap
  - [ ] Balcony
    - [ ] Tomatoes
    - [ ] Basil
- [ ] Read more
  - [x] The Left Hand of Darkness
  - [ ] Middlemarch
- [ ] Work
  - [ ] Ship the new onboarding
    - [x] Write the brief
    - [x] Interview five people
    - [ ] Prototype
  - [ ] Hire a designer
- [ ] Call mum every Sunday
"""
DUE = {"Run a marathon": 145, "Run 21 km": -3, "Shelves": 3, "Fix the tap": -1, "Prototype": 1}
"""Days from now."""


def lived(served: Served) -> tuple[int, dict[str, str]]:
    """A person's goals, some of them changed since. Returns the position before those changes, and the ids by name."""
    served.make_user("alice")
    make(served, "alice", GOALS)
    known = ids(served, "alice")
    now = datetime.now(UTC)
    for name, days in DUE.items():
        due = (now + timedelta(days=days)).isoformat()
        assert served.client.patch(f"/v2/goals/{known[name]}", json={"due": due}).status_code == 200
    before: int = served.get("/v2/users/alice/goals", depth=0)["position"]
    for path, body in {
        f"/v2/goals/{known['Laces']}/move": {"parent_id": known["Home"]},
        f"/v2/goals/{known['Shelves']}/complete": {"reason": "with Zoë's drill"},
        "/v2/users/alice/goals": {"name": "Sleep more", "after": known["Read more"]},
    }.items():
        assert served.post(path, body).status_code < 300
    assert served.client.patch(f"/v2/goals/{known['Laces']}", json={"name": "Shoelaces"}).status_code == 200
    assert served.client.delete(f"/v2/goals/{known['Balcony']}").status_code == 200
    return before, known


def take(browser: Browser, served: Served) -> None:
    """Take all of them."""
    before, known = lived(served)
    phone, wide = {"width": 360, "height": 740}, {"width": 1280, "height": 720}
    for name, fragment, size, colours in (
        ("goals", f"#/alice/goal/{known['Laces']}", wide, "light"),
        ("dark", "#/alice", wide, "dark"),
        ("time", f"#/alice/at/{before}", wide, "light"),
        ("compare", f"#/alice/compare/{before}..now", wide, "light"),
        ("phone", "#/alice", phone, "light"),
    ):
        visit = Visit(browser, served, viewport=size, color_scheme=colours)
        page = visit.page(fragment)
        if name == "goals":
            page.get_by_text("renamed “Laces” to “Shoelaces”").wait_for()
        elif name in ("time", "compare"):
            page.wait_for_load_state("networkidle")
        else:
            recorded(page, served, "alice")
        page.screenshot(path=FOLDER / f"{name}.png")
        visit.close()


def main() -> None:
    """Serve a person's goals, and show them."""
    FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        Served(Path(folder), workers=1) as served,
        sync_playwright() as play,
    ):
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        take(browser, served)
        browser.close()


if __name__ == "__main__":
    main()
