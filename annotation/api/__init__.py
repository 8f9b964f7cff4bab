"""REST routes of the annotation application."""

from annotation.api import items, jobs, pairs, projects, work


def register(router) -> None:
    for part in (projects, items, pairs, jobs, work):
        part.register(router)
