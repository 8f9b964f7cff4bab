"""Filters of a dataset: which approved pairs, or which preferences, it would hold. As data, in words and in SQL.

`labels`: dimension key -> levels; a pair needs one of the levels in each dimension named. `target_groups`, `sources`,
`languages`: of the text, one of them. `agreement`: on every dimension of `agreement_on` (all of the project's when
that is empty), at least this share of the text's annotators chose the level that most chose; texts that nobody
annotated have no agreement and are left out. `votes`: at least so many people voted that this exact rewrite is safe
and keeps the meaning. Of preferences, `origins` are where they come from, and `votes` how many people preferred it.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Count, Exists, F, FloatField, OuterRef, Q, QuerySet
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast
from django.db.models.lookups import GreaterThanOrEqual

from annotation.models import Pair, PairStatus, Project
from annotation.validators import check_labels
from training.models import DatasetKind, Preference, PreferenceSource

ITEM_LISTS = {"target_groups": "target_group", "sources": "source", "languages": "language"}
OF_KIND = {
    DatasetKind.PAIRS: {"labels", *ITEM_LISTS, "agreement", "agreement_on", "votes"},
    DatasetKind.PREFERENCE: {"origins", *ITEM_LISTS, "votes"},
}
MAX_VALUES = 1_000
CHOICES = 60  # most frequent values that a form offers


def check_filters(project: Project, filters: Any, kind: str = DatasetKind.PAIRS) -> dict[str, Any]:
    """The filters that restrict anything, checked.

    Raises:
        ValidationError: keyed by `filters`; names the filter at fault and what it may be.
    """
    if not isinstance(filters, Mapping):
        raise _wrong("Filters map names to values, as in {“target_groups”: [“women”]}.")
    allowed = OF_KIND[DatasetKind(kind)]
    if unknown := sorted(str(name) for name in filters if name not in allowed):
        raise _wrong(f"There is no filter {unknown[0][:40]!r}; there are {', '.join(sorted(allowed))}.")
    dimensions = dict(project.dimensions.values_list("key", "levels"))
    checked: dict[str, Any] = {}
    labels = filters.get("labels") or {}
    if not isinstance(labels, Mapping):
        raise _wrong("labels must map a dimension to a list of its levels.")
    for key, levels in labels.items():
        chosen = _texts(levels, f"The levels of {str(key)[:40]}")
        for level in chosen:
            try:
                check_labels({key: level}, dimensions, complete=False)
            except ValidationError as error:
                raise _wrong(*error.messages) from None
        if chosen:
            checked.setdefault("labels", {})[key] = sorted(chosen, key=dimensions[key].index)
    for name in (*ITEM_LISTS, "origins", "agreement_on"):
        if chosen := _texts(filters.get(name) or [], name):
            checked[name] = chosen
    for name, known in (("origins", PreferenceSource.values), ("agreement_on", list(dimensions))):
        if wrong := [value for value in checked.get(name, []) if value not in known]:
            raise _wrong(f"{name} does not know {wrong[0][:40]!r}; choose among {', '.join(known)}.")
    share, votes = filters.get("agreement"), filters.get("votes")
    if share is not None:
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise _wrong(f"agreement must be a share from 0 to 1, not {str(share)[:40]}.")
        if share:
            checked["agreement"] = float(share)
    if not checked.get("agreement"):
        checked.pop("agreement_on", None)
    if votes is not None:
        if isinstance(votes, bool) or not isinstance(votes, int) or not 0 <= votes <= 1_000:
            raise _wrong(f"votes must be a whole number from 0 to 1,000, not {str(votes)[:40]}.")
        if votes:
            checked["votes"] = votes
    return checked


def _wrong(*messages: str) -> ValidationError:
    return ValidationError({"filters": list(messages)})


def _texts(values: Any, what: str) -> list[str]:
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
        raise _wrong(f"{what} must be a list of texts.")
    if len(values) > MAX_VALUES:
        raise _wrong(f"{what} may have {MAX_VALUES:,} values at most.")
    return sorted(set(values))


def approved(project: Project, filters: Mapping[str, Any] | None = None) -> "QuerySet[Pair]":
    """The pairs that a dataset of this project would hold. `filters` are checked ones."""
    filters = filters or {}
    pairs: QuerySet[Any] = Pair.objects.filter(project=project, status=PairStatus.APPROVED)
    for key, levels in filters.get("labels", {}).items():
        any_of = Q()
        for level in levels:
            any_of |= Q(labels__contains={key: level})
        pairs = pairs.filter(any_of)
    pairs = _by_item(pairs, filters)
    if share := filters.get("agreement"):
        for key in filters.get("agreement_on") or project.dimensions.values_list("key", flat=True):
            found = Cast(KeyTextTransform(key, "agreement"), FloatField())
            pairs = pairs.filter(GreaterThanOrEqual(found, share - 1e-9))
    if votes := filters.get("votes"):
        pairs = pairs.filter(votes_accepted__gte=votes)
    return pairs


def preferences(project: Project, filters: Mapping[str, Any] | None = None) -> "QuerySet[Preference]":
    """The preferences that a dataset of this project would hold: those that no other one contradicts, and of those
    from approved pairs the ones whose pair is still approved with that rewrite.
    """
    filters = filters or {}
    opposite = Preference.objects.filter(
        project=project, text=OuterRef("text"), chosen=OuterRef("rejected"), rejected=OuterRef("chosen")
    )
    holds = Pair.objects.filter(item=OuterRef("item"), status=PairStatus.APPROVED, rewrite=OuterRef("chosen"))
    found: QuerySet[Any] = Preference.objects.filter(project=project).filter(~Exists(opposite))
    found = found.filter(~Q(source=PreferenceSource.PAIRS) | Exists(holds))
    # The same preference from two sources is one row of a dataset: the first that was made.
    earlier = Preference.objects.filter(project=project, digest=OuterRef("digest"), pk__lt=OuterRef("pk"))
    if origins := filters.get("origins"):
        found, earlier = found.filter(source__in=origins), earlier.filter(source__in=origins)
    found = _by_item(found.filter(~Exists(earlier)), filters)
    if votes := filters.get("votes"):
        found = found.filter(votes__gte=votes)
    return found


def rows(project: Project, kind: str, filters: Mapping[str, Any] | None = None) -> "QuerySet[Any]":
    return approved(project, filters) if kind == DatasetKind.PAIRS else preferences(project, filters)


def _by_item(queryset: "QuerySet[Any]", filters: Mapping[str, Any]) -> "QuerySet[Any]":
    for name, column in ITEM_LISTS.items():
        if values := filters.get(name):
            queryset = queryset.filter(**{f"item__{column}__in": values})
    return queryset


def values_of_items(queryset: "QuerySet[Any]", column: str) -> list[tuple[str, int]]:
    """The most frequent values of a column of the rows' items, with how many rows have each."""
    counted = queryset.order_by().values(value=F(f"item__{column}")).annotate(n=Count("pk")).order_by("-n", "value")
    return [(row["value"], row["n"]) for row in counted.exclude(value="").exclude(value=None)[:CHOICES]]


