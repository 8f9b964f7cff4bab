"""How fast annotators get through texts: the real server, the requests the page makes, no think time.

    make bench-annotation

Starts PostgreSQL, Redis and the web server as `make run` does, in a folder of its own; imports 10,000 texts through
the import job; signs in 8 annotators; each submits and gets the next text in one request, until 1,000 annotations are
done in all. Prints one JSON object. Targets: 100 annotations a second, p95 under 150 ms, no error, no item above
overlap, on 2 cores shared with this driver.
"""

import argparse
import http.client
import json
import os
import platform
import re
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil

TARGETS = {"annotations_per_second": 100.0, "p95_ms": 150.0, "errors": 0, "items_above_overlap": 0}
PASSWORD = "benchmark only, on loopback"
SENTENCE = (
    "people in this town say that the new rules are unfair lazy neighbours never work and politicians lie about "
    "everything while families pay taxes every year without a school or a doctor nearby"
)
WORDS = SENTENCE.split()


def texts(count: int):
    """CSV of invented sentences of 8 to 60 words, every one different."""
    yield "external_id,text\n"
    for number in range(count):
        length = 8 + number * 7 % 53
        words = " ".join(WORDS[(number * 13 + position * position) % len(WORDS)] for position in range(length))
        yield f"bench-{number:06d},Text {number}: {words}.\n"


def prepare(people: int, items: int, overlap: int, folder: Path) -> tuple[int, list[str], float]:
    """Accounts, a project and its texts, through the services and the import job. Returns the import's seconds too."""
    from django.contrib.auth import get_user_model
    from django.core.files.base import ContentFile

    from annotation import imports, jobs, projects
    from annotation.models import ItemImport, Membership, Role

    users = get_user_model().objects
    lead = users.create_superuser("bench-lead", password=PASSWORD)
    project = projects.create(user=lead, name="Benchmark", overlap=overlap)
    names = [f"annotator-{number}" for number in range(people)]
    for name in names:
        Membership.objects.create(project=project, user=users.create_user(name, password=PASSWORD), role=Role.ANNOTATOR)
    item_import = ItemImport.objects.create(
        project=project,
        file=ContentFile("".join(texts(items)).encode(), name="bench.csv"),
        file_name="bench.csv",
        file_format="csv",
        created_by=lead,
    )
    started = time.perf_counter()
    jobs.execute(ItemImport.objects, item_import.pk, imports.run)
    seconds = time.perf_counter() - started
    item_import.refresh_from_db()
    if item_import.imported != items:
        raise SystemExit(f"The import took {item_import.imported} of {items} texts: {item_import.error}")
    return project.pk, names, seconds


