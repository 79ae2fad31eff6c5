"""Operations as operators see them: rebuilding read models, health, metrics, and the API's description."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from threading import Event
from typing import Any

import httpx2
import jsonschema_rs
import pytest
from prometheus_client.parser import text_string_to_metric_families

import projections
from es_goals import __version__
from es_goals.app import Routes, routes
from es_goals.http.problems import PROBLEMS
from es_goals.settings import Settings
from tests.support.inside import application
from tests.support.serving import Served, refused, wait_for

Json = dict[str, Any]

NAMES = ["goal_tree", "activity"]
PAGES = {
    "/openapi.json", "/docs", "/docs/{file}", "/problems/{slug}", "/",
    "/page/{digest}/{file}", "/page/{digest}/vendor/{file}"
}  # fmt: skip
"""What people and their tools read; no calls of the API."""
TLOG_TILES = {"/log/checkpoint", "/log/tile/{level}/{number:path}"}
"""Described by C2SP: what a path of theirs may be, a path of OpenAPI cannot say."""


@pytest.fixture(scope="module")
def all_routes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routes]:
    """Every path of an application and what answers there."""
    with application(Settings(db=str(tmp_path_factory.mktemp("app") / "events.db"))) as app:
        yield routes(app.worker)


@pytest.fixture(scope="module")
def document(served: Served) -> Json:
    """The API's description."""
    document: Json = served.get("/openapi.json")
    return document


def status(served: Served, name: str) -> Json:
    found: Json = served.get(f"/v2/projections/{name}")
    return found


def rebuilt(served: Served, name: str) -> Json:
    """Rebuild, and watch the Location until it is done."""
    before = status(served, name)["generation"]
    answer = served.post(f"/v2/projections/{name}/rebuild")
    assert (answer.status_code, answer.headers["Location"]) == (202, f"/v2/projections/{name}")
    location = answer.headers["Location"]

    def done() -> bool:
        now = served.get(location)
        if now["state"] != "live":
            assert now["state"] in ("rebuilding", "failed")
            assert 0 <= now["done"] <= now["total"]
        return bool(now["state"] == "live" and now["generation"] != before)

    wait_for(done, "the rebuild to end")
    found: Json = served.get(location)
    return found


# Read models.


def test_each_read_model_tells_how_it_stands(served: Served, user: str) -> None:
    served.make_goal(user, "a")
    wait_for(lambda: {status(served, name)["lag"] for name in NAMES} == {0}, "no lag")

    listed = served.get("/v2/projections")["projections"]

    head = served.get("/readyz")["position"]
    assert [one["name"] for one in listed] == NAMES
    assert listed == [status(served, name) for name in NAMES]
    for one in listed:
        assert set(one) >= {"name", "revision", "generation", "position", "head", "lag", "rows", "state"}
        assert (one["position"], one["head"], one["lag"], one["state"]) == (head, head, 0, "live")
        assert one["revision"] == getattr(projections, one["name"]).REVISION
    created = served.client.get("/v2/events?type=GoalCreated", headers={"Accept": "application/x-ndjson"})
    assert listed[0]["rows"] == len(created.text.splitlines())


def test_an_unknown_read_model_is_not_found(served: Served) -> None:
    refused(served.client.get("/v2/projections/made-up"), 404, "projection-not-found")
    for order in ("rebuild", "rollback"):
        problem = refused(served.post(f"/v2/projections/made-up/{order}"), 404, "projection-not-found")
        assert "goal_tree" in problem["detail"]


def test_a_rebuild_makes_a_new_generation_and_a_rollback_brings_the_old_one_back(tmp_path: Path) -> None:
    with Served(tmp_path) as served:
        served.make_user("ann")
        served.make_goal("ann", "a")
        for name in NAMES:
            old = status(served, name)["generation"]
            refused(served.post(f"/v2/projections/{name}/rollback"), 409, "nothing-to-roll-back-to")

            new = rebuilt(served, name)
            back = served.post(f"/v2/projections/{name}/rollback")
            again = served.post(f"/v2/projections/{name}/rollback")

            assert (new["position"], new["lag"], new["rows"]) == (2, 0, 1)
            assert (back.status_code, back.json()["generation"], back.json()["state"]) == (200, old, "live")
            assert (again.status_code, again.json()["generation"]) == (200, new["generation"])


