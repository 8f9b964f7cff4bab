"""Filters of lists, shared by pages and API."""

import re

import django_filters
from django import forms
from django.db import models
from django.db.models import F, Q, QuerySet
from django_filters import rest_framework as rest_filters

from annotation import handout, mine
from annotation.events import ACTIONS
from annotation.models import (
    Annotation,
    Assignment,
    Batch,
    ConsensusRun,
    Event,
    Export,
    Gold,
    GuidelinesVersion,
    Item,
    ItemImport,
    Pair,
    PairRefresh,
    PairStatus,
    PracticeRound,
    Project,
    Rewrite,
    SentBackState,
    Suggestion,
    SuggestionJob,
    SuggestionPrompt,
    SuggestionReport,
)


def label_choices(project: Project) -> list:
    """Every level of every dimension, for a select: value "bias:high", grouped by dimension."""
    groups = [
        (
            dimension.name,
            [(f"{dimension.key}:{level}", f"{dimension.name}: {level}") for level in dimension.levels],
        )
        for dimension in project.dimensions.all()
    ]
    return [("", "Any label"), *groups]


def parse_label(value: str) -> dict[str, str]:
    """ "bias:high" as {"bias": "high"}; anything else is no label."""
    key, separator, level = value.partition(":")
    return {key: level} if separator else {}


class LabelFilter(django_filters.CharFilter):
    """`dimension:level`, for example bias:high."""

    def filter(self, queryset: QuerySet, value: str) -> QuerySet:
        return queryset.filter(labels__contains=parse_label(value)) if value else queryset


class IdFilterSet(rest_filters.FilterSet):
    """Foreign keys are filtered by number. A choice would tell which rows of others exist: an id that there is not
    gives an empty list, as a foreign one does.
    """

    FILTER_DEFAULTS = rest_filters.FilterSet.FILTER_DEFAULTS | {
        models.ForeignKey: {"filter_class": django_filters.NumberFilter},
        models.OneToOneField: {"filter_class": django_filters.NumberFilter},
    }


class FilterBackend(rest_filters.DjangoFilterBackend):
    filterset_base = IdFilterSet


class ProjectFilterSet(django_filters.FilterSet):
    # A number, not a choice: a choice would tell which projects exist.
    project = django_filters.NumberFilter(field_name="project_id", label="Project")


class ItemFilter(ProjectFilterSet):
    STATES = (
        ("untouched", "Not begun"),
        ("open", "Wants annotators"),
        ("complete", "Complete"),
        ("unsettled", "Complete, not settled"),
    )
    q = django_filters.CharFilter(
        method="search", label="Search", max_length=200, widget=forms.TextInput({"type": "search"})
    )
    state = django_filters.ChoiceFilter(choices=STATES, method="in_state", label="Progress", empty_label="Any progress")
    retired = django_filters.ChoiceFilter(
        choices=(("no", "In use"), ("yes", "Retired")),
        method="is_retired",
        label="Retired",
        empty_label="In use or not",
    )
    reserved = django_filters.ChoiceFilter(
        choices=(
            ("no", "For everybody"),
            ("yes", "For named people"),
            ("stuck", "For named people, nobody left for it"),
        ),
        method="is_reserved",
        label="For whom",
        empty_label="For anybody",
    )
    priority = django_filters.NumberFilter(label="Priority")
    min_priority = django_filters.NumberFilter(field_name="priority", lookup_expr="gte", label="Priority at least")
    content = django_filters.CharFilter(method="contains", label="Contains")

    class Meta:
        model = Item
        fields = ["external_id", "kind", "language", "source", "target_group"]

    def search(self, queryset: QuerySet, name: str, value: str) -> QuerySet:
        return queryset.filter(Q(text__icontains=value) | Q(external_id__icontains=value))

    def is_retired(self, queryset: QuerySet, name: str, value: str) -> QuerySet:
        return queryset.filter(retired_at__isnull=value == "no")

    def is_reserved(self, queryset: QuerySet, name: str, value: str) -> QuerySet:
        if value == "stuck":
            return queryset.filter(handout.nobody_left())
        return queryset.filter(reserved=value == "yes")

    def contains(self, queryset: QuerySet, name: str, value: str) -> QuerySet:
        return queryset.filter(content_kinds__contains=[value])

    def in_state(self, queryset: QuerySet, name: str, value: str) -> QuerySet:
        if value == "untouched":
            return queryset.filter(taken=0, finished=0)
        if value == "open":
            return queryset.filter(finished__lt=F("overlap"))
        queryset = queryset.filter(finished__gte=F("overlap"))
        if value == "unsettled":
            queryset = queryset.filter(Q(pair=None) | Q(pair__status=PairStatus.PROPOSED))
        return queryset


