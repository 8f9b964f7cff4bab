"""A training's process: `python -m training.engine <attempt's folder>`, alone or one of several under torchrun.

The folder holds `spec.json` and `rows.jsonl`. Everything the training has to tell goes over the line to the supervising
process: its first word is `hello`, its last `done` or `failed`. The exit status says only whether it failed.
"""

import errno
import faulthandler
import json
import os
import shutil
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training.engine.checkpoints import TOLD
from training.engine.line import Line, read_spec
from training.engine.reports import Reports
from training.parameters import RunParameters


def main() -> int:
    faulthandler.enable()
    folder = Path(sys.argv[1])
    spec = read_spec(folder)
    rank = int(os.environ.get("RANK", "0"))
    line = Line(spec["address"], rank, spec["patience"])
    try:
        _train(folder, spec, line, rank)
    except BaseException as error:
        line.tell("failed", kind=_kind(error, folder), message=str(error), type=type(error).__name__,
                  traceback=traceback.format_exc())  # fmt: skip
        return 1
    return 0


def _train(folder: Path, spec: dict, line: Line, rank: int) -> None:
    from training.engine import finishing, loading, trainer  # after hello: this takes seconds
    from training.prompts import render

    parameters = RunParameters.from_json(spec["parameters"])
    _check_devices(parameters)
    if rank == 0:
        line.tell("started", device=loading.device(), library_versions=loading.library_versions())
    rows: dict[str, list[trainer.Row]] = {"train": [], "validation": []}
    with (folder / "rows.jsonl").open(encoding="utf-8") as file:
        for words in file:
            split, *values = json.loads(words)
            rows[split].append(trainer.Row(*values))
    resume_from = Path(spec["resume_from"]) if spec["resume_from"] else None
    if rank == 0 and resume_from and (resume_from / TOLD).exists():
        shutil.copyfile(resume_from / TOLD, folder / TOLD)
    result = trainer.train(
        parameters,
        rows,
        Path(spec["base_folder"]),
        folder,
        _reports(line, folder / TOLD),
        resume_from,
    )
    if rank == 0:
        text = (rows["validation"] or rows["train"])[0].text
        prompt = render(parameters.prompt_template, text, parameters.examples)
        checked = finishing.check(result.adapter, Path(spec["base_folder"]), prompt, parameters)
        line.tell("log", line=checked.sentence)
        line.tell("done", adapter=str(result.adapter), figures=result.figures, load_check=asdict(checked))
    else:
        line.tell("bye")


def _reports(line: Line, told: Path) -> Reports:
    """Points and samples are kept beside the checkpoints, too: a checkpoint has everything that led to it.

    Of several processes `trainer.train` lets only the first one tell.
    """

    def keep(event: str, **values: Any) -> None:
        with told.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": event, **values}) + "\n")
        line.tell(event, **values)

    return Reports(
        tick=lambda: None,  # cancelling ends the process
        step=lambda step, total, epoch, left: line.tell("step", step=step, total=total, epoch=epoch, seconds_left=left),
        metric=lambda metric: keep("metric", metric=asdict(metric)),
        samples=lambda samples: keep("samples", samples=[asdict(sample) for sample in samples]),
        log=lambda words: line.tell("log", line=words),
    )


def _check_devices(parameters: RunParameters) -> None:
    """Refuse what this machine cannot run, before a model is loaded."""
    import torch

    from training.engine.loading import TrainingError

    if parameters.processes == 1:
        return
    if gpus := torch.cuda.device_count():
        if parameters.processes > gpus:
            raise TrainingError(
                f"The recipe asks for {parameters.processes} processes, one a GPU, and the worker has {gpus}: set "
                f"processes to {gpus}."
            )
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    elif parameters.sharding == "fsdp":
        raise TrainingError("Sharing a model between processes by FSDP needs GPUs, and the worker has none: take ddp.")
    elif parameters.processes > (cores := len(os.sched_getaffinity(0))):
        raise TrainingError(
            f"The recipe asks for {parameters.processes} processes, and the worker has no GPU and {cores} processor "
            f"cores: set processes to {cores} or less."
        )


def _kind(error: BaseException, folder: Path) -> str:
    """Which of the foreseen failures this is: `training`, `gpu memory`, `memory`, `disk`; else `unexpected`."""
    words = str(error).lower()
    if type(error).__name__ == "TrainingError":  # nothing may be imported here: there may be no memory for it
        return "training"
    if isinstance(error, MemoryError) or "can't allocate memory" in words or "cannot allocate memory" in words:
        return "memory"
    if "out of memory" in words or type(error).__name__ == "OutOfMemoryError":
        return "gpu memory"
    # safetensors and torch.save wrap the system's error in one of their own
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    nearly = "pytorchstreamwriter" in words and shutil.disk_usage(folder).free < 64 * 2**20
    return "disk" if full or nearly or "no space left" in words else "unexpected"


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # everything is said and stored; taking torch down in order takes seconds, and can hang
