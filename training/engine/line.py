"""The line between a training's processes and the one that supervises them: JSON lines over a Unix socket.

Knows nothing of Django, and does not import torch. A socket and not a file, because what has to be said most urgently
is that the disk is full; and because both sides notice at once when the other is gone.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

SILENT = 75  # exit status of a process that ended itself because nobody supervised it any more
PR_SET_PDEATHSIG = 1


class Line:
    """The end of the line in a training's process. When the other end is gone or silent, this process ends at once.

    Two trainings of one run never go on: a supervisor that hangs, or whose database is away, stops greeting, and after
    `patience` seconds, which is the lease of its run, its processes are gone before another worker may begin.
    """

    def __init__(self, address: str, rank: int, patience: float) -> None:
        # The launcher of several processes stands between us and the supervisor: if it is killed we end too.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(address)
        self._sending = threading.Lock()
        self.tell("hello", rank=rank, pid=os.getpid())
        listener = socket.socket(fileno=os.dup(self._socket.fileno()))
        threading.Thread(target=_listen, args=(listener, patience), name="line", daemon=True).start()

    def tell(self, event: str, **values: Any) -> None:
        """Send an event. A number that is none (NaN, infinity) travels as such: both ends are Python."""
        words = json.dumps({"event": event, **values}).encode() + b"\n"
        try:
            with self._sending:
                self._socket.sendall(words)
        except OSError:
            os._exit(SILENT)


def _listen(listener: socket.socket, patience: float) -> None:
    listener.settimeout(patience)
    with contextlib.suppress(OSError):
        while listener.recv(64):
            pass
    os._exit(SILENT)  # no cleaning up: a step may take minutes, and somebody else may begin in this moment


def read_spec(folder: Path) -> dict[str, Any]:
    """What the supervisor left in an attempt's folder for its processes."""
    return json.loads((folder / "spec.json").read_text())
