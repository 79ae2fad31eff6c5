"""The OpenAPI 3.1 document, made from the routes and from the types that decode their requests."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from es_goals import __version__
from es_goals.http.describe.operation import UNSURE, Operation
from es_goals.http.edge.cookies import SECURE_NAME
from es_goals.http.problems import PROBLEM_JSON, PROBLEMS, ProblemAnswer
from es_goals.http.requests import Time

Json = dict[str, Any]
Routes = Iterable[tuple[str, object]]

METHODS = ("get", "post", "put", "patch", "delete")
_TAGS: Mapping[str, str] = {
    "users": "Users and their passwords.",
    "sessions": "Signing in and out.",
    "tokens": "API tokens, for programs.",
    "goals": "Trees of goals, as they are and as they were, and every command on them.",
    "drafts": "Commands on goals to look at before they are done.",
    "events": "The log: who did what, when and why.",
    "log": "Proofs about the log: checkpoints, and that it has an event, and only grew.",
    "projections": "The read models: how they stand, and rebuilding them while they serve.",
    "verifications": "Checking the log and the read models while they serve.",
    "operations": "What an operator's tools ask.",
    "original": "The original API, /v1.0, which goes on working.",
}
_REF = "#/components/schemas/{name}"
_ALWAYS = ("foreign-origin", "target-too-long", "misdirected", "head-too-large")
_SIGNED_IN = ("unauthenticated", "forbidden")
_COUNTED = ("too-many-requests",)
_SECURITY: list[Json] = [{"bearer": []}, {"header": []}, {"cookie": []}]
_SCHEMES: Json = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A session's or an API token; none while open.",
    },
    "header": {"type": "apiKey", "in": "header", "name": "Access-Token", "description": "The same."},
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": SECURE_NAME,
        "description": "A session's token, which a browser keeps; `es-goals` over plain http on this machine.",
    },
}
_WITH_QUERY = ("malformed-request", "invalid-value")
_WITH_BODY = ("malformed-request", "request-timeout", "body-too-large", "media-type", "invalid-value")
_COMMAND = ("changed", "key-reused", "limit-reached", "took-too-long", *UNSURE)
_HEADERS: Mapping[str, tuple[str, Json]] = {
    "Idempotency-Key": (
        "A repeat with the same key gives the first answer.",
        {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    ),
    "X-Reason": ("Why, percent-encoded UTF-8; recorded with the events.", {"type": "string", "pattern": "^[ -~]*$"}),
    "If-Match": (
        'The tag last seen, or a goal\'s revision as "r3"; refused with 412 if the goal has changed since.',
        {"type": "string"},
    ),
}
_CHALLENGE: Json = {"description": "How to sign in.", "required": True, "schema": {"type": "string"}}
_WAIT: Json = {"description": "Seconds until another try may fare better.", "required": True,
               "schema": {"type": "integer", "minimum": 1}}  # fmt: skip
_WITH_PROBLEM: Mapping[int, Json] = {
    401: {"WWW-Authenticate": _CHALLENGE},
    429: {"Retry-After": _WAIT},
    503: {"Retry-After": _WAIT},
}
_PATH: Mapping[str, tuple[str, Json]] = {
    "user": ("A user's name or id", {"type": "string", "minLength": 1}),
    "goal_id": ("A goal's id", {"type": "string", "format": "uuid"}),
    "name": ("A read model's name", {"type": "string", "minLength": 1}),
    "session_id": ("A session's id", {"type": "string", "format": "uuid"}),
    "token_id": ("An API token's id", {"type": "string", "format": "uuid"}),
    "verification_id": ("A verification's id", {"type": "string", "format": "uuid"}),
    "draft_id": ("A draft's id", {"type": "string", "format": "uuid"}),
    "slug": ("A problem's name", {"type": "string", "minLength": 1}),
}


def document(routes: Routes) -> Json:
    """What the routes say of themselves. Handlers without an `operation` are left out."""
    operations = list(_operations(routes))
    types: list[Any] = [ProblemAnswer]
    for _, _, one in operations:
        types += [kind for kind in (one.body, one.query, *_kinds(one)) if kind is not None]
    schemas, components = msgspec.json.schema_components(types, schema_hook=_schema, ref_template=_REF)
    schema_of = {id(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: Json = {}
    for path, method, one in operations:
        paths.setdefault(path, {})[method] = _operation(path, method, one, schema_of, components)
    used = {name: schema for name, schema in components.items() if not name.endswith("Query")}
    info = {"title": "Over Achiever", "version": __version__, "description": "An event-sourced goal service."}
    return _plainly_named(
        {
            "openapi": "3.1.0",
            "info": info,
            "servers": [{"url": "/", "description": "This service."}],
            "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
            "paths": paths,
            "components": {"schemas": used, "securitySchemes": _SCHEMES},
        }
    )


def _plainly_named(document: Json) -> Json:
    """The same with names of schemas that every generator of clients takes: those of generic types have dots."""
    text = msgspec.json.encode(document).decode()
    for name in document["components"]["schemas"]:
        plain = re.sub(r"\W", "_", name)
        text = text.replace(f'"{name}":', f'"{plain}":').replace(
            _REF.format(name=f'{name}"'), _REF.format(name=f'{plain}"')
        )
    plainly: Json = msgspec.json.decode(text)
    return plainly


def _schema(kind: type[Any]) -> Json:
    if kind is Time:
        return {"type": "string", "format": "date-time"}
    raise NotImplementedError


def _operations(routes: Routes) -> Iterable[tuple[str, str, Operation]]:
    for path, resource in routes:
        for method in METHODS:
            handler = getattr(resource, f"on_{method}", None)
            if handler is not None and hasattr(handler, "operation"):
                yield path, method, handler.operation


def _operation(path: str, method: str, one: Operation, schema_of: Mapping[int, Json], components: Json) -> Json:
    made: Json = {"summary": one.summary, "operationId": _operation_id(path, method), "tags": [_tag(path)]}
    if one.text:
        made["description"] = one.text
    made["parameters"] = [
        {"name": name, "in": "path", "required": True, "description": _PATH[name][0], "schema": _PATH[name][1]}
        for name in re.findall(r"\{(\w+)\}", path)
    ]
    if one.query is not None:
        made["parameters"] += _query(schema_of[id(one.query)], components)
    for name in _HEADERS if one.command else ["If-Match"] if one.tagged else []:
        text, schema = _HEADERS[name]
        made["parameters"].append({"name": name, "in": "header", "description": text, "schema": schema})
    if one.body is not None:
        example = {} if one.example is None else {"example": one.example}
        schema = {} if one.body is bytes else schema_of[id(one.body)]
        content = {kind: {"schema": schema, **example} for kind in one.media_types}
        made["requestBody"] = {"required": one.body is bytes or bool(_resolved(schema, components).get("required"))}
        made["requestBody"]["content"] = content
    made["security"] = {"nobody": [], "registration": [{}, *_SECURITY], "checkpoint": [{}, *_SECURITY]}.get(
        one.needs, _SECURITY
    )
    made["responses"] = {**_answers(one, schema_of), **_problems(one)}
    return made


def _kinds(one: Operation) -> Iterable[Any]:
    return (kind for answer in one.answers.values() for kind in _several(answer))


def _several(kind: Any) -> tuple[Any, ...]:
    return kind if isinstance(kind, tuple) else () if kind is None else (kind,)


def _tag(path: str) -> str:
    """The first of _TAGS that a path's parts name, from the last one on."""
    parts = path.split("/")
    return next((part for part in reversed(parts) if part in _TAGS), "original" if "v1.0" in parts else "operations")


