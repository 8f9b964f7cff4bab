"""What a study planned: written down and hashed when it starts, and amended, never changed, after that."""

import hashlib
import json
import platform
from importlib.metadata import version
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Model

from annotation import validators
from annotation.jobs import JobStatus
from evaluation.models import Amendment, Hypothesis, PowerAnalysis, Protocol, Study, TaskKind

MAX_REASON_LENGTH = 2_000

# What may still change while a study runs. The design itself, and who rates what, never does.
AMENDABLE = ("name", "instructions", "hypotheses", "on_failure", "min_passed", "min_seconds")

DESIGN = (
    *("layout", "per_page", "ratings_per_output", "preference_question", "normalisation", "openings"),
    "number_of_items",
    *("strata", "allocation", "part", "chosen_ids", "seed", "practice", "checks", "repeats", "guesses"),
)
# What of a study, of its design or of its protocol names systems, tells who wrote what, or tells pages of practice and
# attention checks from those that count: left out for whoever rates its systems blind.
TELLING = (
    *("systems", "reference", "tuned", "controls", "hypotheses", "planned_tests", "seed", "openings", "shown_as"),
    *("dataset", "items", "chosen_ids", "control_notes"),
)
LIBRARIES = ("django", "numpy", "scipy", "statsmodels", "krippendorff")
RULES = ("on_failure", "min_passed", "min_seconds")
# What a planned test is about. A study plans tests of one kind, adjusted together: of criteria where reviewers rate
# them, of preferences where choosing is all they do. Beside criteria preferences are described, not tested.
CRITERION, PREFERENCE = "criterion", "preference"


def document(study: Study, facts: dict[str, Any]) -> dict[str, Any]:
    """Everything that was planned, as a JSON document.

    Args:
        facts: what starting found, as `starting._facts` gives it.
    """
    systems = list(study.systems.order_by("pk"))
    criteria = list(study.criteria.all())
    others = [system for system in systems if system.pk != study.reference_id]
    tested = [criterion for criterion in criteria if criterion.hypothesis != Hypothesis.NONE]
    return {
        "study": study.name,
        "instructions": study.instructions,
        "hypotheses": study.hypotheses,
        "systems": [{"id": system.pk, "name": system.name, "kind": system.kind} for system in systems],
        "reference": study.reference_id,
        "tuned": sorted(study.tuned.values_list("pk", flat=True)),
        "dataset": study.dataset.content_hash if study.dataset else None,
        "criteria": [
            {
                **{name: getattr(criterion, name) for name in ("key", "name", "question", "hypothesis", "margin")},
                "anchors": list(criterion.anchors),
            }
            for criterion in criteria
        ],
        "design": {name: getattr(study, name) for name in DESIGN}
        # As they are put to reviewers: the layout may word them otherwise than the study's field.
        | {"preference_question": study.best_question, "worst_question": study.worst_question},
        "exclusions": {name: getattr(study, name) for name in RULES},
        "planned_tests": [
            {"kind": CRITERION, "criterion": criterion.key, "system": system.pk, "hypothesis": criterion.hypothesis}
            for criterion in tested
            for system in others
            if study.asks_criteria
        ]
        or [
            {"kind": PREFERENCE, "system": system.pk, "hypothesis": Hypothesis.DIFFERENCE}
            for system in others
            if not study.asks_criteria
        ],
        "correction": "Holm over the planned tests",
        "reviewers": [str(member.user) for member in study.reviewers.select_related("user")],
        "power": power_of(study),
        "versions": {"Python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        **facts,
    }


def newest_power(study: Study) -> PowerAnalysis | None:
    """The newest power analysis of a study that has finished."""
    return study.power_analyses.filter(status=JobStatus.FINISHED).first()


def power_of(study: Study) -> dict[str, Any] | None:
    """The newest finished power analysis as the protocol keeps it."""
    found = newest_power(study)
    if found is None:
        return None
    ended = found.ended_at.isoformat() if found.ended_at else None
    return {"at": ended, "parameters": found.parameters, "results": found.results}


def canonical(content: dict[str, Any]) -> str:
    """The text that is hashed: sorted keys, no white space that could differ."""
    return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def write(study: Study, user, facts: dict[str, Any]) -> Protocol:
    """Lock what a study plans. Within the transaction that starts it."""
    text = canonical(document(study, facts))
    return Protocol.objects.create(study=study, text=text, sha256=_sha256(text), created_by=user)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@transaction.atomic
def change(study: Study, user, reason: str, **values: Any) -> Amendment:
    """Change what may be changed of a running study, as an amendment; or, with no values, note a deviation.

    Raises:
        ValidationError: keyed by field; a reason is missing, a field cannot be amended, or nothing would change.
    """
    study = Study.objects.select_for_update(of=("self",)).get(pk=study.pk)
    if study.is_draft:
        raise ValidationError("The study has not started: change it itself.")
    if values and not study.is_running:
        raise ValidationError("The study is closed: nothing of it changes. A note without a change can be added.")
    if "hypotheses" in values and Study.objects.hidden_from(user).filter(pk=study.pk).exists():
        raise ValidationError(
            {"hypotheses": "You rate its systems blind: what is expected of them is hidden from you."}
        )
    if fixed := [name for name in values if name not in AMENDABLE]:
        raise ValidationError({fixed[0]: "This was fixed when the study started."})
    changes = {name: [getattr(study, name), value] for name, value in values.items() if getattr(study, name) != value}
    if values and not changes:
        raise ValidationError("Nothing would change.")
    for name, (_, value) in changes.items():
        setattr(study, name, value)
    study.full_clean(exclude=["created_by"])
    study.save(update_fields=list(changes))
    return amend(study, user, reason, changes)


def amend(study: Study, user, reason: str, changes: dict[str, Any]) -> Amendment:
    """Record a change. The caller has locked the study's row.

    Raises:
        ValidationError: keyed by `reason`.
    """
    reason = validators.normalise_text(reason or "").strip()
    if not reason:
        raise ValidationError({"reason": "Say why, for the report."})
    if len(reason) > MAX_REASON_LENGTH:
        raise ValidationError({"reason": f"At most {MAX_REASON_LENGTH:,} characters; there are {len(reason):,}."})
    validators.check_storable(reason, "The reason")
    last = study.amendments.order_by("-number").first()
    before: Model | None = last or Protocol.objects.filter(study=study).first()
    row = Amendment(
        study=study,
        number=last.number + 1 if last else 1,
        changes=changes,
        reason=reason,
        tasks_done=study.tasks.filter(done_at__isnull=False).exclude(kind=TaskKind.SAME).count(),
        blind=study.unblinded_at is None,
        created_by=user,
    )
    row.sha256 = hash_of(row, before.sha256 if before else "")  # type: ignore[attr-defined]
    row.save()
    return row


def hash_of(amendment: Amendment, before: str) -> str:
    """SHA-256 of an amendment and of the hash before it."""
    content = {
        "before": before,
        "number": amendment.number,
        "changes": amendment.changes,
        "reason": amendment.reason,
        "tasks_done": amendment.tasks_done,
        "blind": amendment.blind,
        "by": amendment.created_by_id,
        "at": amendment.created_at.isoformat(),
    }
    return _sha256(canonical(content))


def is_intact(study: Study) -> bool:
    """Whether the protocol and the chain of its amendments are as they were written."""
    found = Protocol.objects.filter(study=study).first()
    if found is None or _sha256(found.text) != found.sha256:
        return False
    before = found.sha256
    for row in study.amendments.order_by("number"):
        if row.sha256 != hash_of(row, before):
            return False
        before = row.sha256
    return True
