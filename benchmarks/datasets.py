"""How long freezing a large dataset takes, with near-duplicates, and what the person who asked for it waits for.

    make bench-datasets

Starts PostgreSQL, Redis, the web server and a worker as `make run` does, in a folder of its own. The pairs are invented
texts of 8 to 60 words out of 20,000 with frequencies like those of a language, and one in twenty repeats another with a
word or two changed. The dataset is asked for in the form, as a browser does, and frozen by the worker. Prints one JSON
object with each figure beside its target; ends with 1 when one is missed, unless --report.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.annotation import PASSWORD
from benchmarks.scale import Browser, Memory, number_in, wait_for

TARGETS = {"freeze_seconds": 60.0, "request_seconds": 1.0, "page_seconds": 1.0, "diff_seconds": 3.0}
VOCABULARY = 20_000
COPIED = 0.05
GROUPS = ("women", "migrants", "neighbours", "politicians", "old people", "")


def texts(count: int, seed: int = 7) -> list[str]:
    """Invented texts; the last COPIED of them are others with one or two words changed."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(rng.choice(letters, rng.integers(2, 11))) for _ in range(VOCABULARY)]
    chances = 1 / np.arange(3, VOCABULARY + 3)
    chances /= chances.sum()
    plain = count - round(count * COPIED)
    lengths = rng.integers(8, 61, plain)
    drawn = rng.choice(VOCABULARY, lengths.sum(), p=chances)
    made, first = [], 0
    for length in lengths:
        made.append([words[number] for number in drawn[first : first + length]])
        first += length
    for _ in range(count - plain):
        copied = list(made[rng.integers(plain)])
        for _ in range(rng.integers(1, 3)):
            copied[rng.integers(len(copied))] = words[rng.integers(VOCABULARY)]
        made.append(copied)
    return [" ".join(one) for one in made]


def fill(project, count: int) -> None:
    """Approved pairs of invented texts, written past the triggers: for a measurement's own database only."""
    from django.db import connection, transaction

    from annotation import bulk
    from annotation.models import Item, Pair

    labels = "jsonb_build_object('bias', (ARRAY['none', 'slight', 'high'])[1 + n %% 3], 'toxicity', 'mild')"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("CREATE TEMPORARY TABLE made (n integer, text text, target_group text) ON COMMIT DROP")
        with cursor.copy("COPY made FROM STDIN") as copy:
            for number, text in enumerate(texts(count)):
                copy.write_row((number, text, GROUPS[number % len(GROUPS)]))
        values = {"project": project.pk}
        columns = {"project_id": "%(project)s", "external_id": "'bench-' || n", "text": "text", "overlap": "1"}
        bulk.insert(cursor, Item, columns | {"target_group": "target_group"}, "FROM made ORDER BY n", values)
        columns = {
            "project_id": "%(project)s",
            "item_id": "item.id",
            "rewrite": "'Kindly put: ' || item.text",
            "labels": labels,
            "status": "'approved'",
        }
        source = "FROM made JOIN annotation_item item ON external_id = 'bench-' || n AND item.project_id = %(project)s"
        bulk.insert(cursor, Pair, columns, source, values)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def timed(browser: Browser, path: str) -> float:
    started = time.perf_counter()
    browser.get(path)
    return time.perf_counter() - started


def measure(options: argparse.Namespace, web: Any) -> dict[str, Any]:
    from django.contrib.auth import get_user_model

    from annotation import projects
    from training.models import Freezing

    lead = get_user_model().objects.create_superuser("bench-lead", password=PASSWORD)
    project = projects.create(user=lead, name="Datasets", overlap=1)
    started = time.perf_counter()
    fill(project, options.pairs)
    filled = time.perf_counter() - started
    browser, memory = Browser(web.port, "bench-lead"), Memory(web=web.pid, worker=web.worker_pid)
    page = f"/projects/{project.pk}/training/datasets/new/"
    made, seconds, requests = [], [], []
    for seed in range(2):
        form = {
            "csrfmiddlewaretoken": browser.token(page), "name": f"Bench {seed}", "seed": str(seed),
            "train": "0.7", "validation": "0.1", "test": "0.2", "near_duplicates": "0.7",
            "stratify_by": "target_group",
        }  # fmt: skip
        with memory:
            started = time.perf_counter()
            status, location, _ = browser.post(page, form)
            if status != 302:
                raise SystemExit(f"The form answered HTTP {status}")
            requests.append(time.perf_counter() - started)
            job = wait_for(Freezing, number_in(location))
            seconds.append(time.perf_counter() - started)
        made.append(job.dataset)
    found = made[0].figures["near_duplicates"]
    started = time.perf_counter()
    _, _, answer = browser.send("GET", f"/datasets/{made[0].pk}/files/chat.jsonl")
    size = 0
    while block := answer.read(1 << 20):
        size += len(block)
    exported = time.perf_counter() - started
    figures: dict[str, Any] = {
        "pairs": made[0].size,
        "near_duplicate_groups": found["groups"],
        "texts_in_groups": found["texts"],
        "freeze_seconds": round(seconds[0], 2),
        "freeze_seconds_again": round(seconds[1], 2),
        "request_seconds": round(max(requests), 3),
        "page_seconds": round(sorted(timed(browser, made[0].get_absolute_url()) for _ in range(5))[2], 3),
        "diff_seconds": round(timed(browser, f"/datasets/{made[0].pk}/diff/?other={made[1].pk}"), 3),
        "export_seconds": round(exported, 2),
        "export_megabytes": round(size / 1e6, 1),
        "web_growth_mib": memory.growth("web"),
        "worker_growth_mib": memory.growth("worker"),
        "fill_seconds": round(filled, 1),
    }
    checked = {
        name: {"figure": figures[name], "target": target, "met": figures[name] <= target}
        for name, target in TARGETS.items()
    }
    return {
        "targets": checked,
        "targets_met": all(one["met"] for one in checked.values()),
        **figures,
        "machine": {
            "cores": os.cpu_count(),
            "load_before": options.load,
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "python": platform.python_version(),
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", action="store_true", help="end with 0 even when a target is missed")
    parser.add_argument("--pairs", type=int, default=100_000)
    options = parser.parse_args()
    options.load = [round(load, 2) for load in os.getloadavg()]

    from config import stack

    with (
        tempfile.TemporaryDirectory(prefix="redress-bench-") as folder,
        stack.web_only(Path(folder), worker=True) as web,
    ):
        import django

        django.setup()
        result = measure(options, web)
    json.dump(result, sys.stdout, indent=2)
    print()
    return 0 if result["targets_met"] or options.report else 1


if __name__ == "__main__":
    sys.exit(main())
