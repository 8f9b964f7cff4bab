"""Pages that set runs side by side."""

from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from annotation import access, svg
from training import comparing, figures
from training.comparing import Comparison
from training.models import Run
from training.views import READERS


def chosen(request: HttpRequest, project_id: int) -> Comparison:
    """The runs of the project that the address names.

    Raises:
        ValidationError: more than can be compared, or no numbers.
    """
    wanted = comparing.check_numbers(request.GET.getlist("run"))
    rows = Run.objects.filter(project_id=project_id, pk__in=wanted).select_related("dataset", "recipe", "created_by")
    found = {run.pk: run for run in rows}
    return comparing.compare([found[pk] for pk in wanted if pk in found])


@never_cache
@require_GET
def compare(request: HttpRequest, pk: int) -> HttpResponse:
    """Runs side by side (`?run=3&run=5`): what differs, their curves, their figures. `&format=svg`: the curves alone.

    Without runs: the newest, to choose from.
    """
    project = access.project_for(request.user, pk, *READERS)
    error = ""
    try:
        comparison = chosen(request, project.pk)
    except ValidationError as refused:
        comparison, error = comparing.compare([]), refused.messages[0]
    figure = figures.compared(comparison.figure_curves())
    if request.GET.get("format") == "svg":
        if not figure:
            raise Http404
        response = HttpResponse(figure, content_type="image/svg+xml")
        response["Content-Disposition"] = 'attachment; filename="runs-loss.svg"'
        return response
    compared = {run.pk for run in comparison.runs}
    context = {
        "project": project,
        "comparison": comparison,
        "error": error,
        "most": comparing.MOST,
        "figure": svg.themed(figure) if figure else "",
        "query": urlencode([("run", pk) for pk in compared]),
        "compared": compared,
        "newest": Run.objects.filter(project=project).select_related("dataset")[:50],
    }
    return render(request, "training/compare.html", context, status=422 if error else 200)