def test_a_generation_that_comes_back_knows_what_happened_since(served: Served, user: str) -> None:
    served.make_goal(user, "before")
    new = rebuilt(served, "goal_tree")
    served.make_goal(user, "since")

    back = served.post("/v2/projections/goal_tree/rollback").json()

    assert back["generation"] != new["generation"]
    assert (back["position"], back["lag"]) == (new["position"] + 1, 0)
    assert [goal["name"] for goal in served.get(f"/v2/users/{user}/goals")["goals"]] == ["before", "since"]


def test_readers_and_writers_do_not_notice_a_rebuild(served: Served, user: str) -> None:
    served.post(f"/v2/users/{user}/commands", {"commands": [{"type": "CreateGoal", "name": "x"}] * 1000})
    over = Event()

    def use(worker: int) -> int:
        with served.client_of(worker) as client:
            count = 0
            while not over.is_set():
                count += 1
                made = client.post(f"/v2/users/{user}/goals", json={"name": "y"})
                goal = client.get(made.headers["Location"])
                assert (made.status_code, goal.status_code) == (201, 200)
                assert {**goal.json(), **made.json()} == goal.json()
            return count

    workers = served.workers()
    with ThreadPoolExecutor(2) as threads:
        uses = [threads.submit(use, worker) for worker in workers]
        try:
            for name in NAMES * 2:
                rebuilt(served, name)
        finally:
            over.set()
        made = sum(one.result() for one in uses)

    assert len(served.get(f"/v2/users/{user}/goals", view="flat")["goals"]) == 1000 + made


def test_a_tag_does_not_outlive_its_generation(served: Served, user: str) -> None:
    path = f"/v2/users/{user}/goals"
    tag = served.client.get(path).headers["ETag"]
    rebuilt(served, "goal_tree")

    answer = served.client.get(path, headers={"If-None-Match": tag})

    assert answer.status_code == 200
    assert answer.headers["ETag"] != tag


def test_rebuilds_asked_for_at_once_are_one(served: Served) -> None:
    answers = [served.post("/v2/projections/goal_tree/rebuild") for _ in range(3)]

    assert {answer.status_code for answer in answers} == {202}
    wait_for(lambda: status(served, "goal_tree")["state"] == "live", "the rebuilds to end")


def test_a_failed_fold_is_told_everywhere_and_a_rebuild_mends_it(served: Served) -> None:
    with served.failed(projections.activity) as position:
        one = status(served, "activity")
        assert (one["state"], one["failed_at"], one["error"]) == ("failed", position, "made to fail")
        assert status(served, "goal_tree")["state"] == "live"
        answer = served.client.get("/readyz")
        assert "activity" in refused(answer, 503, "projection-behind")["detail"]
        assert int(answer.headers["Retry-After"]) > 0
        assert metric(served, "es_goals_projection_failed") == {"goal_tree": 0, "activity": 1}

        mended = rebuilt(served, "activity")

        assert (mended["state"], mended["lag"]) == ("live", 0)
        assert served.client.get("/readyz").status_code == 200


# Alive, and able to serve.


def test_a_healthy_service_is_alive_and_ready(served: Served) -> None:
    alive, ready = served.client.get("/healthz"), served.client.get("/readyz")

    assert (alive.status_code, alive.json()) == (200, {"status": "alive", "version": __version__})
    head = served.get("/v2/projections/activity")["head"]
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "position": head})


@pytest.mark.parametrize("model", projections.ALL, ids=NAMES)
def test_a_service_with_a_failed_fold_is_alive_but_not_ready(served: Served, model: Any) -> None:
    with served.failed(model):
        for worker in served.workers():
            with served.client_of(worker) as client:
                refused(client.get("/readyz"), 503, "projection-behind")
                assert client.get("/healthz").status_code == 200

    assert served.client.get("/readyz").status_code == 200


