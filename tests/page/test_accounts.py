"""The screens of those who have accounts: one's own, an administrator's, an auditor's; and what others meet there."""

from playwright.sync_api import APIRequestContext, Dialog, Page, expect

from tests.page.conftest import Visits
from tests.page.people import HOSTILE, checked, person, sign_in
from tests.page.site import make, settled, shown, wait_for_rows
from tests.support.serving import Served

TREE = "Run a marathon\n  Train\n    [x] Run 10 km\nRead\n"


def test_a_password_is_changed_sessions_end_and_a_token_is_told_once(visits: Visits, guarded: Served) -> None:
    who = person(guarded)
    elsewhere = sign_in(visits, guarded, who)
    visit = sign_in(visits, guarded, who)
    page = visit.page("#/account")
    sessions = page.get_by_role("region", name="Where you are signed in").get_by_role("listitem")
    expect(sessions).to_have_count(2)

    page.get_by_label("Name", exact=True).fill(f"{who.name}-two")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".who")).to_have_text(f"{who.name}-two")
    page.get_by_label("Current password").fill(who.password)
    page.get_by_label("New password").fill("a pear a day keeps")
    page.get_by_role("button", name="Change").click()
    expect(sessions).to_have_count(1)
    assert _me(elsewhere.context.request, guarded) is None
    assert _me(visit.context.request, guarded) == f"{who.name}-two"

    page.get_by_role("button", name="New token").click()
    page.get_by_label("What it is for").fill(HOSTILE)
    page.get_by_label("It may").select_option("read")
    page.get_by_role("button", name="Make it").click()
    token = page.locator(".secret code").inner_text()
    with guarded.as_(token) as client:
        assert client.get(f"/v2/users/{who.id}").status_code == 200
        assert client.post(f"/v2/users/{who.id}/goals", json={"name": "x"}).status_code == 403
    page.get_by_role("button", name="I have it").click()
    expect(page.get_by_role("region", name="API tokens")).to_contain_text(HOSTILE)
    expect(page.get_by_role("dialog")).not_to_be_attached()
    assert token not in page.content()
    page.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("You have none.")).to_be_visible()
    with guarded.as_(token) as client:
        assert client.get(f"/v2/users/{who.id}").status_code == 401


def _me(request: APIRequestContext, served: Served) -> str | None:
    """Who is signed in."""
    user = request.get(f"{served.url}/v2/sessions/current").json()["user"]
    return None if user is None else str(user["name"])


def test_a_session_elsewhere_is_ended(visits: Visits, guarded: Served) -> None:
    who = person(guarded)
    elsewhere = sign_in(visits, guarded, who)
    page = sign_in(visits, guarded, who).page("#/account")
    sessions = page.get_by_role("region", name="Where you are signed in").get_by_role("listitem")
    expect(sessions).to_have_count(2)

    page.get_by_role("button", name="End").click()

    expect(sessions).to_have_count(1)
    expect(sessions).to_contain_text("here")
    assert _me(elsewhere.context.request, guarded) is None


def test_a_user_meets_403_and_404_as_sentences(visits: Visits, guarded: Served) -> None:
    who, other = person(guarded), person(guarded)
    visit = sign_in(visits, guarded, who)
    visit.refusals = True
    page = visit.page(f"#/{who.name}")

    for screen in ("admin", "audit"):
        page.goto(f"{guarded.url}/#/{screen}")
        expect(page.locator(".blank")).to_contain_text("Expected the role auditor")
    page.goto(f"{guarded.url}/#/{other.name}")

    expect(page.locator(".blank")).to_contain_text("The goals could not be loaded.")
    expect(page.locator(".blank")).to_contain_text("There is no such user")
    assert other.id not in page.content()
    page.goto(f"{guarded.url}/#/{who.name}")
    expect(page.get_by_text("A blank page.")).to_be_visible()


