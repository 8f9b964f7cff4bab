"""REST routes of the annotation application."""

from annotation.api import items, jobs, pairs, projects, record, work


def register(router) -> None:
    for part in (projects, record, items, pairs, jobs, work):
        part.register(router)
