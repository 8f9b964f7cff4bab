"""Approval rules: under which conditions pairs may be approved in bulk, as data, in words and in SQL.

Every condition reads columns of the pair (annotation.contention keeps them) or counters of its item. PostgreSQL looks
at them again on the locked rows, so that a pair that changes in the same moment is not approved by what it was before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count, F, Q, QuerySet
from django.db.models.lookups import GreaterThanOrEqual

from annotation import events
from annotation.models import ApprovalRule, Pair, PairStatus, Project, RewriteCondition

SAMPLE = 10  # pairs that a preview shows


@dataclass(frozen=True)
class Condition:
    """One part of a rule: in words, what to say of a pair that it leaves out, and in SQL."""

    words: str
    otherwise: str
    test: Q


@dataclass(frozen=True)
class Preview:
    """What a rule would do. `left_out` counts, per condition, the pairs that do not meet it; one may miss several."""

    proposed: int
    matching: int
    left_out: list[tuple[str, int]]
    sample: list[Pair]


def rule_of(project: Project) -> ApprovalRule:
    """The project's rule; one with the usual values, not stored, where nobody has written any."""
    stored = ApprovalRule.objects.filter(project=project).first()
    if stored is not None:
        return stored
    return ApprovalRule(project=project, dimensions=list(project.dimensions.values_list("key", flat=True)))


def values_of(rule: ApprovalRule) -> dict[str, Any]:
    return {name: getattr(rule, name) for name in ApprovalRule.CONDITIONS}


def check(project: Project, values: Mapping[str, Any]) -> ApprovalRule:
    """A rule of the project with these conditions, not stored; those not named are as in the project's rule.

    Raises:
        ValidationError: keyed by field.
    """
    stored = rule_of(project)
    rule = ApprovalRule(project=project, **(values_of(stored) | dict(values)))
    errors: dict[str, Any] = {}
    try:
        rule.clean_fields(exclude=["project", "updated_by"])
    except ValidationError as error:
        errors = error.message_dict
    known = list(project.dimensions.values_list("key", flat=True))
    if not isinstance(rule.dimensions, list) or not all(isinstance(key, str) for key in rule.dimensions):
        errors["dimensions"] = "Give a list of keys of dimensions."
    elif unknown := [key for key in rule.dimensions if key not in known]:
        errors["dimensions"] = f"There is no dimension {unknown[0][:40]!r}; this project has {', '.join(known)}."
    else:
        rule.dimensions = [key for key in known if key in rule.dimensions]
    if errors:
        raise ValidationError(errors)
    return rule


@transaction.atomic
def save(project: Project, user, values: Mapping[str, Any]) -> ApprovalRule:
    """Write the project's rule.

    Raises:
        ValidationError: keyed by field.
    """
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    rule = check(project, values)
    stored = ApprovalRule.objects.filter(project=project).first()
    before, after = values_of(stored) if stored else {}, values_of(rule)
    if before != after:
        rule.pk, rule.updated_by = (stored.pk if stored else None), user
        rule.save()
        old, new = events.changes(before, after)
        events.record(project, user, "rule.changed", before=old, after=new)
    return rule


def _at_least(part: str, whole: str, percent: int) -> Q:
    return Q(GreaterThanOrEqual(F(part) * 100, F(whole) * percent))


def conditions(rule: ApprovalRule) -> list[Condition]:
    """What the rule asks of a pair."""
    people = f"{rule.min_annotations} {'person' if rule.min_annotations == 1 else 'people'}"
    found = [
        Condition(
            f"at least {people} annotated the text",
            f"fewer than {rule.min_annotations} annotation{'' if rule.min_annotations == 1 else 's'}",
            Q(annotation_count__gte=rule.min_annotations),
        )
    ]
    names = dict(rule.project.dimensions.values_list("key", "name"))
    share = "all of them agree" if rule.min_agreement == 100 else f"at least {rule.min_agreement} % of them agree"
    for key in rule.dimensions:
        found.append(
            Condition(
                f"{share} on {names.get(key, key)}",
                f"too little agreement on {names.get(key, key)}",
                Q(**{f"agreement__{key}__gte": rule.min_agreement / 100 - 1e-9}),
            )
        )
    found += [COMPLETE, _rewrite_condition(rule)]
    if rule.no_comment:
        found.append(Condition("nobody left a comment to the lead", "a comment to the lead", Q(has_comment=False)))
    if rule.not_sent_back:
        found.append(Condition("it was not sent back", "sent back to an annotator", Q(sent_back="")))
    return found


