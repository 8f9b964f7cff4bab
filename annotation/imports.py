"""Texts from uploaded files."""

from annotation.jobs import JobError
from annotation.models import ItemImport


def run(job: ItemImport) -> dict:
    raise JobError("Imports are being built.")
