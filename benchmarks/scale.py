"""What a team with a million annotations waits for: imports, exports, agreement, the next text, the overview.

    make bench-scale

Starts PostgreSQL, Redis, the web server and a worker as `make run` does, in a folder of its own, and uses them as a
browser does: the file is uploaded to the import page, the export is asked for and downloaded, pages are fetched over
HTTP by somebody signed in. Only the queue is asked through `work.next_assignment`, the one function behind page and
API. Prints one JSON object with each figure beside its target; ends with 1 when one is missed, unless --report.
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil

from benchmarks.annotation import PASSWORD, texts

TARGETS = {
    "import_seconds": 10.0,
    "export_seconds": 5.0,
    "export_web_growth_mib": 64.0,
    "export_worker_growth_mib": 64.0,
    "agreement_page_seconds": 3.0,
    "next_item_median_ratio": 1.5,
    "next_item_p95_ratio": 1.5,
    "overview_p95_ms": 300.0,
}


class Browser:
    """Somebody signed in, as far as the server can tell."""

    def __init__(self, port: int, name: str) -> None:
        self.port, self.cookies = port, {}  # type: ignore[var-annotated]
        token = self.token("/account/login/")
        form = {"csrfmiddlewaretoken": token, "username": name, "password": PASSWORD}
        status, _, _ = self.post("/account/login/", form)
        if status != 302:
            raise SystemExit(f"{name} could not sign in: HTTP {status}")

    def send(self, method: str, path: str, body: Any = None, content_type: str = "", length: int | None = None):
        """Returns the status, the Location header, and the response to read from."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if content_type:
            headers["Content-Type"] = content_type
        if length is not None:
            headers["Content-Length"] = str(length)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, value = cookie.split(";", 1)[0].split("=", 1)
            self.cookies[name] = value
        return answer.status, answer.headers.get("Location", ""), answer

    def get(self, path: str) -> str:
        status, _, answer = self.send("GET", path)
        body = answer.read().decode()
        if status != 200:
            raise SystemExit(f"GET {path} answered HTTP {status}")
        return body

    def token(self, path: str) -> str:
        return re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.get(path))[1]  # type: ignore[index]

    def post(self, path: str, form: dict[str, str]):
        status, location, answer = self.send("POST", path, urlencode(form), "application/x-www-form-urlencoded")
        answer.read()
        return status, location, answer

    def upload(self, path: str, form: dict[str, str], file: Path) -> str:
        """Send a form with one file, streamed; returns where the answer leads."""
        mark = "redress-benchmark-boundary"
        part = f"--{mark}\r\nContent-Disposition: form-data; "
        head = "".join(f'{part}name="{name}"\r\n\r\n{value}\r\n' for name, value in form.items())
        head += f'{part}name="file"; filename="{file.name}"\r\n'
        head += "Content-Type: text/csv\r\n\r\n"
        tail = f"\r\n--{mark}--\r\n"

        def body() -> Iterator[bytes]:
            yield head.encode()
            with file.open("rb") as content:
                while block := content.read(1 << 20):
                    yield block
            yield tail.encode()

        length = len(head.encode()) + file.stat().st_size + len(tail)
        status, location, answer = self.send("POST", path, body(), f"multipart/form-data; boundary={mark}", length)
        answer.read()
        if status != 302:
            raise SystemExit(f"The upload answered HTTP {status}")
        return location


class Memory:
    """Proportional memory of process trees, sampled while a step runs; in MiB."""

    def __init__(self, **pids: int) -> None:
        self.pids = pids

    def now(self, name: str) -> float:
        total = 0
        process = psutil.Process(self.pids[name])
        for one in [process, *process.children(recursive=True)]:
            try:
                total += one.memory_full_info().pss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return total / 2**20

    def __enter__(self) -> "Memory":
        self.before = {name: self.now(name) for name in self.pids}
        self.peak = dict(self.before)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.stop.wait(0.1):
            for name in self.pids:
                self.peak[name] = max(self.peak[name], self.now(name))

    def __exit__(self, *error: object) -> None:
        self.stop.set()
        self.thread.join()

    def growth(self, name: str) -> float:
        return round(self.peak[name] - self.before[name], 1)