class PairFilter(ProjectFilterSet):
    STATES = (
        ("contested", "Contested: people differ on labels, or vote against it"),
        ("unanimous", "Unanimous: nobody differs"),
        ("votes-failed", "With votes against it"),
        ("no-votes", "Without votes"),
        ("sent-back", "Sent back, waits for an answer"),
        ("answered", "Sent back and answered"),
        ("comment", "With a comment to the lead"),
    )
    q = django_filters.CharFilter(
        method="search", label="Search", max_length=200, widget=forms.TextInput({"type": "search"})
    )
    label = LabelFilter(label="Label")
    state = django_filters.ChoiceFilter(choices=STATES, method="in_state", label="Show", empty_label="All")
    differs = django_filters.CharFilter(
        method="where_they_differ", label="They differ on", max_length=40, help_text="A dimension's key."
    )

    item = django_filters.NumberFilter(field_name="item_id", label="Item")

    class Meta:
        model = Pair
        fields = ["status", "batch"]

    def search(self, queryset: QuerySet, name: str, value: str) -> QuerySet:
        return queryset.filter(
            Q(item__text__icontains=value) | Q(item__external_id__icontains=value) | Q(rewrite__icontains=value)
        )

    def in_state(self, queryset: QuerySet, name: str, value: str) -> QuerySet:
        against = Q(votes_accepted__lt=F("votes"))
        conditions = {
            "contested": Q(disagreement__gt=0) | against,
            "unanimous": Q(disagreement=0, votes_accepted__gte=F("votes")),
            "votes-failed": against,
            "no-votes": Q(votes=0),
            "sent-back": ~Q(sent_back="") & Q(sent_back=SentBackState.WAITING),
            "answered": ~Q(sent_back="") & Q(sent_back=SentBackState.ANSWERED),
            "comment": Q(has_comment=True),
        }
        return queryset.filter(conditions[value])

    def where_they_differ(self, queryset: QuerySet, name: str, value: str) -> QuerySet:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", value):
            return queryset.none()
        return queryset.filter(**{f"agreement__{value}__lt": 1})


class AnnotationFilter(ProjectFilterSet):
    item = django_filters.NumberFilter(field_name="item_id", label="Item")
    annotator = django_filters.CharFilter(field_name="annotator__username", label="Username")
    label = LabelFilter(label="Label")

    class Meta:
        model = Annotation
        fields: list[str] = []


class AssignmentFilter(ProjectFilterSet):
    has_draft = django_filters.BooleanFilter(
        field_name="draft", lookup_expr="isnull", exclude=True, label="Has a draft"
    )
    q = django_filters.CharFilter(method="search", label="Search", max_length=200)

    class Meta:
        model = Assignment
        fields = ["state"]

    def search(self, queryset: QuerySet, name: str, value: str) -> QuerySet:
        return mine.search(queryset, value)


class EventFilter(ProjectFilterSet):
    action = django_filters.ChoiceFilter(choices=lambda: ACTIONS.items(), label="What", empty_label="Anything")
    actor = django_filters.CharFilter(field_name="actor__username", label="Username")
    text = django_filters.CharFilter(field_name="item__external_id", label="Text's id")
    item = django_filters.NumberFilter(field_name="item_id", label="Item")

    class Meta:
        model = Event
        fields: list[str] = []


class GuidelinesFilter(ProjectFilterSet):
    class Meta:
        model = GuidelinesVersion
        fields = ["number"]


class BatchFilter(ProjectFilterSet):
    class Meta:
        model = Batch
        fields = ["status", "action"]


class PairRefreshFilter(ProjectFilterSet):
    class Meta:
        model = PairRefresh
        fields = ["status"]


class RewriteFilter(ProjectFilterSet):
    item = django_filters.NumberFilter(field_name="item_id", label="Item")
    failed = django_filters.BooleanFilter(method="has_failed", label="Somebody voted against it")

    class Meta:
        model = Rewrite
        fields = ["open"]

    def has_failed(self, queryset: QuerySet, name: str, value: bool) -> QuerySet:
        failed = Q(accepted__lt=F("votes"))
        return queryset.filter(failed if value else ~failed)


class ImportFilter(ProjectFilterSet):
    class Meta:
        model = ItemImport
        fields = ["status"]


class ExportFilter(ProjectFilterSet):
    class Meta:
        model = Export
        fields = ["status", "kind"]


class GoldFilter(ProjectFilterSet):
    kind = django_filters.CharFilter(field_name="item__kind", label="Use")
    item = django_filters.NumberFilter(field_name="item_id", label="Item")

    class Meta:
        model = Gold
        fields: list[str] = []


class PracticeRoundFilter(ProjectFilterSet):
    annotator = django_filters.CharFilter(field_name="annotator__username", label="Username")

    class Meta:
        model = PracticeRound
        fields = ["state"]


class ConsensusFilter(ProjectFilterSet):
    class Meta:
        model = ConsensusRun
        fields = ["status"]


class SuggestionFilter(ProjectFilterSet):
    item = django_filters.NumberFilter(field_name="item_id", label="Item")
    prompt = django_filters.NumberFilter(field_name="prompt_id", label="Version of the prompt, by id")

    class Meta:
        model = Suggestion
        fields = ["status"]


class SuggestionPromptFilter(ProjectFilterSet):
    class Meta:
        model = SuggestionPrompt
        fields: list[str] = []


class SuggestionJobFilter(ProjectFilterSet):
    class Meta:
        model = SuggestionJob
        fields = ["status"]


class SuggestionReportFilter(ProjectFilterSet):
    class Meta:
        model = SuggestionReport
        fields = ["status"]
