"""A closed study as preferences for training: how many there would be, and one action that makes them."""

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from annotation import access
from annotation.models import Role
from evaluation import preferences, studies
from evaluation.judge_forms import PreferencesForm
from evaluation.models import Study


@require_http_methods(["GET", "POST"])
def make(request: HttpRequest, pk: int) -> HttpResponse:
    """Count what the options in the address would make; a POST makes it."""
    study = access.object_for(request.user, Study.objects.select_related("project"), pk, Role.TRAINER)
    studies.check_results(request.user, study)
    posted = request.method == "POST"
    form = PreferencesForm(request.POST if posted else request.GET, study=study)
    found, status = None, 200
    if not form.is_bound or form.is_valid():
        try:
            if posted:
                made = preferences.from_study(study, request.user, form.options if form.is_bound else None)
                messages.success(request, str(made))
                return redirect("training:preferences", study.project_id)
            found = preferences.find(study, form.options)
        except ValidationError as error:
            if form.is_bound:
                form.add_error(None, error)
            else:
                messages.error(request, error.messages[0])
                return redirect(study)
    if form.errors:
        status = 422
    context = {"project": study.project, "study": study, "form": form, "found": found}
    return render(request, "evaluation/preferences.html", context, status=status)