def wait_for(model: Any, pk: int) -> Any:
    """The job's row once it has ended."""
    while True:
        job = model.objects.get(pk=pk)
        if not job.is_active:
            if job.status != "finished":
                raise SystemExit(f"{job} {job.status}: {job.error}")
            return job
        time.sleep(0.05)


def number_in(location: str) -> int:
    return int(re.search(r"/(\d+)/$", location)[1])  # type: ignore[index]


def measure_import(browser: Browser, memory: Memory, lead: Any, count: int, folder: Path) -> dict[str, Any]:
    from annotation import projects
    from annotation.models import ItemImport

    project = projects.create(user=lead, name="Import", overlap=3)
    file = folder / "bench.csv"
    with file.open("w") as content:
        content.writelines(texts(count))
    page = f"/projects/{project.pk}/imports/"
    form = {"csrfmiddlewaretoken": browser.token(page), "with_pairs": "on", "review": "auto"}
    with memory:
        started = time.perf_counter()
        location = browser.upload(page, form, file)
        uploaded = time.perf_counter() - started
        job = wait_for(ItemImport, number_in(location))
        seconds = time.perf_counter() - started
    if job.imported != count:
        raise SystemExit(f"The import took {job.imported} of {count} texts")
    return {
        "texts": count,
        "megabytes": round(file.stat().st_size / 1e6, 1),
        "upload_seconds": round(uploaded, 2),
        "import_seconds": round(seconds, 2),
        "import_web_growth_mib": memory.growth("web"),
        "import_worker_growth_mib": memory.growth("worker"),
    }


def measure_export(browser: Browser, memory: Memory, project: int, count: int) -> dict[str, Any]:
    from annotation.models import Export

    page = f"/projects/{project}/exports/"
    found: dict[str, Any] = {"annotations": count}
    for file_format in ("csv", "jsonl", "parquet"):
        form = {"csrfmiddlewaretoken": browser.token(page), "kind": "annotations", "file_format": file_format}
        with memory:
            started = time.perf_counter()
            status, location, _ = browser.post(page, form)
            if status != 302:
                raise SystemExit(f"The export page answered HTTP {status}")
            job = wait_for(Export, number_in(location))
            written = time.perf_counter() - started
            status, _, answer = browser.send("GET", f"{location}download/")
            size = 0
            while block := answer.read(1 << 20):
                size += len(block)
            seconds = time.perf_counter() - started
        if job.rows != count or status != 200:
            raise SystemExit(f"The export has {job.rows} rows, HTTP {status}")
        found[file_format] = {
            "seconds": round(seconds, 2),
            "written_seconds": round(written, 2),
            "megabytes": round(size / 1e6, 1),
            "web_growth_mib": memory.growth("web"),
            "worker_growth_mib": memory.growth("worker"),
        }
    found["export_seconds"] = found["csv"]["seconds"]
    found["export_web_growth_mib"] = found["csv"]["web_growth_mib"]
    found["export_worker_growth_mib"] = found["csv"]["worker_growth_mib"]
    return found


def timed(browser: Browser, path: str) -> float:
    started = time.perf_counter()
    browser.get(path)
    return time.perf_counter() - started


def measure_pages(browser: Browser, project: int, annotations: int) -> dict[str, Any]:
    """The agreement page once, as nobody has opened it before, and the overview many times."""
    browser.get("/")  # the processes have loaded their code
    agreement = [timed(browser, f"/projects/{project}/agreement/") for _ in range(3)]
    first = timed(browser, f"/projects/{project}/")
    overview = sorted(1000 * timed(browser, f"/projects/{project}/") for _ in range(40))
    return {
        "annotations": annotations,
        "agreement_page_seconds": round(agreement[0], 2),
        "agreement_page_seconds_again": [round(seconds, 2) for seconds in agreement[1:]],
        "overview_first_visit_ms": round(1000 * first, 1),
        "overview_median_ms": round(statistics.median(overview), 1),
        "overview_p95_ms": round(statistics.quantiles(overview, n=20, method="inclusive")[18], 1),
    }


