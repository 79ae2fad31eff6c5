"""Answers come in the content coding that the client likes best, and are the same answers."""

import gzip
import json
import sys
import zlib
from collections.abc import Callable, Iterator

import brotli
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_goals.compression import CODINGS, LARGE_BYTES, WINDOW_LOG, Coding, packed, packer
from es_goals.http.edge.codings import best
from tests.support.serving import Served, refused

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GOALS = 60
PLAIN = "identity"


class Reader:
    """What reads a coding part by part, as a client does, with a window of its own."""

    def __init__(self, coding: str) -> None:
        made: dict[str, Callable[[], Callable[[bytes], bytes]]] = {
            "gzip": lambda: zlib.decompressobj(16 + WINDOW_LOG).decompress,
            "br": lambda: brotli.Decompressor().process,
            "zstd": lambda: (
                zstd.ZstdDecompressor(options={int(zstd.DecompressionParameter.window_log_max): WINDOW_LOG}).decompress
            ),
        }
        self.read = made[coding]()


def plain(coding: str, data: bytes) -> bytes:
    """What was coded."""
    made: bytes = {"gzip": gzip.decompress, "br": brotli.decompress, "zstd": zstd.decompress, PLAIN: bytes}[coding](
        data
    )
    return made


def raw(served: Served, path: str, accepted: str | None, **headers: str) -> tuple[httpx2.Response, bytes]:
    """An answer, and its body as it came."""
    sent = {**headers, **({} if accepted is None else {"Accept-Encoding": accepted})}
    request = served.client.build_request("GET", path, headers=sent)
    if accepted is None:
        del request.headers["Accept-Encoding"]
    answer = served.client.send(request, stream=True)
    body = b"".join(answer.iter_raw())
    answer.close()
    return answer, body


