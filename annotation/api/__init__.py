"""REST routes of the annotation application."""

from annotation.api import (
    adjudication,
    items,
    jobs,
    pairs,
    projects,
    quality,
    record,
    suggestions,
    votes,
    wellbeing,
    work,
)


def register(router) -> None:
    for part in (projects, quality, record, items, pairs, jobs, work, suggestions, votes, adjudication, wellbeing):
        part.register(router)
