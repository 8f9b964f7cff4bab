"""REST routes of the annotation application."""

from annotation.api import items, jobs, pairs, projects, record, suggestions, votes, wellbeing, work


def register(router) -> None:
    for part in (projects, record, items, pairs, jobs, work, suggestions, votes, wellbeing):
        part.register(router)
