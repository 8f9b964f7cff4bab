"""How long the agreement page and the overview of a large project take: the real server, nothing cached.

    python -m benchmarks.agreement                 1,000,000 annotations of 333,334 texts

Fills a database of its own (benchmarks/synthetic.py), then asks the web server for the pages as a lead's browser does,
several times each. Prints one JSON object. Targets, on 2 cores: agreement page 3 s, with all four dimensions and their
intervals; overview 300 ms.
"""

import argparse
import http.client
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks import synthetic

TARGETS = {"agreement_page_seconds": 3.0, "overview_seconds": 0.3}
TIMES = 5


def sign_in(user_id: int) -> str:
    """The cookie of a signed-in browser."""
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.test import Client

    client = Client()
    client.force_login(get_user_model().objects.get(pk=user_id))
    return f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"


def seconds(port: int, cookie: str, path: str, times: int = TIMES) -> tuple[list[float], str]:
    """How long each request took until its last byte, and the page."""
    found, page = [], ""
    for _ in range(times):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        started = time.perf_counter()
        connection.request("GET", path, headers={"Cookie": cookie})
        answer = connection.getresponse()
        page = answer.read().decode()
        found.append(time.perf_counter() - started)
        connection.close()
        if answer.status != 200:
            raise SystemExit(f"{path} answered HTTP {answer.status}")
    return found, page


def summarised(found: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(found), 3), "worst": round(max(found), 3)}


def measure(port: int, filled: synthetic.Filled, times: int = TIMES) -> dict[str, Any]:
    """Times of the pages of a filled project; `port` is where its web server listens."""
    from annotation import summary

    cookie = sign_in(filled.lead)
    base = f"/projects/{filled.project}/"
    pages = {
        "agreement_page": f"{base}agreement/",
        "agreement_page_of_one_language": f"{base}agreement/?language=en",
        "agreement_page_of_a_period": f"{base}agreement/?since=2026-02-01&until=2026-04-30",
        "annotators_two_by_two": f"{base}agreement/pairs/",
    }
    result: dict[str, Any] = {"annotations": filled.annotations, "texts": filled.items}
    for name, path in pages.items():
        found, page = seconds(port, cookie, path, times)
        result[f"{name}_seconds"] = summarised(found)
        if name == "agreement_page":
            # Four dimensions, five coefficients each, every one with its interval.
            result["intervals_on_the_page"] = page.split('id="drift-title"')[0].count('class="nowrap">[')
    started = time.perf_counter()
    summary.refresh(filled.project)  # what the worker does
    result["counting_for_the_overview_seconds"] = round(time.perf_counter() - started, 3)
    result["overview_seconds"] = summarised(seconds(port, cookie, base, times)[0])
    result["targets"] = TARGETS
    result["targets_met"] = result["intervals_on_the_page"] == 20 and all(
        result[name]["median"] < target for name, target in TARGETS.items()
    )
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=333_334)
    parser.add_argument("--per-item", type=int, default=3)
    parser.add_argument("--times", type=int, default=TIMES)
    options = parser.parse_args()

    from config import stack

    with tempfile.TemporaryDirectory(prefix="redress-bench-") as folder, stack.web_only(Path(folder)) as web:
        import django

        django.setup()
        filled = synthetic.fill(items=options.items, per_item=options.per_item)
        result = measure(web.port, filled, options.times)
        result["filling_seconds"] = filled.seconds_with_analyze
    result["machine"] = {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
    }
    json.dump(result, sys.stdout, indent=2)
    print()
    return 0 if result["targets_met"] else 1


if __name__ == "__main__":
    sys.exit(main())
