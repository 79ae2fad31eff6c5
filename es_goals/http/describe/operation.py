"""What a handler is for, written beside it: the OpenAPI document is made from this."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from msgspec import Struct

F = TypeVar("F", bound=Callable[..., Any])


class Operation(Struct, frozen=True):
    """`body`, `query`: the types that decode the request; `answers`: status to type (None: not of one, a tuple: of
    one of them); `problems`: slugs it may answer; `command`: takes keys, reasons and preconditions;
    `tagged`: takes If-Match, though it is no command.

    `needs`, where there are accounts: `nobody` signed in; `registration`, nobody or an administrator, as is set;
    `checkpoint`, nobody or a user, as is set; a `user`; a user for the sake of one's own `credentials`, which auditors
    change too; an `auditor`, who reads all; an `administrator`. Which data a user may see is for the look-ups to say.
    `uncounted`: asked by what watches the service, however often. `text`: the handler's own words; `example`: a
    body."""

    summary: str
    answers: Mapping[int, Any]
    body: Any = None
    query: Any = None
    problems: tuple[str, ...] = ()
    media_types: tuple[str, ...] = ("application/json",)
    command: bool = False
    tagged: bool = False
    conditional: bool = False
    produces: tuple[str, ...] = ("application/json",)
    original: bool = False
    needs: Literal["nobody", "registration", "checkpoint", "user", "credentials", "auditor", "administrator"] = "user"
    uncounted: bool = False
    text: str = ""
    example: Mapping[str, Any] | None = None


UNSURE = ("outcome-unknown", "storage-unavailable", "storage-full")
"""What any change may be answered where the storage fails."""

NOBODY = Operation("", {}, needs="nobody")
"""Of what describes itself elsewhere, or not at all, and is for everybody."""


def operation(summary: str, answers: Mapping[int, Any], **details: Any) -> Callable[[F], F]:
    """Attach an Operation to a handler."""

    def attach(handler: F) -> F:
        handler.operation = Operation(summary, answers, text=handler.__doc__ or "", **details)  # type: ignore[attr-defined]
        return handler

    return attach
