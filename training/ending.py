"""The end of a run: what the training left is put in its place, merged if asked, described, and stored.

Called by the runner when the training's process is done. Does not import torch.

A result that cannot be loaded is none: where the load check of the trained weights fails, the run fails with that
sentence. Its files stay, and can be downloaded, because they may be hours of a GPU's work. Where only the merged model
fails, the run is finished: its adapter works, and the page says why there is no merged model.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from django.conf import settings

from annotation.jobs import JobError, patiently
from training import artifacts, launching, model_card
from training.models import Run

FINISHED = "finished.json"  # in a run's folder: what to store of a run whose files are all there


def complete(run: Run, record: Any, folder: Path, base_folder: Path, done: dict[str, Any]) -> dict[str, Any]:
    """Bring a training to its end. Returns the columns to store.

    Args:
        record: the runner's, for the log and for the lease. folder: of the attempt. done: what the training said last:
        `adapter` (a folder), `figures`, `load_check`.
    Raises:
        JobError: what was saved cannot be loaded.
    """
    patiently(run.beat)
    patiently(
        lambda: run.refresh_from_db(fields=["parameters", "library_versions", "device"])
    )  # what it told meanwhile
    for name in ("adapter", "merged"):
        shutil.rmtree(run.folder / name, ignore_errors=True)
    Path(done["adapter"]).rename(run.adapter)
    checks = {"adapter": done["load_check"], "merged": None}
    if checks["adapter"]["ok"] and run.parameters.get("merge"):
        checks["merged"] = _merge(run, record, folder, base_folder, checks["adapter"]["prompt"])
    has_merged = bool(checks["merged"] and checks["merged"]["ok"])
    # The attempt that made the files: another may have to say that they are there.
    run.figures = done["figures"] | {"load_check": checks, "attempt": run.attempt}
    record.say("Storing the adapter")
    _describe(run, has_merged)
    for name in ("adapter", *(["merged"] if has_merged else [])):
        artifacts.put_result(run, name, record.tick)
    if not checks["adapter"]["ok"]:
        record.store(figures=run.figures, has_adapter=True)
        raise JobError(
            f"What was trained cannot be used: {checks['adapter']['error']}. The files are kept for a look at them."
        )
    record.log(f"Finished after {done['figures']['steps']} steps.")
    columns = {
        "figures": run.figures,
        "has_adapter": True,
        "has_merged": has_merged,
        "message": "Adapter and merged model stored" if has_merged else "Adapter stored",
        "seconds_left": 0,
    }
    (run.folder / FINISHED).write_text(json.dumps(columns))
    artifacts.put_note(run, FINISHED)
    return columns


def completed(run: Run) -> dict[str, Any] | None:
    """The columns of an attempt that got to the end but could not say so."""
    try:
        return json.loads((run.folder / FINISHED).read_text())
    except (OSError, ValueError):
        return None


def _merge(run: Run, record: Any, folder: Path, base_folder: Path, prompt: str) -> dict[str, Any] | None:
    """Merge in a process of its own. Returns its load check, with the reason where there is no merged model; None where
    the method leaves nothing to merge.
    """
    config = run.adapter / "adapter_config.json"
    if not config.is_file() or json.loads(config.read_text())["peft_type"] != "LORA":
        record.log("Only low-rank adapters can be merged with their base model: there is no merged model.")
        return None
    record.say("Merging with the base model")
    place = folder / "merging"
    place.mkdir(exist_ok=True)
    spec = {
        "adapter": str(run.adapter),
        "base_folder": str(base_folder),
        "merged": str(run.folder / "merged"),
        "prompt": prompt,
        "max_length": run.parameters["max_length"],
        "remote_code": bool(run.parameters.get("remote_code")),
        "patience": settings.JOB_LEASE_SECONDS,
    }
    command = [sys.executable, "-m", "training.engine.finishing", str(place)]
    failed: dict[str, Any] = {"ok": False, "prompt": prompt, "output": "", "seconds": 0.0}
    with launching.Launch(command, place, spec, cwd=settings.BASE_DIR) as launch:
        while not launch.has_ended():
            event = launch.next(0.1) or {"event": ""}
            match event["event"]:
                case "done":
                    record.log(_said(event["check"]))
                    return event["check"]
                case "failed":
                    record.log(event["traceback"].rstrip())
                    return failed | {"error": f"merging failed ({event['type']}); the log has the details"}
                case "log":
                    record.log(event["line"])
            if record.tick():
                launch.greet()
        record.log(launch.last_words())
    return failed | {
        "error": "merging ended without a word, most likely for lack of memory: the base model in 16 bit needs more"
    }


def _said(check: dict[str, Any]) -> str:
    if not check["ok"]:
        return f"No merged model: {check['error']}."
    return (
        f"The merged model generates; its logits differ from the adapter's by at most {check['max_difference']} of the "
        f"largest (allowed: {check['tolerance']})."
    )


def _describe(run: Run, has_merged: bool) -> None:
    """Model card, recipe and figures beside the weights."""
    recipe = {"parameters": run.parameters, "library_versions": run.library_versions}
    for name in ("adapter", *(["merged"] if has_merged else [])):
        folder = run.folder / name
        (folder / "README.md").write_text(model_card.text(run, merged=name == "merged"), encoding="utf-8")
        (folder / "recipe.json").write_text(json.dumps(recipe, indent=2) + "\n")
        (folder / "metrics.json").write_text(json.dumps(run.figures, indent=2) + "\n")
