"""A training that goes wrong as it is told to: `python -m tests.training.pretender <attempt's folder> <what>`.

It speaks over the real line to the real supervisor and does not load torch, so that what a supervisor makes of a
process's end is tested in a moment.
"""

import os
import signal
import sys
import time
from pathlib import Path

from training.engine.line import Line, read_spec


def step(line: Line, number: int, total: int = 4) -> None:
    line.tell("metric", metric={"kind": "train", "step": number, "epoch": 0.5, "loss": 2.0})
    line.tell("step", step=number, total=total, epoch=0.5, seconds_left=0.0)


def main(folder: Path, what: str) -> None:
    spec = read_spec(folder)
    line = Line(spec["address"], 0, spec["patience"])
    if what.startswith("failed:"):
        _, kind, message = what.split(":", 2)
        line.tell(
            "failed", kind=kind, message=message, type="KeyError", traceback=f"Traceback ...\nKeyError: {message}"
        )
    elif what.startswith("signal:"):
        step(line, 1)
        print("the last words", flush=True)
        os.kill(os.getpid(), getattr(signal, what.split(":")[1]))
    elif what == "silent exit":
        print("the last words", flush=True)
        os._exit(3)
    elif what == "hangs":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (folder / "pid").write_text(str(os.getpid()))
        step(line, 1)
        time.sleep(600)
    elif what == "slow steps":
        for number in range(1, 5):
            step(line, number)
            time.sleep(0.7)
        finish(folder, line)
    elif what in ("bad check", "unmergeable"):
        (folder / "adapter").mkdir()
        (folder / "adapter" / "adapter_config.json").write_text('{"peft_type": "LORA"}')
        finish(folder, line, "header too small" if what == "bad check" else "")
    else:
        raise ValueError(what)


def finish(folder: Path, line: Line, error: str = "") -> None:
    (folder / "adapter").mkdir(exist_ok=True)
    check = {"ok": not error, "prompt": "p", "output": "o", "seconds": 0.1, "error": error}
    line.tell("done", adapter=str(folder / "adapter"), figures={"steps": 4}, load_check=check)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