class Annotator:
    """One signed-in annotator's browser, as far as the server can tell."""

    def __init__(self, port: int, project: int, name: str, shared: "Shared") -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.project, self.name, self.shared = project, name, shared
        self.cookies: dict[str, str] = {}

    def request(self, method: str, path: str, form: dict[str, str] | None = None, htmx: bool = False):
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if htmx:
            headers |= {"HX-Request": "true", "HX-Target": "task", "X-CSRFToken": self.cookies["csrftoken"]}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self.connection.request(method, path, urlencode(form) if form is not None else None, headers)
        answer = self.connection.getresponse()
        body = answer.read().decode()
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, value = cookie.split(";", 1)[0].split("=", 1)
            self.cookies[name] = value
        return answer.status, body

    def sign_in(self) -> str:
        """Sign in through the page and open the annotation page; returns it."""
        _, page = self.request("GET", "/account/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[1]  # type: ignore[index]
        form = {"csrfmiddlewaretoken": token, "username": self.name, "password": PASSWORD}
        status, _ = self.request("POST", "/account/login/", form)
        if status != 302:
            raise SystemExit(f"{self.name} could not sign in: HTTP {status}")
        status, page = self.request("GET", f"/projects/{self.project}/annotate/")
        if status != 200:
            raise SystemExit(f"The annotation page answered HTTP {status}")
        return page

    def work(self, page: str) -> None:
        """Submit and get the next text until the shared count is used up."""
        number = 0
        while self.shared.take():
            action = re.search(r'<form id="annotation"[^>]* action="([^"]+)"', page)
            if not action:
                self.shared.error("no text was left")
                return
            token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[1]  # type: ignore[index]
            number += 1
            form = {
                "csrfmiddlewaretoken": token,
                "label-bias": ["none", "slight", "high"][number % 3],
                "label-toxicity": "mild",
                "label-harm": "low",
                "label-sentiment": "negative",
                "rewrite": f"{self.name} writes a safer sentence, number {number}, which keeps what was said.",
                "spans": json.dumps([{"start": 0, "end": 4}]),
                "target_groups": json.dumps(["neighbours"]),
                "comment": "",
                "active_seconds": "17",
            }
            started = time.perf_counter()
            status, page = self.request("POST", action[1], form, htmx=True)
            self.shared.done(time.perf_counter() - started)
            if status != 200:
                self.shared.error(f"HTTP {status}")
                return


class Shared:
    """What the annotators count together."""

    def __init__(self, annotations: int) -> None:
        self.left, self.lock = annotations, threading.Lock()
        self.seconds: list[float] = []
        self.errors: list[str] = []

    def take(self) -> bool:
        with self.lock:
            self.left -= 1
            return self.left >= 0

    def done(self, seconds: float) -> None:
        with self.lock:
            self.seconds.append(seconds)

    def error(self, what: str) -> None:
        with self.lock:
            self.errors.append(what)


def watch_memory(pid: int, stop: threading.Event, peak: dict[str, int]) -> None:
    """Note the highest proportional memory of the server's processes together, in bytes."""
    while not stop.wait(0.25):
        total = 0
        try:
            processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            for process in processes:
                total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
        peak["bytes"] = max(peak.get("bytes", 0), total)


def count_rows(project: int) -> dict[str, int]:
    """What PostgreSQL holds afterwards."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT count(*), count(DISTINCT (item_id, annotator_id)), count(DISTINCT item_id)
            FROM annotation_annotation WHERE project_id = %s
            """,
            [project],
        )
        annotations, distinct, items = cursor.fetchone()
        cursor.execute(
            """
            SELECT count(*) FROM (
                SELECT 1 FROM annotation_annotation a JOIN annotation_item i ON i.id = a.item_id
                WHERE i.project_id = %s GROUP BY i.id, i.overlap HAVING count(*) > i.overlap
            ) above
            """,
            [project],
        )
        above = cursor.fetchone()[0]
    return {
        "annotations_in_database": annotations,
        "twice_by_one_person": annotations - distinct,
        "items_annotated": items,
        "items_above_overlap": above,
    }


def measure(options: argparse.Namespace, port: int, folder: Path, server_pid: int) -> dict[str, Any]:
    project, names, import_seconds = prepare(options.annotators, options.items, options.overlap, folder)
    shared = Shared(options.annotations)
    annotators = [Annotator(port, project, name, shared) for name in names]
    pages = [annotator.sign_in() for annotator in annotators]
    stop = threading.Event()
    peak: dict[str, int] = {}
    watcher = threading.Thread(target=watch_memory, args=[server_pid, stop, peak])
    watcher.start()
    threads = [
        threading.Thread(target=annotator.work, args=[page]) for annotator, page in zip(annotators, pages, strict=True)
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    stop.set()
    watcher.join()
    cuts = statistics.quantiles(shared.seconds, n=100, method="inclusive")
    result: dict[str, Any] = {
        "annotators": options.annotators,
        "items": options.items,
        "overlap": options.overlap,
        "annotations": len(shared.seconds),
        "seconds": round(elapsed, 2),
        "annotations_per_second": round(len(shared.seconds) / elapsed, 1),
        "p50_ms": round(1000 * cuts[49], 1),
        "p95_ms": round(1000 * cuts[94], 1),
        "p99_ms": round(1000 * cuts[98], 1),
        "errors": len(shared.errors),
        "first_errors": shared.errors[:3],
        "server_peak_memory_mib": round(peak.get("bytes", 0) / 2**20, 1),
        "import_seconds": round(import_seconds, 2),
        **count_rows(project),
    }
    result["targets"] = TARGETS
    result["targets_met"] = (
        result["annotations_per_second"] >= TARGETS["annotations_per_second"]
        and result["p95_ms"] < TARGETS["p95_ms"]
        and result["errors"] == 0
        and result["items_above_overlap"] == 0
        and result["annotations_in_database"] == options.annotations
    )
    result["machine"] = {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
    }
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotators", type=int, default=8)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--overlap", type=int, default=3)
    parser.add_argument("--annotations", type=int, default=1_000)
    options = parser.parse_args()

    from config import stack

    with tempfile.TemporaryDirectory(prefix="redress-bench-") as folder, stack.web_only(Path(folder)) as web:
        import django

        django.setup()
        result = measure(options, web.port, Path(folder), web.pid)
    json.dump(result, sys.stdout, indent=2)
    print()
    return 0 if result["targets_met"] else 1


if __name__ == "__main__":
    sys.exit(main())
