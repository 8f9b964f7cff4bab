"""Read typed values from the environment, and say in one sentence what is wrong with one that cannot be read."""

import os

from django.core.exceptions import ImproperlyConfigured


def env_str(name: str, default: str | None = None) -> str:
    """The variable's value, or the default; without one the variable must be set."""
    value = os.environ.get(name, "").strip() or default
    if value is None:
        raise ImproperlyConfigured(
            f"The environment variable {name} is not set. `make run` sets it; a server of your own must."
        )
    return value


def env_bool(name: str, *, default: bool) -> bool:
    """Only `true` and `false` are accepted, so that `DEBUG=no` cannot mean yes."""
    value = os.environ.get(name, "").strip().lower()
    if value not in {"", "true", "false"}:
        raise ImproperlyConfigured(f"{name} must be true or false, not {value!r}.")
    return value == "true" if value else default


def env_int(name: str, *, default: int) -> int:
    """A whole number."""
    value = os.environ.get(name, "").strip()
    try:
        return int(value) if value else default
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.") from None


def env_list(name: str, default: str = "") -> list[str]:
    """Values separated by commas."""
    return [part.strip() for part in os.environ.get(name, default).split(",") if part.strip()]
