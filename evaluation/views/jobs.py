"""How a job stands, for the pages that show one."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from annotation.jobs import Job


def job_partial(request: HttpRequest, job: Job, progress_url: str) -> HttpResponse:
    """The job's state. Once it has ended the page is told to load again, to show what the job made."""
    response = render(request, "_job.html", {"job": job, "progress_url": progress_url})
    if request.htmx and not job.is_active:  # type: ignore[attr-defined]
        response["HX-Refresh"] = "true"
    return response