def _operation_id(path: str, method: str) -> str:
    return method + "".join(part.title() for part in re.findall(r"[a-z0-9]+", path))


def _query(schema: Json, components: Json) -> list[Json]:
    properties: Json = _resolved(schema, components).get("properties", {})
    return [
        {"name": name, "in": "query", "description": property.get("description", ""), "schema": _given(property)}
        for name, property in properties.items()
    ]


def _given(property: Json) -> Json:
    """A parameter's schema: in a query string nothing is null."""
    options = [one for one in property.get("anyOf", []) if one != {"type": "null"}]
    return options[0] if len(options) == 1 else property


def _resolved(schema: Json, components: Json) -> Json:
    found: Json = components[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return found


def _answers(one: Operation, schema_of: Mapping[int, Json]) -> Json:
    answers: Json = {}
    for status, kind in one.answers.items():
        schemas = [schema_of[id(one_kind)] for one_kind in _several(kind)]
        schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas} if schemas else {}
        content = {media: {"schema": schema if media == "application/json" else {}} for media in one.produces}
        answers[str(status)] = {"description": "done", **({} if status in (204, 302) else {"content": content})}
    if one.conditional:
        answers["304"] = {"description": "nothing has changed since the tag in If-None-Match"}
    return answers


def _problems(one: Operation) -> Json:
    slugs = [*one.problems, *_ALWAYS, *(_SIGNED_IN if one.needs != "nobody" else ())]
    slugs += () if one.uncounted else _COUNTED
    slugs += _WITH_BODY if one.body is not None or one.command else ()
    slugs += _WITH_QUERY if one.query is not None else ()
    slugs += _COMMAND if one.command else ("changed", "limit-reached", "took-too-long", *UNSURE) if one.tagged else ()
    by_status: dict[int, list[str]] = {}
    for slug in dict.fromkeys(slugs):
        by_status.setdefault(PROBLEMS[slug].status, []).append(PROBLEMS[slug].title)
    content = {PROBLEM_JSON: {"schema": {"$ref": _REF.format(name="ProblemAnswer")}}}
    message = {"type": ["string", "object"], "additionalProperties": {"type": "string"}}
    old = {**content, "application/json": {"schema": {"type": "object", "properties": {"message": message}}}}
    return {
        str(status): {
            "description": " · ".join(titles),
            "content": old if one.original and status in (400, 401) else content,
            **({"headers": _WITH_PROBLEM[status]} if status in _WITH_PROBLEM else {}),
        }
        for status, titles in sorted(by_status.items())
    }