# Metrics.


def families(served: Served) -> dict[str, Any]:
    answer = served.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def metric(served: Served, name: str) -> dict[str, float]:
    """A gauge's values by projection; under "" that of one without labels."""
    return {sample.labels.get("projection", ""): sample.value for sample in families(served)[name].samples}


def counted(client: httpx2.Client, name: str, **labels: str) -> float:
    """A counter's value, 0 where there is none yet."""
    samples = [one for family in text_string_to_metric_families(client.get("/metrics").text) for one in family.samples]
    return sum(sample.value for sample in samples if sample.name == name and sample.labels == labels)


def test_metrics_name_what_an_operator_watches(served: Served, user: str) -> None:
    served.make_goal(user, "a")
    found = families(served)

    assert {
        "es_goals_requests",
        "es_goals_request_seconds",
        "es_goals_batch_commands",
        "es_goals_history_warned",
        "es_goals_history_refused",
        "es_goals_log_position",
        "es_goals_log_bytes",
        "es_goals_wal_bytes",
        "es_goals_disk_free_bytes",
        "es_goals_at_ahead_seconds",
        "es_goals_projection_lag",
        "es_goals_projection_failed",
    } <= set(found)
    assert all(family.documentation for family in found.values())


def test_metrics_are_those_of_the_log(served: Served, user: str) -> None:
    batch = ("es_goals_batch_commands_sum", "es_goals_batch_commands_count")
    before = [counted(served.client, name) for name in batch]
    for name in "ab":
        served.make_goal(user, name)
    wait_for(lambda: metric(served, "es_goals_projection_lag") == {"goal_tree": 0, "activity": 0}, "no lag")

    assert metric(served, "es_goals_log_position") == {"": served.get("/readyz")["position"]}
    for name, file in (("es_goals_log_bytes", "events.db"), ("es_goals_wal_bytes", "events.db-wal")):
        assert metric(served, name) == {"": served.db.with_name(file).stat().st_size}
    assert metric(served, "es_goals_disk_free_bytes")[""] > 0
    assert metric(served, "es_goals_at_ahead_seconds") == {"": 0}
    assert [counted(served.client, name) for name in batch] == [value + 2 for value in before]


def test_metrics_count_over_all_workers(served: Served, user: str) -> None:
    def requests(client: httpx2.Client, status: int) -> float:
        labels = {"method": "GET", "route": "/v2/users/{user}", "status": f"{status}"}
        return counted(client, "es_goals_requests_total", **labels)

    found, unknown = (requests(served.client, status) for status in (200, 404))
    first, second = served.workers()
    with served.client_of(first) as one, served.client_of(second) as other:
        for client, times in ((one, 2), (other, 3)):
            for _ in range(times):
                client.get(f"/v2/users/{user}")
                client.get(f"/v2/users/no-{user}")

        for client in (one, other):
            assert requests(client, 200) == found + 5
            assert requests(client, 404) == unknown + 5


def test_an_unknown_path_makes_no_metric_of_its_own(served: Served, user: str) -> None:
    labels = {"method": "GET", "route": "none", "status": "404"}
    before = counted(served.client, "es_goals_requests_total", **labels)

    served.client.get(f"/{user}/made/up")

    assert counted(served.client, "es_goals_requests_total", **labels) == before + 1
    assert user not in served.client.get("/metrics").text


# The API's description.


def test_the_description_is_valid_openapi_3_1(document: Json) -> None:
    # Imported here, since it takes half a second and every worker would pay for it.
    from schemathesis.specs.openapi.definitions import OPENAPI_31

    assert document["openapi"].startswith("3.1.")
    jsonschema_rs.Draft202012Validator(OPENAPI_31).validate(document)


