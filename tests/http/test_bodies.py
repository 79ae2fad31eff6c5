"""Bodies that cannot be read, or would take long to: refused, in time, and nothing comes of them."""

import gzip

import pytest

from tests.support.serving import Served, in_time, refused

pytestmark = pytest.mark.usefixtures("told_in_the_log")

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=x"}


@pytest.mark.parametrize(
    "body",
    [
        b"{", b'{"name": x}', b"{'name':'a'}", b'{"name":"a"', b'{"name":"a",}', b'{"name":"a"} {}', b"name=x",
        b"\0", b'{"name":"a"}\0', b'\0{"name":"a"}', b"\xef\xbb\xbf{}", b'\xef\xbb\xbf{"name":"a"}',
        '{"name":"a"}'.encode("utf-16"), '{"name":"a"}'.encode("utf-32"), b'{"\xff":1}', b'{"name": "\xff"}',
        b'{"name": "\xed\xa0\x80"}', b'{"\xed\xa0\x80":1}', rb'{"name": "\ud800"}', rb'{"\ud800":1}',
        b"\x1f\x8b\x08\0\0\0\0\0",
    ],
    ids=lambda body: repr(body[:20]),
)  # fmt: skip
def test_a_body_that_is_no_json_in_utf8_is_refused(served: Served, user: str, body: bytes) -> None:
    for path in ("/v2/users", f"/v2/users/{user}/goals", "/v1.0/goals"):
        refused(served.client.post(path, content=body, headers=JSON), 400, "malformed-request")


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain", "application/xml", "application/x-www-form-urlencoded", "application/json; charset=latin-1",
        "application/json; charset=utf-16", "application/merge-patch+json", "application/problem+json", "text/json",
        "application/json, text/html", "json", "", ";;;",
    ],
)  # fmt: skip
def test_another_media_type_is_refused(served: Served, user: str, media_type: str) -> None:
    path, headers = f"/v2/users/{user}/goals", {"Content-Type": media_type}

    refused(served.client.post(path, content=b'{"name": "x"}', headers=headers), 415, "media-type")


@pytest.mark.parametrize(
    "media_type", ["application/json", "APPLICATION/JSON;Charset=UTF-8", 'application/json; charset="utf-8"']
)
def test_json_is_taken_however_it_is_written(served: Served, user: str, media_type: str) -> None:
    path, headers = f"/v2/users/{user}/goals", {"Content-Type": media_type}

    assert served.client.post(path, content=b'{"name": "x"}', headers=headers).status_code == 201


@pytest.mark.parametrize(
    "coding", ["gzip", "GZIP", "x-gzip", "deflate", "br", "zstd", "identity, gzip", "gzip, identity"]
)
def test_a_compressed_body_is_refused_whatever_is_in_it(served: Served, user: str, goal: str, coding: str) -> None:
    headers = {**JSON, "Content-Encoding": coding}

    for body in (b'{"name": "x"}', gzip.compress(b'{"name": "x"}'), b""):
        for method, path in (
            ("POST", "/v2/users"),
            ("POST", f"/v2/users/{user}/goals"),
            ("PATCH", f"/v2/goals/{goal}"),
        ):
            answer = served.client.request(method, path, content=body, headers=headers)
            assert coding in refused(answer, 415, "media-type")["detail"]
    assert [one["name"] for one in served.get(f"/v2/users/{user}/goals")["goals"]] == ["a goal"]


def test_a_body_that_says_that_it_is_not_compressed_is_read(served: Served, user: str) -> None:
    headers = {**JSON, "Content-Encoding": "Identity"}

    assert served.client.post(f"/v2/users/{user}/goals", content=b'{"name": "x"}', headers=headers).status_code == 201


# Forms, which the original API takes.


def part(head: bytes, content: bytes = b"v") -> bytes:
    return b"--x\r\n" + head + b"\r\n\r\n" + content + b"\r\n--x--\r\n"


