"""A team at work, for tests and trials: eight people with their own habits annotate real texts through the services.

Nobody's labels are random: each person sees the same text through their own strictness, slips now and then, marks the
words that the data set names, and edits the rewrite that it brings. So agreement is as people's is: high on some
texts, low on others.
"""

import ast
import csv
import random
from pathlib import Path
from typing import Any

from annotation import work
from annotation.models import Annotation, Membership, Project, Role
from tests.factories import UserFactory

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
NAMES = ("ada", "bo", "cem", "dora", "eli", "fatima", "gus")
GROUPS = {"Body-shaming": "people of all sizes", "Religious": "believers", "Racial": "ethnic minorities"}
LEVELS = {
    "bias": ["none", "slight", "high"],
    "toxicity": ["none", "mild", "severe"],
    "harm": ["low", "medium", "high"],
    "sentiment": ["negative", "neutral", "positive"],
}


def real_rows(limit: int | None = None) -> list[dict[str, Any]]:
    """Rows of the real data set: text, its marked words as `words`, how severe it is as `severity` (1 or 2)."""
    with (DATA / "unsafe_safe_pairs.csv").open(encoding="utf-8", newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))[:limit]
    for row in rows:
        row["words"] = ast.literal_eval(row["biased_words"] or "[]")
        row["severity"] = 2 if row["label"] == "Highly Biased" else 1
    return rows


def annotators(project: Project, names=NAMES) -> list[Any]:
    """Accounts of these names, annotators of the project."""
    people = [UserFactory(username=name, email=f"{name}@example.org") for name in names]
    Membership.objects.bulk_create(Membership(project=project, user=user, role=Role.ANNOTATOR) for user in people)
    return people


def judgement(row: dict[str, Any], person: int, chance: random.Random) -> dict[str, Any]:
    """What one person decides about a text: the content of an annotation."""

    def level(key: str, around: float) -> str:
        leaning = (person % 3 - 1) * 0.25  # the lenient, the middling, the strict
        slip = chance.gauss(0, 0.45)
        return LEVELS[key][min(2, max(0, round(around + leaning + slip)))]

    severity = row["severity"]
    spans = []
    for word in row["words"]:
        start = row["text"].find(word)
        if (
            start >= 0
            and chance.random() < 0.85
            and all(start >= s["end"] or start + len(word) <= s["start"] for s in spans)
        ):
            spans.append({"start": start, "end": start + len(word)})
    rewrite = row["safe_rewrite"].strip() or "There is nothing here that can be said safely."
    if chance.random() < 0.4:
        rewrite = rewrite.replace("!", ".").replace(" very ", " ")
    if chance.random() < 0.25:
        rewrite = f"{rewrite} ({NAMES[person % len(NAMES)]})"
    return {
        "labels": {
            "bias": level("bias", severity),
            "toxicity": level("toxicity", severity - (row["dimension"] != "toxicity")),
            "harm": level("harm", severity - 0.5),
            "sentiment": level("sentiment", 2 - severity),
        },
        "spans": sorted(spans, key=lambda span: span["start"]),
        "target_groups": [GROUPS[row["aspect"]]] if row["aspect"] in GROUPS else [],
        "rewrite": rewrite,
        "comment": "Is this ours to judge?" if chance.random() < 0.02 else "",
        "active_seconds": chance.randint(8, 90),
    }


def annotate_everything(project: Project, people: list[Any], rows: list[dict[str, Any]], seed: int = 7) -> int:
    """Everybody takes turns until nothing is left for anybody. Returns how many annotations were made."""
    chance = random.Random(seed)
    by_text = {row["text"]: row for row in rows}
    before = Annotation.objects.filter(project=project).count()
    waiting = dict(enumerate(people))
    while waiting:
        number = chance.choice(list(waiting))
        assignment = work.next_assignment(waiting[number], project)
        if assignment is None:
            del waiting[number]
            continue
        row = by_text[assignment.item.text]
        work.submit(waiting[number], assignment.pk, judgement(row, number, chance))
    return Annotation.objects.filter(project=project).count() - before
