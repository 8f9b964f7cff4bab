"""Access tokens taken out of what is stored, shown or logged."""

import logging
import os
import re

SHOWN = "[token]"
# Tokens of the Hugging Face hub, what follows the word in an Authorization header that a server echoes, and the links
# of reviewers without an account.
_TOKENS = re.compile(r"\bhf_[A-Za-z0-9]{12,}|(?<=Bearer )[A-Za-z0-9._~+/=-]{12,}|(?<=/review/)[A-Za-z0-9_%-]{20,}")
_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


def holds_token(text: str) -> bool:
    """Whether somebody wrote an access token where it would be stored."""
    return bool(_TOKENS.search(text))


def redact(text: str) -> str:
    """The text with [token] in the place of access tokens: those of this process's environment, and all that look like
    one.
    """
    for variable in _VARIABLES:
        token = os.environ.get(variable, "").strip()
        if len(token) >= 4:
            text = text.replace(token, SHOWN)
    return _TOKENS.sub(SHOWN, text)


class RedactingFormatter(logging.Formatter):
    """A formatter whose lines, tracebacks too, hold no access token."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))