def test_every_schema_is_valid_json_schema_and_every_reference_leads_somewhere(document: Json) -> None:
    references = set()
    for name, schema in document["components"]["schemas"].items():
        jsonschema_rs.meta.validate(schema)
        assert schema.get("description"), name
    for part in _parts(document):
        if isinstance(part.get("$ref"), str):
            references.add(part["$ref"])

    wanted = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references <= wanted
    assert references


def _parts(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _parts(part)


def test_every_route_and_method_is_described(document: Json, all_routes: Routes) -> None:
    answered = {
        (path, method)
        for path, resource in all_routes
        for method in ("get", "post", "put", "patch", "delete")
        if path not in PAGES | TLOG_TILES and hasattr(resource, f"on_{method}")
    }

    assert {(path, method) for path, item in document["paths"].items() for method in item} == answered
    assert {path for path, _ in all_routes} >= PAGES | TLOG_TILES


def test_every_operation_is_told_apart_and_says_what_it_takes_and_answers(document: Json) -> None:
    operations = [(path, *one) for path, item in document["paths"].items() for one in item.items()]

    assert len({operation["operationId"] for _, _, operation in operations}) == len(operations)
    for path, method, operation in operations:
        assert operation["summary"], (path, method)
        assert any(code.startswith("2") for code in operation["responses"]), (path, method)
        in_path = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert in_path == set(re.findall(r"\{(\w+)\}", path))
        problems = [one for code, one in operation["responses"].items() if code >= "400"]
        assert all("application/problem+json" in one["content"] for one in problems)


def test_every_operation_says_who_must_be_signed_in_for_it(document: Json, all_routes: Routes) -> None:
    asked: list[Json] = [{"bearer": []}, {"header": []}, {"cookie": []}]
    shown = {"nobody": [], "registration": [{}, *asked], "checkpoint": [{}, *asked]}

    for path, resource in all_routes:
        for method, described in document["paths"].get(path, {}).items():
            needs = getattr(resource, f"on_{method}").operation.needs
            assert described["security"] == shown.get(needs, asked), (path, method)
            refused = {"401", "403"} <= set(described["responses"])
            assert refused or needs == "nobody", (path, method)
    schemes = document["components"]["securitySchemes"]
    assert {name: (one["type"], one.get("scheme", one.get("name"))) for name, one in schemes.items()} == {
        "bearer": ("http", "bearer"), "header": ("apiKey", "Access-Token"),
        "cookie": ("apiKey", "__Host-es-goals"),
    }  # fmt: skip


def test_only_these_operations_are_for_who_is_not_signed_in(document: Json) -> None:
    free = {
        (path, method)
        for path, item in document["paths"].items()
        for method, one in item.items()
        if one["security"] == [] or {} in one["security"]
    }

    proofs = {"/v2/log/checkpoint", "/v2/log/proofs/inclusion", "/v2/log/proofs/consistency"}
    assert free == {
        ("/v2/users", "post"), ("/v2/sessions", "post"), ("/v2/sessions/current", "get"), ("/healthz", "get"),
        ("/readyz", "get"), *((path, "get") for path in proofs),
    }  # fmt: skip


def test_the_description_says_how_to_sign_in_and_how_long_to_wait(document: Json) -> None:
    wanted = {"401": {"WWW-Authenticate"}, "429": {"Retry-After"}, "503": {"Retry-After"}}
    for path, item in document["paths"].items():
        for method, one in item.items():
            for status, answer in one["responses"].items():
                assert set(answer.get("headers", {})) == wanted.get(status, set()), (path, method, status)
    assert "content" not in document["paths"]["/v2/sessions/current"]["delete"]["responses"]["204"]


def test_a_body_is_asked_for_where_some_member_of_it_is(document: Json) -> None:
    bodies = {
        (path, method): one["requestBody"]["required"]
        for path, item in document["paths"].items()
        for method, one in item.items()
        if "requestBody" in one
    }

    assert bodies["/v2/users/{user}/goals", "post"]
    assert not bodies["/v2/goals/{goal_id}/reopen", "post"]
    assert not bodies["/v2/users/{user}", "patch"]


def test_commands_are_described_with_their_headers_and_problems(document: Json) -> None:
    create = document["paths"]["/v2/users/{user}/goals"]["post"]

    headers = {one["name"] for one in create["parameters"] if one["in"] == "header"}
    assert headers == {"Idempotency-Key", "X-Reason", "If-Match"}
    assert {"201", "404", "409", "412", "413", "415", "422", "503"} <= set(create["responses"])
    assert document["components"]["schemas"]["NewGoal"]["required"] == ["name"]
    assert document["components"]["schemas"]["NewGoal"]["additionalProperties"] is False


@pytest.mark.parametrize("reason", ["plain", "two%20words", "100%25", "%C3%BCber%20alles"])
def test_the_description_of_x_reason_allows_what_is_percent_encoded(document: Json, reason: str) -> None:
    parameters = document["paths"]["/v2/users/{user}/goals"]["post"]["parameters"]
    schema = next(one["schema"] for one in parameters if one["name"] == "X-Reason")

    jsonschema_rs.Draft202012Validator(schema).validate(reason)


def test_the_description_knows_every_status_that_a_problem_may_have(document: Json) -> None:
    described = {code for part in _parts(document["paths"]) for code in part.get("responses", {})}

    elsewhere = {"405", "500", "502"}  # of any path, and of none; where a provider is set
    assert {str(problem.status) for problem in PROBLEMS.values()} <= described | elsewhere


def test_answers_are_as_they_are_described(document: Json, served: Served, user: str) -> None:
    goal = served.make_goal(user, "a")
    below = served.make_goal(user, "b", parent_id=goal["id"], due="2027-01-01T00:00:00Z")
    served.order(below, "complete")
    calls = {
        "/v2/users": "/v2/users",
        "/v2/users/{user}": f"/v2/users/{user}",
        "/v2/users/{user}/goals": f"/v2/users/{user}/goals",
        "/v2/users/{user}/events": f"/v2/users/{user}/events",
        "/v2/goals/{goal_id}": f"/v2/goals/{goal['id']}?depth=0",
        "/v2/goals/{goal_id}/history": f"/v2/goals/{goal['id']}/history",
        "/v2/projections": "/v2/projections",
        "/v2/projections/{name}": "/v2/projections/activity",
        "/healthz": "/healthz",
        "/readyz": "/readyz",
    }

    for path, address in calls.items():
        schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        whole = {**schema, "components": document["components"]}
        jsonschema_rs.Draft202012Validator(whole).validate(served.get(address))
    problem = served.client.get(f"/v2/users/{user}/goals?depth=x").json()
    answer = {"$ref": "#/components/schemas/ProblemAnswer", "components": document["components"]}
    jsonschema_rs.Draft202012Validator(answer).validate(problem)


# Its page.


class Loaded(HTMLParser):
    """What a page loads."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A link or a source."""
        del tag
        self.addresses += [value for name, value in attrs if name in ("src", "href") and value]


def test_the_page_of_the_api_works_offline(served: Served) -> None:
    page = served.client.get("/docs")
    loaded = Loaded(page.text).addresses

    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert {address.rpartition(".")[2] for address in loaded} == {"css", "js"}
    for address in loaded:
        assert address.startswith("/docs/")
        file = served.client.get(address)
        assert (file.status_code, bool(file.content)) == (200, True)
        kind = "text/css" if address.endswith("css") else "text/javascript"
        assert file.headers["Content-Type"].startswith(kind)
    for text in (page.text, served.client.get("/docs/docs.js").text):
        assert not re.search(r"(https?:)?//[a-z]", text)
    script = served.client.get("/docs/docs.js").text
    assert "/openapi.json" in script
    assert "persistAuthorization: false" in script, "expected no token to be kept by the browser"


def test_only_the_pages_own_files_are_answered(served: Served) -> None:
    for file in ("docs.html", "problem.html", "swagger-ui.js", "..%2Fapp.py", "__init__.py", "%2e%2e"):
        assert served.client.get(f"/docs/{file}").status_code == 404
