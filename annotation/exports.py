"""Files written from a project's rows."""

from annotation.jobs import JobError
from annotation.models import Export


def run(job: Export) -> dict:
    raise JobError("Exports are being built.")