def measure_queue(small: Any, large: Any, rounds: int) -> dict[str, Any]:
    """Times of next_assignment in both projects, in turn, so that a busy moment hits both alike."""
    from django.contrib.auth import get_user_model

    from annotation import work
    from annotation.models import Project

    content = {"labels": {"bias": "none", "toxicity": "none", "harm": "low", "sentiment": "neutral"}}
    seconds: dict[str, list[float]] = {"small": [], "large": []}
    sides = {"small": small, "large": large}
    users = {name: list(get_user_model().objects.filter(pk__in=filled.annotators)) for name, filled in sides.items()}
    projects = {name: Project.objects.get(pk=filled.project) for name, filled in sides.items()}
    for number in range(rounds + 20):
        for name in sides:
            user = users[name][number % len(users[name])]
            started = time.perf_counter()
            assignment = work.next_assignment(user, projects[name])
            took = time.perf_counter() - started
            if assignment is None:
                raise SystemExit(f"The {name} project had no text left")
            work.submit(user, assignment.pk, content)
            if number >= 20:  # the first ones open the connection and plan
                seconds[name].append(took)
    found: dict[str, Any] = {"small_items": small.items, "large_items": large.items, "calls_each": rounds}
    for name, values in seconds.items():
        found[f"{name}_median_ms"] = round(1000 * statistics.median(values), 2)
        found[f"{name}_p95_ms"] = round(1000 * statistics.quantiles(values, n=20, method="inclusive")[18], 2)
    for figure in ("median", "p95"):
        found[f"next_item_{figure}_ratio"] = round(found[f"large_{figure}_ms"] / found[f"small_{figure}_ms"], 2)
    return found


def measure(options: argparse.Namespace, web: Any, folder: Path) -> dict[str, Any]:
    from django.contrib.auth import get_user_model

    from annotation.models import Project
    from benchmarks import synthetic

    def size(count: int) -> int:
        return max(300, round(count * options.scale))

    lead = get_user_model().objects.create_superuser("bench-lead", password=PASSWORD)
    browser, memory = Browser(web.port, "bench-lead"), Memory(web=web.pid, worker=web.worker_pid)
    steps: dict[str, Any] = {}

    def say(step: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {step}", file=sys.stderr, flush=True)

    say("import")
    steps["import"] = measure_import(browser, memory, lead, size(100_000), folder)
    say("export")
    filled = synthetic.fill(items=size(33_334), per_item=3)
    steps["export"] = measure_export(browser, memory, filled.project, filled.annotations)
    say("pages")
    filled = synthetic.fill(items=size(333_334), per_item=3)
    steps["pages"] = measure_pages(browser, filled.project, filled.annotations)
    say("queue")
    small = synthetic.fill(items=size(10_000), per_item=0, overlap=3)
    large = synthetic.fill(items=size(1_000_000), per_item=0, overlap=3)
    steps["queue"] = measure_queue(small, large, options.calls)
    figures = {name: value for step in steps.values() for name, value in step.items()}
    checked = {
        name: {"figure": figures[name], "target": target, "met": figures[name] <= target}
        for name, target in TARGETS.items()
    }
    return {
        "targets": checked,
        "targets_met": all(one["met"] for one in checked.values()),
        **steps,
        "scale": options.scale,
        "projects": Project.objects.count(),
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
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full size, for trying it out")
    parser.add_argument("--calls", type=int, default=300, help="calls of next_assignment in each project")
    options = parser.parse_args()
    options.load = [round(load, 2) for load in os.getloadavg()]

    from config import stack

    with (
        tempfile.TemporaryDirectory(prefix="redress-bench-") as folder,
        stack.web_only(Path(folder), worker=True) as web,
    ):
        import django

        django.setup()
        result = measure(options, web, Path(folder))
    json.dump(result, sys.stdout, indent=2)
    print()
    return 0 if result["targets_met"] or options.report else 1


if __name__ == "__main__":
    sys.exit(main())
