"""The report of a closed study: computed by a worker, shown on a page, and written to files.

reading (answers into arrays) -> building (figures with intervals) -> answers, tables, methods, datasheet, documents
(how they read) -> files (HTML, PDF, CSV). The statistics themselves are in `evaluation.analysis`.

Importing this loads no library of the analysis: web processes read reports, only workers compute them.
"""

from typing import Any

from annotation.jobs import JobError
from evaluation.models import Report


def run(report: Report) -> dict[str, Any]:
    """The job: compute a report and write its files. Raises JobError when its study is still running."""
    from threadpoolctl import threadpool_limits

    from evaluation import figures
    from evaluation.reports import files
    from evaluation.reports.building import build

    if not report.study.is_closed:
        raise JobError("The study is not closed yet.")
    # The models' matrices are many and small: threads would wait for each other longer than they work.
    with threadpool_limits(1):
        report.results = build(report.study, report.seed, on_progress=report.report)
    report.figures = figures.figures(report.results)
    report.beat()
    files.write(report)
    return {"results": report.results, "figures": report.figures, "message": "The report is complete."}
