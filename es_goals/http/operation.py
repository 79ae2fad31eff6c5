"""What a handler is for, written beside it: the OpenAPI document is made from this."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from msgspec import Struct

F = TypeVar("F", bound=Callable[..., Any])


class Operation(Struct, frozen=True):
    """`body`, `query`: the types that decode the request; `answers`: status to type (None: not of one, a tuple: of
    one of them); `problems`: slugs it may answer; `command`: takes keys, reasons and preconditions."""

    summary: str
    answers: Mapping[int, Any]
    body: Any = None
    query: Any = None
    problems: tuple[str, ...] = ()
    media_types: tuple[str, ...] = ("application/json",)
    command: bool = False
    conditional: bool = False
    produces: tuple[str, ...] = ("application/json",)
    original: bool = False


def operation(summary: str, answers: Mapping[int, Any], **details: Any) -> Callable[[F], F]:
    """Attach an Operation to a handler."""

    def attach(handler: F) -> F:
        handler.operation = Operation(summary, answers, **details)  # type: ignore[attr-defined]
        return handler

    return attach