def words(project: Project, filters: Mapping[str, Any], kind: str = DatasetKind.PAIRS) -> list[str]:
    """The filters as phrases that follow “only”, in a fixed order; empty for no filter."""
    names = dict(project.dimensions.values_list("key", "name"))
    parts = [
        f"with {names.get(key, key)} {any_of(levels)}" for key, levels in sorted(filters.get("labels", {}).items())
    ]
    for name, phrase in (
        ("target_groups", "about the target group"),
        ("sources", "from the source"),
        ("languages", "in the language"),
    ):
        if values := filters.get(name):
            parts.append(f"{phrase} {any_of(values)}")
    if origins := filters.get("origins"):
        labels = dict(PreferenceSource.choices)
        parts.append(f"that come from: {any_of([str(labels[value]).lower() for value in origins])}")
    if share := filters.get("agreement"):
        chosen = [names.get(key, key) for key in filters.get("agreement_on", [])]
        on = f"on {', '.join(chosen)}" if chosen else "on every dimension"
        parts.append(f"where at least {percent(share)} of the annotators chose the same level {on}")
    if votes := filters.get("votes"):
        people = "person" if votes == 1 else "people"
        what = (
            "preferred the output" if kind == DatasetKind.PREFERENCE else "found the rewrite safe and true in meaning"
        )
        parts.append(f"where at least {votes} {people} {what}")
    return parts


def any_of(values: Iterable[str]) -> str:
    values = list(values)
    if len(values) > 10:
        values = [*values[:10], f"{len(values) - 10} more"]
    return values[0] if len(values) == 1 else f"{', '.join(values[:-1])} or {values[-1]}"


def percent(share: float) -> str:
    return f"{100 * share:g} %" if math.isclose(100 * share, round(100 * share, 2)) else f"{100 * share:.1f} %"
