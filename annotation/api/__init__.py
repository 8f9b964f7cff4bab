"""REST routes of the annotation application."""

from annotation.api import adjudication, items, jobs, pairs, projects, record, votes, work


def register(router) -> None:
    for part in (projects, record, items, pairs, jobs, work, votes, adjudication):
        part.register(router)