def test_an_auditor_reads_everything_and_changes_nothing(visits: Visits, guarded: Served) -> None:
    who = person(guarded)
    make(guarded, who.name, TREE)
    visit = sign_in(visits, guarded, person(guarded, "auditor"))
    sent: list[str] = []
    visit.context.on("request", lambda request: sent.append(f"{request.method} {request.url}"))
    page = visit.page("#/")
    expect(page.get_by_role("heading", name="Audit")).to_be_visible()

    page.locator(".who").click()
    page.get_by_role("menuitem", name=who.name).or_(page.locator("dialog")).first.wait_for()
    page.keyboard.press("Escape")
    page.goto(f"{guarded.url}/#/{who.name}")
    wait_for_rows(page, "Run a marathon", "  Train", "    Run 10 km", "Read")
    assert page.locator(".row button, .head .primary, .handle").count() == 0
    page.locator(".row").first.click()
    for key in ("n", "Enter", "c", "Delete", "d", "Alt+Shift+ArrowDown", "Control+z", "w"):
        page.keyboard.press(key)
    expect(page.get_by_role("alert").filter(has_text="Auditors read everything")).to_be_attached()
    for view in ("history", "trash", "activity"):
        page.goto(f"{guarded.url}/#/{who.name}/{view}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.get_by_role("button", name="Undo").and_(page.locator("main button")).count() == 0

    assert shown(page) == []
    assert [one for one in sent if not one.startswith("GET ")] == []


def test_an_auditor_reads_the_administration_without_its_commands(visits: Visits, guarded: Served) -> None:
    who = person(guarded)
    page = sign_in(visits, guarded, person(guarded, "auditor")).page("#/admin")

    expect(page.get_by_role("rowheader", name=who.name)).to_be_visible()
    expect(page.locator('[data-model="goal_tree"]')).to_contain_text("goal_tree")
    expect(page.locator(".health")).to_be_visible()
    assert page.locator("main button").all_inner_texts() == []
    checked(page, "an auditor's administration")


def test_the_log_is_filtered_by_the_url_followed_and_taken_away(visits: Visits, guarded: Served) -> None:
    who = person(guarded)
    make(guarded, who.name, TREE)
    page = sign_in(visits, guarded, person(guarded, "auditor")).page(f"#/audit?user={who.name}")
    commands = page.locator(".command")
    expect(commands).to_have_count(2)
    expect(commands.first).to_contain_text("5 events")

    page.get_by_label("Type").select_option("GoalCompleted")
    expect(commands).to_have_count(1)
    assert "type=GoalCompleted" in page.url
    page.go_back()
    expect(commands).to_have_count(2)
    page.get_by_role("button", name="Follow live").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    guarded.make_goal(who.name, HOSTILE)
    expect(commands).to_have_count(3)
    expect(commands.first.locator(".called")).to_have_text(HOSTILE)
    page.get_by_role("button", name="Pause").click()
    guarded.make_goal(who.name, "Sleep")
    page.get_by_role("button", name="Go on, 1 new").click()
    expect(commands).to_have_count(4)

    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert len(download.value.path().read_text().splitlines()) == 8


def test_a_users_goals_are_replayed_event_by_event(visits: Visits, guarded: Served) -> None:
    who = person(guarded)
    make(guarded, who.name, TREE)
    page = sign_in(visits, guarded, person(guarded, "auditor")).page(f"#/audit?user={who.name}")

    page.get_by_role("button", name="Replay").click()
    replay = page.get_by_role("complementary", name="Replay")
    expect(replay).to_have_attribute("data-at", "0")
    for _ in range(2):
        replay.get_by_role("button", name="One event on").click()
    wait_for_rows(page, "Run a marathon", "  Train")
    replay.get_by_role("button", name="To now").click()
    wait_for_rows(page, "Run a marathon", "  Train", "    Run 10 km", "Read")
    replay.get_by_role("button", name="One event back").click()

    expect(replay).to_have_attribute("data-at", "4")
    checked(page, "replay")


def test_an_administrator_makes_and_disables_users(visits: Visits, guarded: Served) -> None:
    root, who = person(guarded, "administrator"), person(guarded)
    theirs = sign_in(visits, guarded, who)
    page = sign_in(visits, guarded, root).page("#/admin")

    page.get_by_role("button", name="New user").click()
    page.get_by_label("Name").fill(f"{who.name}-three")
    page.get_by_label("Password").fill("an apple a day keeps")
    page.get_by_role("dialog").get_by_role("button", name="Add").click()
    expect(page.get_by_role("rowheader", name=f"{who.name}-three")).to_be_visible()
    line = page.get_by_role("row").filter(has=page.get_by_role("link", name=who.name, exact=True))
    line.get_by_role("button", name="Disable").click()
    page.get_by_role("dialog").get_by_role("button", name="Disable").click()
    expect(line).to_contain_text("disabled")
    assert _me(theirs.context.request, guarded) is None
    line.get_by_role("button", name="Enable").click()
    expect(line).not_to_contain_text("disabled")
    own = page.get_by_role("row").filter(has=page.get_by_role("link", name=root.name, exact=True))

    expect(own.get_by_role("button", name="Disable")).to_be_disabled()


def test_a_rebuild_is_watched_while_the_tree_stays_right(visits: Visits, guarded: Served) -> None:
    root = person(guarded, "administrator")
    make(guarded, root.name, "".join(f"Goal {number}\n" for number in range(900)))
    visit = sign_in(visits, guarded, root)
    tree, page = visit.page(f"#/{root.name}"), visit.page("#/admin")
    model = page.locator('[data-model="goal_tree"]')
    generation = _generation(guarded)

    shares: list[int] = []
    page.expose_function("moved", lambda share: shares.append(share))
    page.evaluate("""() => new MutationObserver(() => {
      const bar = document.querySelector('[data-model=goal_tree] [role=progressbar]');
      if (bar) moved(Number(bar.ariaValueNow));
    }).observe(document.querySelector('main'), {subtree: true, childList: true, attributes: true})""")
    model.get_by_role("button", name="Rebuild").click()
    guarded.make_goal(root.name, "Meanwhile")

    expect(model).not_to_contain_text("0/", timeout=20_000)
    expect(model).not_to_contain_text(f"generation {generation} ", timeout=20_000)
    expect(model).to_have_attribute("data-state", "live")
    assert shares == sorted(shares)
    tree.locator(".scroller").evaluate("one => one.scrollTo(0, 1e6)")
    expect(tree.locator(".row").last).to_contain_text("Meanwhile")
    model.get_by_role("button", name="Roll back").click()
    expect(model).to_contain_text(f"generation {generation}")
    settled(tree)


def test_the_log_is_verified_and_its_digest_told(visits: Visits, guarded: Served) -> None:
    root = person(guarded, "administrator")
    page = sign_in(visits, guarded, root).page("#/admin")

    page.get_by_role("button", name="Verify").click()

    expect(page.locator(".verified")).to_have_attribute("data-state", "sound")
    expect(page.get_by_text("All is sound.")).to_be_visible()
    position, digest = page.locator(".verified code").inner_text().split(":")
    assert guarded.run("verify", "--expect", f"{position}:{digest}").returncode == 0
    checked(page, "verified")


def _generation(served: Served) -> int:
    return int(served.get("/v2/projections/goal_tree")["generation"])


def test_axe_finds_nothing_on_the_screens_of_accounts(visits: Visits, guarded: Served) -> None:
    root = person(guarded, "administrator")
    make(guarded, root.name, TREE)
    page = sign_in(visits, guarded, root).page("#/account")

    checked(page, "account")
    page.get_by_role("button", name="New token").click()
    checked(page, "new token")
    page.keyboard.press("Escape")
    page.goto(f"{guarded.url}/#/admin")
    expect(page.locator(".model").first).to_be_visible()
    checked(page, "admin")
    page.goto(f"{guarded.url}/#/audit?user={root.name}&follow=1")
    expect(page.locator(".command").first).to_be_visible()
    page.locator(".event summary").first.click()
    checked(page, "audit")


def test_hostile_names_stay_text_and_small_screens_scroll_down_only(visits: Visits, guarded: Served) -> None:
    root = person(guarded, "administrator")
    person(guarded, name="<b>" + "w" * 60)
    make(guarded, root.name, TREE + "x" * 190 + "\n")
    visit = sign_in(visits, guarded, root)
    page = visit.page("#/account")
    page.set_viewport_size({"width": 320, "height": 640})
    said: list[Dialog] = []
    page.on("dialog", lambda dialog: said.append(dialog))

    for screen, there in {"account": ".line-form", "admin": ".model", "audit": ".command"}.items():
        page.goto(f"{guarded.url}/#/{screen}")
        expect(page.locator(there).first).to_be_visible()
        _fits(page, screen)
    assert page.locator("main img, main b").count() == 0
    assert said == []


def _fits(page: Page, what: str) -> None:
    wide = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1], (what, wide)
