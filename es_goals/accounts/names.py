"""What users and tokens may be called. Pure."""

import re

from es_goals.ids import UUID_FORM
from es_goals.values import InvalidValue, folded, refuse_controls, valid_name

NAME_LENGTH = 64
EMAIL_LENGTH = 254
_DOTS = re.compile(r"\.{1,2}")


def valid_user_name(text: str) -> str:
    """A user's name as it is kept: NFC, trimmed. Raises InvalidValue."""
    name = valid_name(text, NAME_LENGTH)
    # These could not be told from something else in a path: a slash, a step, an id.
    # Also folded, as names are compared: full-width digits are digits then.
    same = folded(name)
    if "/" in same or _DOTS.fullmatch(same) or UUID_FORM.fullmatch(same):
        raise InvalidValue("name", "a name without a slash, no UUID and not only dots", repr(name))
    return name


def valid_email(text: str | None) -> str | None:
    """An address, if there is one. Raises InvalidValue."""
    if text is None:
        return None
    refuse_controls("email", text)
    if len(text) > EMAIL_LENGTH or not re.fullmatch(r"[^@\s]+@[^@\s]+", text):
        raise InvalidValue("email", f"an address of at most {EMAIL_LENGTH} characters", repr(text[:100]))
    return text


TOKEN_NAME_LENGTH = 100


def valid_token_name(text: str) -> str:
    """What a token is for, as it is kept: NFC, trimmed. Raises InvalidValue."""
    return valid_name(text, TOKEN_NAME_LENGTH)
