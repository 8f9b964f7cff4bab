"""Publish what a finished run made: into a folder of the worker, or a repository of the Hugging Face Hub.

Both are closed until an administrator opens them: folders below PUBLISH_ROOT, accounts named in PUBLISH_HUB_ACCOUNTS.
The hub's token is HF_TOKEN of the worker's environment: nothing else, never stored, logged or shown. Nothing that is
there already is overwritten, unless it was published here before by the same project.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path, PurePosixPath
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction

from annotation.jobs import JobError, JobStatus
from training import artifacts
from training.models import Publication, PublicationPlace, PublicationWhat, Run

MARK = "publication.json"  # written last into a published folder; says which publication it is
# Two names of letters, digits, ".", "_" and "-", which neither begin nor end with "." or "-" and hold no ".." or "--".
REPOSITORY = re.compile(
    r"(?!.*(\.\.|--))[A-Za-z0-9_]([\w.-]{0,94}[A-Za-z0-9_])?/[A-Za-z0-9_]([\w.-]{0,94}[A-Za-z0-9_])?"
)
CHUNK = 8 << 20


@transaction.atomic
def publish(
    run: Run, user, *, place: str, target: str, what: str = PublicationWhat.ADAPTER, public: bool = False
) -> Publication:
    """Queue a publication of the run's adapter or merged model.

    Raises:
        ValidationError: keyed by field.
    """
    from training import tasks

    errors: dict[str, Any] = {}
    if run.status != JobStatus.FINISHED or not run.has_adapter:
        raise ValidationError("Only a finished run can be published.")
    if what not in PublicationWhat.values:
        errors["what"] = f"Choose one of {', '.join(PublicationWhat.values)}."
    elif what == PublicationWhat.MERGED and not run.has_merged:
        errors["what"] = "The run has no merged model. Its recipe must ask for one."
    try:
        if place == PublicationPlace.FOLDER:
            target = check_folder(target)
        elif place == PublicationPlace.HUB:
            target = check_repository(target)
        else:
            errors["place"] = f"Choose one of {', '.join(PublicationPlace.values)}."
    except ValueError as error:
        errors["target"] = str(error)
    if errors:
        raise ValidationError(errors)
    publication = Publication(
        project_id=run.project_id,
        run=run,
        run_name=run.name,
        what=what,
        place=place,
        target=target,
        public=public and place == PublicationPlace.HUB,
        created_by=user,
        message="Waiting for a worker",
    )
    publication.full_clean()
    publication.save()
    publication.queue(tasks.execute_publication)
    return publication


def places() -> list[tuple[str, str]]:
    """Where this server may publish to: (place, how its targets read)."""
    found = []
    if settings.PUBLISH_ROOT:
        found.append((PublicationPlace.FOLDER.value, f"{settings.PUBLISH_ROOT.rstrip('/')}/…"))
    if settings.PUBLISH_HUB_ACCOUNTS:
        found.append((PublicationPlace.HUB.value, " or ".join(f"{one}/…" for one in settings.PUBLISH_HUB_ACCOUNTS)))
    return found


def check_folder(target: str) -> str:
    """The full path of a folder below PUBLISH_ROOT. A relative one is meant below it. Raises ValueError."""
    if not settings.PUBLISH_ROOT:
        raise ValueError("Publishing to folders is closed here: an administrator opens it by setting PUBLISH_ROOT.")
    root = PurePosixPath(settings.PUBLISH_ROOT)
    path = root / target.strip()
    if not target.strip() or ".." in path.parts or path == root or not path.is_relative_to(root):
        raise ValueError(f"Give a folder below {root}, without “..”.")
    if any(part.startswith(".") or not part.isprintable() for part in path.relative_to(root).parts):
        raise ValueError("Names of folders must be printable and must not begin with a dot.")
    if any(len(part.encode()) > 200 for part in path.parts):
        raise ValueError("The name of a folder has at most 200 bytes.")
    return str(path)


def check_repository(target: str) -> str:
    """A repository in an account that is open. Raises ValueError."""
    target = target.strip()
    if not settings.PUBLISH_HUB_ACCOUNTS:
        raise ValueError("Publishing to the hub is closed here: an administrator opens it with PUBLISH_HUB_ACCOUNTS.")
    if not REPOSITORY.fullmatch(target):
        raise ValueError("Give account/name, of letters, digits, “-”, “_” and “.”, for example our-team/kinder-7b.")
    if target.split("/")[0] not in settings.PUBLISH_HUB_ACCOUNTS:
        raise ValueError(f"This server publishes to {', '.join(settings.PUBLISH_HUB_ACCOUNTS)} only.")
    return target


def run(job: Publication) -> dict[str, Any]:
    """Publish. Killed and taken up again it goes on to the same end.

    Raises:
        JobError: with a sentence for people.
    """
    if job.run is None:
        raise JobError("The run was deleted before it was published.")
    job.report(0, 0, "Fetching the files")
    folder = artifacts.fetch(job.run, job.what)
    if job.place == PublicationPlace.FOLDER:
        return _to_folder(job, folder)
    return _to_hub(job, folder)


def _files(folder: Path) -> list[Path]:
    return sorted(one for one in folder.rglob("*") if one.is_file() and not one.name.startswith("."))


def _about(job: Publication) -> dict[str, Any]:
    return {"publication": job.pk, "run": job.run_id, "name": job.run_name, "what": job.what}


def _to_folder(job: Publication, folder: Path) -> dict[str, Any]:
    """Copy beside the target under another name, then rename: nobody ever sees half of it."""
    target = Path(job.target)
    root = Path(settings.PUBLISH_ROOT or "/nowhere").resolve()
    if not target.parent.resolve().is_relative_to(root) or target.resolve() == root:  # a link may lead elsewhere
        raise JobError(f"{target} is not below {root} on this worker.")
    if _is_ours(job, target):
        return {"message": "Stored", "url": str(target)}
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise JobError(f"There is something in {target} already: choose another folder.")
    half = target.with_name(f".{target.name}-{job.pk}")
    shutil.rmtree(half, ignore_errors=True)
    files = _files(folder)
    total = sum(one.stat().st_size for one in files)
    try:
        half.mkdir(parents=True)
        done = 0
        for one in files:
            copy = half / one.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            with one.open("rb") as source, copy.open("wb") as sink:
                while data := source.read(CHUNK):
                    sink.write(data)
                    done += len(data)
                    job.report(done >> 20, max(1, total >> 20), "Copying")
        (half / MARK).write_text(json.dumps(_about(job)) + "\n")
        half.rename(target)
    except OSError as error:
        raise JobError(f"{target} cannot be written on this worker: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return {"message": "Stored", "url": str(target)}


def _is_ours(job: Publication, target: Path) -> bool:
    """Whether an earlier attempt of this publication came to its end."""
    try:
        return json.loads((target / MARK).read_text())["publication"] == job.pk
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _to_hub(job: Publication, folder: Path) -> dict[str, Any]:
    if not os.environ.get("HF_TOKEN", "").strip():
        raise JobError("The worker has no token for the hub: an administrator sets HF_TOKEN in its environment.")
    order = {
        "folder": str(folder),
        "target": job.target,
        "private": not job.public,
        "ours": _published_before(job),
        "message": f"{job.run_name[:100]} (run {job.run_id})",
    }
    job.report(0, 0, "Uploading")
    with tempfile.TemporaryDirectory() as place:
        paths = [Path(place) / name for name in ("order", "result", "errors")]
        paths[0].write_text(json.dumps(order))
        with paths[0].open() as given, paths[1].open("w") as result, paths[2].open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "training.hub"],
                stdin=given, stdout=result, stderr=errors, cwd=settings.BASE_DIR,
                env=os.environ | {"HF_HUB_DISABLE_PROGRESS_BARS": "1"},
            )  # fmt: skip
            try:
                while process.poll() is None:
                    time.sleep(0.5)
                    job.beat()
            finally:
                process.kill()
                process.wait()
        try:
            answer = json.loads(paths[1].read_text())
        except ValueError:
            raise JobError(f"The upload ended without a word (status {process.returncode}).") from None
    if "refused" in answer:
        raise JobError(answer["refused"])
    # It becomes a link; what a server answers is not trusted to be an address.
    url = answer["url"] if answer["url"].startswith(("https://", "http://")) else ""
    return {"message": "Uploaded", "url": url[:700]}


def _published_before(job: Publication) -> bool:
    """By this project, from here: then a new version of it may go there."""
    earlier = Publication.objects.filter(project_id=job.project_id, place=job.place, target=job.target)
    return earlier.exclude(pk=job.pk).filter(status=JobStatus.FINISHED).exists()