DISPOSITION = b"Content-Disposition: form-data; name=name"
FORMS = {
    "unfinished parameter": part(b"Content-Disposition: form-data; nameboundary*"),
    "nested comments": part(b"Content-Disposition: form-data" + b"(" * 20_000),
    "nested comments in an encoding": part(b"Content-Transfer-Encoding: " + b"(" * 20_000 + b"\r\n" + DISPOSITION),
    "nested messages": b"--x\r\n" + b"Content-Type: message/rfc822\r\n\r\n" * 5_000,
    "nested parts": b"".join(b"--x\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n" for _ in range(2_000)),
    "parts in parts": b"--x\r\nContent-Type: multipart/mixed; boundary=y0\r\n\r\n"
    + b"".join(b"--y%d\r\nContent-Type: multipart/mixed; boundary=y%d\r\n\r\n" % (n, n + 1) for n in range(2_000)),
    "many parameters": part(b"Content-Disposition: form-data; name=a" + b";a=b" * 60_000),
    "many continuations": part(b"Content-Disposition: form-data" + b"".join(b";name*%d=a" % n for n in range(20_000))),
    "many encoded words": part(b'Content-Disposition: form-data; name="' + b"=?utf-8?q?a?= " * 20_000 + b'"'),
    "many fields": part(b"".join(b"X-%d: y\r\n" % n for n in range(50_000)) + DISPOSITION),
    "many parts": (b"--x\r\n" + DISPOSITION + b"\r\n\r\nv\r\n") * 15_000 + b"--x--\r\n",
    "a long field": part(b"X: " + b"y" * 900_000 + b"\r\n" + DISPOSITION),
    "no field": b"--x\r\n\r\nv\r\n--x--\r\n",
    "no end": b"--x\r\n" + DISPOSITION + b"\r\n\r\nv",
    "nothing": b"",
    "only dashes": b"--x" * 200_000,
    "unknown charset": part(b"Content-Type: text/plain; charset=x-nothing\r\n" + DISPOSITION),
    "bad base64": part(b"Content-Transfer-Encoding: base64\r\n" + DISPOSITION, b"!" * 1000),
    "not utf-8": part(DISPOSITION, b"\xff"),
    "a NUL in a name": part(b'Content-Disposition: form-data; name="na\0me"'),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_hostile_form_is_refused_in_time(served: Served, form: str) -> None:
    answer = in_time(served.client.post("/v1.0/goals", content=FORMS[form], headers=MULTIPART))

    assert answer.status_code in (400, 404, 413, 422), answer.text
    assert isinstance(answer.json()["message"], str)


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\xff",
        "multipart/form-data;boundary*",
        "multipart/form-data; boundary=" + "x" * 5000,
        "multipart/form-data; boundary*0*=x",
        "multipart/form-data" + "(" * 3000,
        "multipart/form-data; " + "a=b;" * 1800,
        'multipart/form-data; boundary="x',
        "multipart/form-data; boundary=x; charset=x-nothing",
    ],
    ids=lambda kind: ascii(kind)[:60],
)
def test_a_hostile_type_of_form_is_refused_in_time(served: Served, kind: str) -> None:
    headers = {"Content-Type": kind.encode("latin-1")}

    answer = served.client.post("/v1.0/goals", content=part(DISPOSITION), headers=headers)  # type: ignore[arg-type]

    assert in_time(answer).status_code in (400, 415, 422), answer.text
    assert isinstance(answer.json()["message"], str)


@pytest.mark.parametrize(
    "body", [b"&" * 1_000_000, b"a=b&" * 200_000, b"%" * 1_000_000, b"a" * 1_000_000, b"name=%0d%0a&user=%00"]
)
def test_a_hostile_simple_form_is_refused_in_time(served: Served, body: bytes) -> None:
    answer = in_time(served.client.post("/v1.0/goals", content=body, headers=FORM))

    assert answer.status_code in (400, 404, 422), answer.text
    assert isinstance(answer.json()["message"], str)
