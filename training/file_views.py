"""What a run left: downloads, its model card, and publishing it. Nothing here loads a model or copies a file."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import access
from annotation.forms import show_errors
from annotation.models import Role
from training import archives, artifacts, publishing
from training.forms import PublicationForm
from training.models import Publication, Run

READERS = (Role.LEAD, Role.TRAINER)
PUBLICATIONS = Publication.objects.select_related("run", "created_by")


@require_GET
def run_log(request: HttpRequest, pk: int) -> HttpResponseBase:
    """The whole log as a text file."""
    return _download(request, pk, log_response)


@require_GET
def run_adapter(request: HttpRequest, pk: int) -> HttpResponseBase:
    """The adapter with its tokenizer, recipe, metrics and model card, as one zip file."""
    return _download(request, pk, lambda found: zip_response(found, "adapter"))


@require_GET
def run_merged(request: HttpRequest, pk: int) -> HttpResponseBase:
    """The merged model with its tokenizer and model card, as one zip file."""
    return _download(request, pk, lambda found: zip_response(found, "merged"))


@require_GET
def run_card(request: HttpRequest, pk: int) -> HttpResponseBase:
    """The model card as a page."""

    def page(found: Run) -> HttpResponse:
        return render(request, "training/card.html", {"project": found.project, "run": found, "card": card(found)})

    return _download(request, pk, page)


def _download(request: HttpRequest, pk: int, answer: Any) -> HttpResponseBase:
    found = access.object_for(request.user, Run.objects.select_related("project"), pk, *READERS)
    try:
        return answer(found)
    except artifacts.Unreachable as error:
        messages.error(request, str(error))
        return redirect(found)


def log_response(found: Run) -> StreamingHttpResponse:
    """404 while there is none."""
    chunks = artifacts.log_chunks(found)
    if chunks is None:
        raise Http404
    response = StreamingHttpResponse(chunks, content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="run-{found.pk}-log.txt"'
    return response


def zip_response(found: Run, name: str) -> StreamingHttpResponse:
    """The files of the adapter or merged model as a zip, streamed. 404 while there are none."""
    there = found.has_adapter if name == "adapter" else found.has_merged
    files = artifacts.result_files(found, name) if there else []
    if not files:
        raise Http404
    name = f"run-{found.pk}-{name}"
    response = StreamingHttpResponse(archives.zipped(files, name), content_type="application/zip")
    response["Content-Disposition"] = f'attachment; filename="{name}.zip"'
    return response


def card(found: Run) -> str:
    """The model card's Markdown without the hub's header. 404 while there is none."""
    text = card_file(found)
    head, mark, body = text.removeprefix("---\n").partition("\n---\n")
    return body if mark else head


def card_file(found: Run) -> str:
    """README.md of the adapter."""
    files = artifacts.result_files(found) if found.has_adapter else []
    readme = next((file for file in files if file.name == "README.md"), None)
    if readme is None:
        raise Http404
    return b"".join(readme.chunks()).decode(errors="replace")


@require_http_methods(["GET", "POST"])
def run_publish(request: HttpRequest, pk: int) -> HttpResponse:
    """Publish the adapter or merged model to a folder or to the hub."""
    found = access.object_for(request.user, Run.objects.select_related("project"), pk, Role.TRAINER)
    posted = request.POST if request.method == "POST" else None
    form = PublicationForm(posted, run=found)
    if form.is_valid():
        try:
            publishing.publish(found, request.user, **form.cleaned_data)
            return redirect(f"{found.get_absolute_url()}#files")
        except ValidationError as error:
            show_errors(form, error)
    context = {"project": found.project, "run": found, "form": form, "places": publishing.places()}
    return render(request, "training/publish.html", context, status=422 if posted is not None else 200)


@never_cache
@require_GET
def publication_progress(request: HttpRequest, pk: int) -> HttpResponse:
    """One publication's line on the run's page; it asks again while it lasts."""
    found = access.object_for(request.user, PUBLICATIONS.all(), pk, *READERS)
    return render(request, "training/_publication.html", {"one": found, "may_train": _may_train(request, found)})


def _may_train(request: HttpRequest, found: Publication) -> bool:
    return request.user.is_superuser or Role.TRAINER in access.roles_in(request.user, found.project_id)


@require_POST
def publication_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    found = access.object_for(request.user, PUBLICATIONS.all(), pk, Role.TRAINER)
    found.request_cancel()
    return redirect(f"{found.run.get_absolute_url()}#files" if found.run else "annotation:home")
