"""REST routes of the annotation application."""

from annotation.api import items, jobs, pairs, projects, record, votes, wellbeing, work


def register(router) -> None:
    for part in (projects, record, items, pairs, jobs, work, votes, wellbeing):
        part.register(router)
