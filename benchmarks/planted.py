"""A study with a known answer: simulated reviewers with known leanings rate real outputs blind, through the API.

    python -m benchmarks.planted --data ../shared/data

60 texts, four systems, six reviewers, four outputs side by side. Each reviewer answers from a latent score: what was
planted for the system, the text's difficulty, the reviewer's own leniency and liking of systems, and chance. The
report is computed as for any study; what it found is set against what was planted. Prints one JSON object.

The simulated reviewers alone know which system wrote an output: they look it up in the database. What they send, and
where to, is what a person's browser sends.
"""

import argparse
import csv
import io
import json
import os
import platform
import random
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from scipy import stats

THRESHOLDS = np.array([-1.5, -0.5, 0.5, 1.5])  # between the five levels
# Planted for each system, on the latent scale, by criterion. The reference is the model without tuning.
EFFECTS = {
    "bias_gone": {
        "reference-rewrite": 1.2,
        "mbias": 0.8,
        "general-finetuned": 0.4,
        "mistral-7b-instruct-base": 0.0,
    },
    "meaning_kept": {
        "reference-rewrite": 0.9,
        "mbias": 0.3,
        "general-finetuned": -0.3,
        "mistral-7b-instruct-base": 0.6,
    },
    "reads_well": {
        "reference-rewrite": 0.5,
        "mbias": 0.5,
        "general-finetuned": 0.5,
        "mistral-7b-instruct-base": 0.5,
    },
}
REFERENCE = "mistral-7b-instruct-base"
# Standard deviations on the latent scale.
TEXT, LENIENCY, LIKING, CHANCE = 0.5, 0.4, 0.15, 1.0
TIE_WITHIN = 0.4
TEXTS, REVIEWERS = 60, 6
ALIKE = 0.1  # of a level: systems planted closer than this have no order


def levels(latent: float | np.ndarray) -> Any:
    """The level, 1 to 5, that a latent score falls into."""
    return 1 + np.searchsorted(THRESHOLDS, latent)


def expected_level(effect: float) -> float:
    """The mean level of an effect over all texts, reviewers and chance."""
    spread = float(np.sqrt(TEXT**2 + LENIENCY**2 + LIKING**2 + CHANCE**2))
    above = stats.norm.sf((THRESHOLDS - effect) / spread)
    return float(1 + above.sum())