# What every bulk approval asks, whatever the rule.
ALWAYS = [
    Condition("there is a rewrite", "no rewrite", Q(rewrite__regex=r"\S")),
    Condition("no lead has opened it again", "opened again by a lead", Q(settled_by=None)),
]


# A lead who asks for more annotators, or raises the overlap, opens a text again whose pair is proposed already.
COMPLETE = Condition(
    "everybody who was asked for has annotated it",
    "still open for more annotators",
    Q(item__finished__gte=F("item__overlap")),
)


def _rewrite_condition(rule: ApprovalRule) -> Condition:
    alike = Q(written_alike=True)
    voted = (
        Q(votes__gte=rule.min_votes)
        & _at_least("votes_safe", "votes", rule.min_safe)
        & _at_least("votes_meaning", "votes", rule.min_meaning)
    )
    in_votes = (
        f"at least {rule.min_votes} other{'' if rule.min_votes == 1 else 's'} voted on the rewrite, "
        f"{_of_them(rule.min_safe)} that it is safe and {_of_them(rule.min_meaning)} that it keeps the meaning"
    )
    in_alike = "every annotator wrote exactly this rewrite"
    match rule.rewrite:
        case RewriteCondition.VOTES:
            return Condition(in_votes, "too few votes for the rewrite", voted)
        case RewriteCondition.ALIKE:
            return Condition(in_alike, "rewrites differ", alike)
        case RewriteCondition.EITHER:
            return Condition(
                f"{in_alike}, or {in_votes}", "rewrites differ and too few votes for the rewrite", alike | voted
            )
    return Condition("the rewrite may be any", "", Q())


def _of_them(percent: int) -> str:
    return "all say" if percent == 100 else f"at least {percent} % say"


def words(rule: ApprovalRule) -> str:
    """The rule as a sentence."""
    names = dict(rule.project.dimensions.values_list("key", "name"))
    share = "all of them agree" if rule.min_agreement == 100 else f"at least {rule.min_agreement} % of them agree"
    parts = []
    for condition in conditions(rule):
        if not condition.words.startswith(share):
            parts.append(condition.words)
        elif len(parts) == 1:  # one phrase for all dimensions
            parts.append(f"{share} on {_listed([names.get(key, key) for key in rule.dimensions])}")
    return f"Approve a pair when {'; '.join(parts)}."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def matching(rule: ApprovalRule) -> "QuerySet[Pair]":
    """Proposed pairs of the rule's project that it approves."""
    tests = [condition.test for condition in (*ALWAYS, *conditions(rule)) if condition.test]
    return Pair.objects.filter(*tests, project=rule.project, status=PairStatus.PROPOSED)


def preview(rule: ApprovalRule) -> Preview:
    """What the rule would approve now, and why not the rest. Two queries, however many pairs."""
    parts = [condition for condition in (*ALWAYS, *conditions(rule)) if condition.test]
    everything = Q()
    for part in parts:
        everything &= part.test
    counts = Pair.objects.filter(project=rule.project, status=PairStatus.PROPOSED).aggregate(
        proposed=Count("pk"),
        matching=Count("pk", filter=everything),
        **{f"part{number}": Count("pk", filter=part.test) for number, part in enumerate(parts)},
    )
    left_out = [(part.otherwise, counts["proposed"] - counts[f"part{n}"]) for n, part in enumerate(parts)]
    sample = matching(rule).select_related("item").order_by("-contested", "pk")[:SAMPLE]
    return Preview(
        proposed=counts["proposed"],
        matching=counts["matching"],
        left_out=[(reason, count) for reason, count in left_out if count],
        sample=list(sample),
    )
