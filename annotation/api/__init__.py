"""REST routes of the annotation application."""

from annotation.api import work


def register(router) -> None:
    work.register(router)