@pytest.fixture(scope="module")
def kept(served: Served) -> str:
    """A user with more goals than fit into the shortest answer that is coded."""
    user = "codings"
    served.make_user(user)
    commands = [{"type": "CreateGoal", "name": f"Learn word {number}, spaß 走"} for number in range(GOALS)]
    assert served.post(f"/v2/users/{user}/commands", {"commands": commands}).status_code == 200
    return user


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One with accounts."""
    with Served(tmp_path_factory.mktemp("guarded"), accounts=True) as served:
        yield served


def paths(user: str) -> list[str]:
    return [
        f"/v2/users/{user}/goals", f"/v2/users/{user}/goals?view=flat", f"/v2/users/{user}/goals?as_of=0",
        f"/v2/users/{user}/events", f"/v2/users/{user}/export", f"/v2/users/{user}/diff?from=0",
        "/openapi.json", "/docs", "/metrics", "/problems/goal-not-found",
    ]  # fmt: skip


@pytest.mark.parametrize("coding", CODINGS)
def test_every_long_answer_is_the_same_in_each_coding_with_a_tag_of_its_own(
    served: Served, kept: str, coding: Coding
) -> None:
    for path in paths(kept):
        one, expected = raw(served, path, None)
        other, body = raw(served, path, coding)

        assert (one.status_code, other.status_code) == (200, 200)
        assert "Content-Encoding" not in one.headers
        assert "Accept-Encoding" in one.headers["Vary"]
        assert one.headers["Vary"] == other.headers["Vary"]
        if len(expected) < 1024:
            assert (body, "Content-Encoding" in other.headers) == (expected, False)
            continue
        assert other.headers["Content-Encoding"] == coding
        assert len(body) < len(expected) / 2
        if path != "/metrics":
            assert plain(coding, body) == expected
        if "ETag" in one.headers:
            assert other.headers["ETag"] == one.headers["ETag"][:-1] + f'-{coding}"'


@pytest.mark.parametrize(
    "path", ["/v2/users/codings/goals", "/v2/users/codings/goals?as_of={position}", "/openapi.json"]
)
def test_who_has_an_answer_in_any_coding_has_it(served: Served, kept: str, path: str) -> None:
    position = served.get(f"/v2/users/{kept}/goals")["position"]
    tags = {
        accepted: raw(served, path.format(position=position), accepted)[0].headers["ETag"]
        for accepted in (PLAIN, *CODINGS)
    }
    assert len(set(tags.values())) == 4

    for tag in tags.values():
        for accepted in (PLAIN, *CODINGS):
            answer, body = raw(
                served, path.format(position=position), accepted, **{"If-None-Match": f'"else", W/{tag}'}
            )
            assert (answer.status_code, body, answer.headers["ETag"]) == (304, b"", tag)
            assert raw(served, path.format(position=position), accepted, **{"If-Match": tag})[0].status_code == 200
            none = tag[:-1] + '-deflate"'
            assert (
                raw(served, path.format(position=position), accepted, **{"If-None-Match": none})[0].status_code == 200
            )


def test_the_tag_of_a_coded_goal_is_what_a_command_may_expect(served: Served, kept: str) -> None:
    parent = served.make_goal(kept, "with many below")["id"]
    below = [{"type": "CreateGoal", "name": f"{number}", "parent_id": parent} for number in range(20)]
    assert served.post(f"/v2/users/{kept}/commands", {"commands": below}).status_code == 200
    tag = raw(served, f"/v2/goals/{parent}", "br")[0].headers["ETag"]
    assert tag.endswith('-br"')

    renamed = served.client.patch(f"/v2/goals/{parent}", json={"name": "so"}, headers={"If-Match": tag})
    again = served.client.patch(f"/v2/goals/{parent}", json={"name": "or so"}, headers={"If-Match": tag})

    assert renamed.status_code == 200
    refused(again, 412, "changed")


def test_a_tree_is_coded_anew_when_it_has_changed(served: Served, kept: str) -> None:
    path = f"/v2/users/{kept}/goals"
    before = json.loads(plain("br", raw(served, path, "br")[1]))

    made = served.make_goal(kept, "new")["id"]

    after = json.loads(plain("br", raw(served, path, "br")[1]))
    assert {goal["id"] for goal in after["goals"]} - {goal["id"] for goal in before["goals"]} == {made}


@pytest.mark.parametrize("coding", CODINGS)
def test_lines_of_events_are_the_same_coded(served: Served, kept: str, coding: Coding) -> None:
    path = f"/v2/users/{kept}/events?until={served.get(f'/v2/users/{kept}/goals')['position']}"
    expected = raw(served, path, None, Accept="application/x-ndjson")[1]

    answer, body = raw(served, path, coding, Accept="application/x-ndjson")

    assert answer.headers["Content-Encoding"] == coding
    assert plain(coding, body) == expected != b""


@pytest.mark.parametrize("coding", CODINGS)
def test_each_event_of_a_live_stream_can_be_read_when_it_comes(served: Served, kept: str, coding: Coding) -> None:
    headers = {"Accept": "text/event-stream", "Accept-Encoding": coding}
    after = served.get(f"/v2/users/{kept}/goals")["position"]
    with served.client.stream("GET", f"/v2/users/{kept}/events?after={after}", headers=headers) as answer:
        assert answer.headers["Content-Encoding"] == coding
        parts, read, text = answer.iter_raw(), Reader(coding).read, b""
        for number in range(3):
            goal = served.make_goal(kept, f"live {number}")["id"]
            while goal.encode() not in text:
                text += read(next(parts))


def test_what_may_hold_a_secret_stays_plain(guarded: Served) -> None:
    served = guarded
    made = [
        served.client.post(
            "/v2/tokens", json={"name": f"{number} {'a' * 60}", "scope": "read"}, headers={"Accept-Encoding": "br"}
        )
        for number in range(20)
    ]
    listed = served.client.get("/v2/tokens", headers={"Accept-Encoding": "br"})

    assert {one.status_code for one in made} == {201}
    assert [one.headers.get("Content-Encoding") for one in (*made, listed)] == [None] * 21
    assert "Accept-Encoding" not in listed.headers["Vary"]
    assert len(listed.content) > 1024


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        ("", None), ("identity", None), ("*", "zstd"), ("gzip", "gzip"), ("x-gzip", "gzip"), ("GZIP", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"), ("gzip, deflate, br", "br"), ("deflate", None), ("br;q=0", None),
        ("gzip;q=1.0, br;q=0.5", "gzip"), ("gzip;q=0.5, *;q=0.6, zstd;q=0", "br"), ("*;q=0", None),
        ("gzip;q=0.5, identity;q=0.6", None), ("gzip ; Q=0.5", "gzip"), ("br;q=nonsense", None), ("br;q=nan", None),
        ("br;q=-1", None), (",;,=;", None), ("gzip," * 1000, None),
    ],
)  # fmt: skip
def test_the_client_ranks_the_codings(header: str, coding: Coding | None) -> None:
    assert best(header) == coding


@given(st.text(st.characters(codec="latin-1"), max_size=80) | st.text(',;=q*brgzipstd01. "', max_size=80))
def test_whatever_is_asked_for_there_is_an_answer(header: str) -> None:
    assert best(header) in (None, *CODINGS)


@given(st.lists(st.binary(max_size=300), max_size=8), st.sampled_from(CODINGS))
def test_each_part_of_a_stream_can_be_read_as_soon_as_it_is_there(parts: list[bytes], coding: Coding) -> None:
    made, read = packer(coding), Reader(coding).read

    for part in parts:
        assert read(made.flushed(part)) == part
    assert read(made.end()) == b""


@pytest.mark.parametrize("coding", CODINGS)
def test_large_ones_are_the_same_too(coding: Coding) -> None:
    data = b"".join(b"line %d\n" % number for number in range(LARGE_BYTES))

    assert plain(coding, packed(data, coding)) == data