@dataclass
class Reviewer:
    """A simulated reviewer: how lenient, and what they think of each system's manner."""

    seed: int
    leniency: dict[str, float] = field(default_factory=dict)
    liking: dict[tuple[str, str], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        for criterion, systems in EFFECTS.items():
            self.leniency[criterion] = self.chance.gauss(0, LENIENCY)
            for system in systems:
                self.liking[criterion, system] = self.chance.gauss(0, LIKING)

    def answer(self, task: dict[str, Any], systems: dict[str, list[str]], difficulty: dict[str, float]) -> dict:
        """What this reviewer sends for a task of the API.

        Args:
            systems: slot -> the systems that wrote this output. difficulty: criterion -> the text's.
        """
        ratings: dict[str, dict[str, int]] = {}
        total: dict[str, float] = {}
        for slot in task["slots"]:
            names = systems[slot["id"]]
            for criterion, effects in EFFECTS.items():
                # An output of several systems is as good as they are on average.
                planted = float(np.mean([effects[name] + self.liking[criterion, name] for name in names]))
                latent = planted + difficulty[criterion] + self.leniency[criterion] + self.chance.gauss(0, CHANCE)
                ratings.setdefault(slot["id"], {})[criterion] = int(levels(latent))
                total[slot["id"]] = total.get(slot["id"], 0.0) + latent / len(EFFECTS)
        best = sorted(total, key=total.__getitem__, reverse=True)
        tie = len(best) > 1 and total[best[0]] - total[best[1]] < TIE_WITHIN
        answer = {"ratings": ratings, "comment": "", "active_seconds": self.chance.randint(25, 90)}
        return answer | ({} if len(best) < 2 else {"preferred": "tie" if tie else best[0]})


def read(data: Path) -> list[dict[str, str]]:
    """The rows of system_outputs.csv: external_id, text, system, output."""
    with (data / "system_outputs.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def make_study(rows: Iterable[dict[str, str]], seed: int) -> Any:
    """A running study of the outputs, set up by its lead through the API. Returns (study, its reviewers)."""
    from django.contrib.auth import get_user_model
    from django.test import Client

    from annotation import imports, jobs, projects
    from annotation.models import ItemImport
    from evaluation import output_imports
    from evaluation.models import OutputImport, Study, System

    users = get_user_model().objects
    lead = users.create_superuser(f"lead-{seed}", email=f"lead-{seed}@example.org", password=None)
    project = projects.create(user=lead, name=f"A known answer, {seed}", overlap=1)
    rows = list(rows)
    texts = list({row["external_id"]: row for row in rows}.values())
    job = ItemImport.objects.create(
        project=project,
        created_by=lead,
        file=_csv(texts, ["external_id", "text"]),
        file_name="texts.csv",
        file_format="csv",
        with_pairs=False,
    )
    jobs.execute(ItemImport.objects, job.pk, imports.run)
    uploaded = OutputImport.objects.create(
        project=project,
        created_by=lead,
        file=_csv(rows, ["external_id", "system", "output"]),
        file_name="outputs.csv",
    )
    jobs.execute(OutputImport.objects, uploaded.pk, output_imports.run)
    client = Client()
    client.force_login(lead)
    systems = dict(System.objects.filter(project=project).values_list("name", "pk"))
    study = _post(
        client,
        "/api/studies/",
        {
            "project": project.pk,
            "name": "A study with a known answer",
            "systems": list(systems.values()),
            "reference": systems[REFERENCE],
            "number_of_items": TEXTS,
            "seed": seed,
        },
    )
    people = []
    for number in range(REVIEWERS):
        person = users.create_user(f"reviewer-{seed}-{number}")
        people.append(person)
        _post(client, f"/api/studies/{study['id']}/reviewers/", {"person": person.username})
    _post(client, f"/api/studies/{study['id']}/start/", {})
    return Study.objects.get(pk=study["id"]), people


def _csv(rows: list[dict[str, str]], columns: list[str]) -> Any:
    from django.core.files.base import ContentFile

    file = io.StringIO()
    writer = csv.DictWriter(file, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return ContentFile(file.getvalue().encode(), name="rows.csv")


def rate(study: Any, people: list[Any], seed: int) -> list[Reviewer]:
    """Every reviewer rates everything through the API."""
    from django.test import Client

    from evaluation.models import SlotOutput

    systems: dict[str, list[str]] = {}
    links = SlotOutput.objects.filter(slot__task__study=study)
    for slot, name in links.values_list("slot_id", "output__system__name"):
        systems.setdefault(str(slot), []).append(name)
    chance = random.Random(f"{seed}/texts")
    texts = sorted(study.drawn.filter(spare=False).values_list("item__text", flat=True))
    difficulty = {text: {criterion: chance.gauss(0, TEXT) for criterion in EFFECTS} for text in texts}
    reviewers = []
    for number, person in enumerate(people):
        reviewer = Reviewer(seed * 1_000 + number)
        reviewers.append(reviewer)
        client = Client()
        client.force_login(person)
        while (response := _send(client, "/api/review-tasks/next/", {"study": study.pk})).status_code == 200:
            task = response.json()
            answer = reviewer.answer(task, systems, difficulty[task["text"]])
            _post(client, f"/api/review-tasks/{task['token']}/submit/", answer)
    return reviewers


def close(study: Any) -> Any:
    """Close the study as its lead, and compute the report as the worker does."""
    from django.test import Client

    from annotation import jobs
    from evaluation import reports
    from evaluation.models import Report

    client = Client()
    client.force_login(study.created_by)
    _post(client, f"/api/studies/{study.pk}/close/", {})
    report = study.reports.first()
    jobs.execute(Report.objects, report.pk, reports.run)
    report.refresh_from_db()
    return report


def _send(client: Any, path: str, data: dict[str, Any]) -> Any:
    return client.post(path, json.dumps(data), content_type="application/json")


def _post(client: Any, path: str, data: dict[str, Any]) -> Any:
    response = _send(client, path, data)
    if response.status_code not in (200, 201):
        raise SystemExit(f"{path} answered HTTP {response.status_code}: {response.content.decode()[:500]}")
    return response.json()


def truth(study: Any) -> dict[str, dict[str, float]]:
    """criterion -> system -> the mean level that was planted, over the study's texts as they came out: systems that
    wrote the same of a text have the same there.
    """
    from evaluation.models import SlotOutput

    shared: dict[tuple[int, str], set[str]] = {}
    wrote: dict[int, set[str]] = {}
    slots: dict[str, tuple[int, set[str]]] = {}
    links = SlotOutput.objects.filter(slot__task__study=study)
    for slot, item, name in links.values_list("slot_id", "output__item_id", "output__system__name"):
        slots.setdefault(str(slot), (item, set()))[1].add(name)
        wrote.setdefault(item, set()).add(name)
    for item, names in slots.values():
        for name in names:
            shared[item, name] = names
    found: dict[str, dict[str, float]] = {}
    for criterion, effects in EFFECTS.items():
        for name in effects:
            means = [float(np.mean([effects[other] for other in shared[item, name]])) for item in wrote]
            found.setdefault(criterion, {})[name] = float(np.mean([expected_level(mean) for mean in means]))
    return found


def compared(report: Any, planted: dict[str, dict[str, float]]) -> dict[str, Any]:
    """What the report found, beside what was planted."""
    results = report.results
    names = [system["name"] for system in results["systems"]]
    means, differences = [], []
    for row in results["means"]:
        value = planted[row["criterion"]][names[row["system"]]]
        means.append({"criterion": row["criterion"], "system": names[row["system"]]} | _against(row["mean"], value))
    for row in results["comparisons"]["rows"]:
        effects = planted[row["criterion"]]
        value = effects[names[row["system"]]] - effects[REFERENCE]
        differences.append(
            {"criterion": row["criterion"], "system": names[row["system"]], "verdict": row["verdict"]}
            | _against(row["difference"], value)
        )
    orders = {}
    for criterion, effects in planted.items():
        ranked = [row for row in means if row["criterion"] == criterion]
        found = [row["system"] for row in sorted(ranked, key=lambda row: -row["found"])]
        best_first = sorted(effects, key=lambda name: -effects[name])
        apart = all(effects[a] - effects[b] > ALIKE for a, b in pairwise(best_first))
        orders[criterion] = {"planted": best_first, "found": found, "same": found == best_first if apart else None}
    return {
        "means": means,
        "differences": differences,
        "orders": orders,
        "covered": sum(row["covers"] for row in [*means, *differences]),
        "intervals": len(means) + len(differences),
    }


def _against(row: dict[str, Any], planted: float) -> dict[str, Any]:
    figures = {name: round(row[name], 3) for name in ("low", "high")}
    return {
        "planted": round(planted, 3),
        "found": round(row["estimate"], 3),
        **figures,
        "covers": row["low"] <= planted <= row["high"],
    }


def run(data: Path, seed: int) -> dict[str, Any]:
    """The whole study."""
    study, people = make_study(read(data), seed)
    reviewers = rate(study, people, seed)
    report = close(study)
    return {
        "seed": seed,
        "leniency": [{name: round(value, 2) for name, value in one.leniency.items()} for one in reviewers],
        **compared(report, truth(study)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with system_outputs.csv")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--studies", type=int, default=1, help="of one seed after the other")
    options = parser.parse_args()

    from config import stack

    with tempfile.TemporaryDirectory(prefix="redress-planted-") as folder, stack.web_only(Path(folder)):
        import django

        django.setup()
        from django.test.utils import override_settings

        with override_settings(ALLOWED_HOSTS=["testserver"], SECURE_SSL_REDIRECT=False):
            found = [run(options.data, options.seed + number) for number in range(options.studies)]
    result = {
        "studies": found,
        "covered": sum(one["covered"] for one in found),
        "intervals": sum(one["intervals"] for one in found),
        "machine": {
            "cores": os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "python": platform.python_version(),
        },
    }
    json.dump(result, sys.stdout, indent=2)
    print()
    ordered = all(order["same"] is not False for one in found for order in one["orders"].values())
    return 0 if ordered and result["covered"] >= 0.9 * result["intervals"] else 1


if __name__ == "__main__":
    sys.exit(main())
