"""Let a long call that cannot be interrupted (a download, loading weights) be left behind when someone cancels."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def watched(work: Callable[[], T], tick: Callable[[], object], every: float = 0.5) -> T:
    """Run `work` in a thread and return its result; call `tick` meanwhile.

    When `tick` raises, the exception leaves here at once and the thread is abandoned: it ends with the process, which
    is why a GPU worker's process serves one task only.
    """
    outcome: dict[str, Any] = {}

    def run() -> None:
        try:
            outcome["result"] = work()
        except BaseException as error:
            outcome["error"] = error

    thread = threading.Thread(target=run, name="watched", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(every)
        tick()
    if "error" in outcome:
        raise outcome["error"]
    return outcome["result"]
