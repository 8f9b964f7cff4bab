"""What a lead decides about many pairs at once, what the votes say, and what comes back from annotators."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from annotation import access, batches, pairs, rules, vote_results
from annotation.forms import RuleForm, show_errors
from annotation.models import ApprovalRule, Batch, PairRefresh, Project, Role, SendBack
from annotation.pagination import page_by_id
from annotation.views.jobs import _progress


@never_cache
def rule(request: HttpRequest, pk: int) -> HttpResponse:
    """The project's approval rule with what it would do; saving it, and approving under it. The votes' figures."""
    readers = (Role.LEAD,) if request.method == "POST" else (Role.LEAD, Role.TRAINER)
    project = access.project_for(request.user, pk, *readers)
    stored = rules.rule_of(project)
    if request.method != "POST":
        return _show_rule(request, project, RuleForm(instance=stored), stored)
    form = RuleForm(request.POST, instance=ApprovalRule(project=project))
    try:
        if not form.is_valid():
            return _show_rule(request, project, form, None, status=422)
        wanted = rules.check(project, form.cleaned_data)
        if request.POST.get("action") == "preview":
            return _show_rule(request, project, form, wanted)
        saved = rules.save(project, request.user, form.cleaned_data)
        if request.POST.get("action") == "approve":
            return redirect(batches.approve_by_rule(project, request.user, saved))
    except ValidationError as error:
        show_errors(form, error)
        return _show_rule(request, project, form, None, status=422)
    messages.success(request, "The rule is saved.")
    return redirect("annotation:rules", pk)


def _show_rule(
    request: HttpRequest, project: Project, form: RuleForm, wanted: ApprovalRule | None, status: int = 200
) -> HttpResponse:
    """The page, or for htmx what the rule of the form would do. `wanted` is None where the form is no rule."""
    context: dict[str, Any] = {"project": project, "form": form, "wanted": wanted}
    if wanted is not None:
        context |= {"words": rules.words(wanted), "preview": rules.preview(wanted)}
    context["is_lead"] = Role.LEAD in access.require(request.user, project.pk, *Role.values)
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "annotation/_rule_preview.html", context, status=status)
    earlier = Batch.objects.filter(project=project).select_related("created_by")
    context |= {
        "vote_results": vote_results.results(project),
        "page": page_by_id(earlier, request.GET.get("after"), size=10, descending=True),
    }
    return render(request, "annotation/rules.html", context, status=status)


def _batch(request: HttpRequest, pk: int, *roles: str) -> Batch:
    return access.object_for(request.user, Batch.objects.select_related("project", "created_by", "undoes"), pk, *roles)


@never_cache
@require_GET
def batch(request: HttpRequest, pk: int) -> HttpResponse:
    """How a batch stands, under which rule, and what is still as it left it."""
    found = _batch(request, pk, Role.LEAD, Role.TRAINER)
    held = access.require(request.user, found.project_id, *Role.values)
    context = {
        "project": found.project,
        "job": found,
        "progress_url": reverse("annotation:batch-progress", args=[pk]),
        "still": batches.decided_now(found),
        "undone_by": found.undone_by.order_by("-pk").first(),
        "is_lead": Role.LEAD in held,
    }
    return render(request, "annotation/batch.html", context)


@never_cache
@require_GET
def batch_progress(request: HttpRequest, pk: int) -> HttpResponse:
    return _progress(request, _batch(request, pk, Role.LEAD, Role.TRAINER), "annotation:batch-progress")


@never_cache
@require_GET
def refresh_progress(request: HttpRequest, pk: int) -> HttpResponse:
    """How far the pairs are brought in line with the project's settings."""
    job = access.object_for(request.user, PairRefresh.objects.select_related("project"), pk, Role.LEAD, Role.TRAINER)
    return _progress(request, job, "annotation:refresh-progress")


@require_POST
def batch_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Stop a batch; what it decided stays, and can be undone."""
    found = _batch(request, pk, Role.LEAD)
    found.request_cancel()
    return redirect(found)


@require_POST
def batch_undo(request: HttpRequest, pk: int) -> HttpResponse:
    """Bring back what a batch decided."""
    found = _batch(request, pk, Role.LEAD)
    try:
        return redirect(batches.undo(found, request.user))
    except ValidationError as error:
        messages.error(request, error.messages[0])
        return redirect(found)


@require_POST
def keep(request: HttpRequest, pk: int) -> HttpResponse:
    """An annotator leaves an annotation that was sent back as it is, and says why."""
    sent = access.object_for(request.user, SendBack.objects.select_related("annotation"), pk, Role.ANNOTATOR)
    if sent.annotation.annotator_id != request.user.pk:
        raise Http404
    try:
        pairs.keep(request.user, pk, request.POST.get("answer", ""))
    except SendBack.DoesNotExist:
        messages.info(request, "Nobody waits for an answer any more.")
    except ValidationError as error:
        messages.error(request, error.messages[0])
        return redirect("annotation:revise", sent.annotation_id)
    else:
        messages.success(request, "Your answer is with the lead.")
    return redirect("annotation:annotate", sent.project_id)
