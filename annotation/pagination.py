"""Pages of long lists, by key instead of by offset: page one thousand costs what page one costs."""

from dataclasses import dataclass
from typing import Any

from rest_framework.pagination import CursorPagination


class ByIdPagination(CursorPagination):
    """The API's pages: newest rows last, a cursor in the `next` link."""

    ordering = "id"
    page_size = 100
    page_size_query_param = "page_size"
    max_page_size = 1000


@dataclass
class Page:
    """Rows of one page of a list in the site, and the key that the next page starts after."""

    rows: list[Any]
    next_after: int | None

    def __iter__(self):
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def page_by_id(queryset, after: str | None, size: int = 50, descending: bool = False) -> Page:
    """The `size` rows of the queryset that follow the row with id `after`, in order of id.

    `after` comes from the address bar: anything but a whole number starts from the beginning.
    """
    queryset = queryset.order_by("-pk" if descending else "pk")
    if after and after.isdecimal() and len(after) < 19:
        queryset = queryset.filter(**{"pk__lt" if descending else "pk__gt": int(after)})
    rows = list(queryset[: size + 1])
    return Page(rows[:size], rows[size - 1].pk if len(rows) > size else None)
