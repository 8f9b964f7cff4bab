"""The queue of pairs, and the page where a lead settles one."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from annotation import access, pairs
from annotation.comparison import compare
from annotation.filters import PairFilter, label_choices
from annotation.forms import SettleForm
from annotation.models import Annotation, Pair, PairStatus, Project, Role
from annotation.pagination import Page

PAGE_SIZE = 50
FILTERS = ("q", "label")


def _status(request: HttpRequest, default: str = PairStatus.PROPOSED) -> str:
    status = request.GET.get("status", "")
    return status if status in PairStatus.values else default


def _filtered(request: HttpRequest, project: Project) -> PairFilter:
    """The project's pairs that pass the filters in the address, whatever their status."""
    wanted = QueryDict(mutable=True)
    wanted.update({name: request.GET[name] for name in FILTERS if request.GET.get(name)})
    return PairFilter(wanted, Pair.objects.filter(project=project))


def _address(request: HttpRequest, **values: Any) -> str:
    """The filters of this page as the query of another address."""
    query = QueryDict(mutable=True)
    query.update({name: request.GET[name] for name in FILTERS if request.GET.get(name)})
    query.update({name: str(value) for name, value in values.items()})
    return query.urlencode()


@require_GET
def queue(request: HttpRequest, pk: int) -> HttpResponse:
    """Pairs of one status: proposed ones with the most disagreement first."""
    project = access.project_for(request.user, pk, Role.LEAD, Role.TRAINER)
    status = _status(request)
    shown = _filtered(request, project)
    after = request.GET.get("after", "")
    place = (
        Pair.objects.filter(project=project, pk=int(after)).first() if after.isdecimal() and len(after) < 19 else None
    )
    found = pairs.following(shown.qs, place, status) if place else pairs.in_order(shown.qs, status)
    rows = list(found.select_related("item", "settled_by")[: PAGE_SIZE + 1])
    page = Page(rows[:PAGE_SIZE], rows[PAGE_SIZE - 1].pk if len(rows) > PAGE_SIZE else None)
    tabs = [
        {
            "label": label,
            "count": shown.qs.filter(status=value).count(),
            "query": _address(request, status=value),
            "current": value == status,
        }
        for value, label in PairStatus.choices
    ]
    context = {
        "project": project,
        "page": page,
        "tabs": tabs,
        "status": status,
        "filter": shown,
        "labels": label_choices(project),
        "chosen_label": request.GET.get("label", ""),
        "query": _address(request, status=status),
        "filtered": any(request.GET.get(name) for name in FILTERS),
    }
    return render(request, "annotation/pairs.html", context)


@never_cache
def pair(request: HttpRequest, pk: int) -> HttpResponse:
    """One pair: everybody's annotations side by side, and the decision."""
    rows = Pair.objects.select_related("project", "item", "settled_by", "chosen")
    readers = (Role.LEAD,) if request.method == "POST" else (Role.LEAD, Role.TRAINER)
    found = access.object_for(request.user, rows, pk, *readers)
    if request.method != "POST":
        return _show(request, found, None)
    form = SettleForm(request.POST)
    try:
        if not form.is_valid():
            raise ValidationError([text for texts in form.errors.values() for text in texts])
        done = _decide(request, found, form)
    except ValidationError as error:
        found.refresh_from_db()
        return _show(request, found, form, error)
    if done.status == PairStatus.PROPOSED:  # opened again
        messages.success(request, "The pair is open again.")
        return redirect(f"{found.get_absolute_url()}?{_address(request)}")
    following = _next(_filtered(request, found.project).qs, found)
    if following is None:
        messages.success(request, f"{found.item.external_id}: {done.get_status_display().lower()}.")
        return redirect(f"{reverse('annotation:pairs', args=[found.project_id])}?{_address(request)}")
    # The next page says what was settled, with the way back to it.
    return redirect(f"{following.get_absolute_url()}?{_address(request, settled=found.pk)}")


def _decide(request: HttpRequest, found: Pair, form: SettleForm) -> Pair:
    version = form.cleaned_data["version"]
    match request.POST.get("action"):
        case "reopen":
            return pairs.reopen(found, request.user, version=version)
        case "reject":
            return pairs.reject(found, request.user, version=version, reason=form.cleaned_data["reason"])
        case "approve":
            return pairs.approve(
                found,
                request.user,
                version=version,
                rewrite=form.cleaned_data["rewrite"],
                labels=form.labels(),
                chosen=form.cleaned_data["chosen"],
            )
    raise ValidationError("Choose to approve or to reject.")


def _next(filtered: "QuerySet[Pair]", place: Pair) -> Pair | None:
    """The next proposed pair after this one, or from the beginning the first."""
    return (
        pairs.following(filtered, place, PairStatus.PROPOSED).first()
        or pairs.in_order(filtered, PairStatus.PROPOSED).first()
    )


def _show(
    request: HttpRequest, found: Pair, form: SettleForm | None, error: ValidationError | None = None
) -> HttpResponse:
    annotations = list(Annotation.objects.filter(item=found.item_id).select_related("annotator").order_by("pk"))
    comparison = compare(found.item, annotations, found.project.dimensions.all())
    typed: dict[str, Any]
    if form is not None:
        typed = {
            "rewrite": request.POST.get("rewrite", ""),
            "reason": request.POST.get("reason", ""),
            "labels": form.labels(),
            "chosen": form.cleaned_data.get("chosen"),
        }
    else:
        typed = {
            "rewrite": found.rewrite,
            "reason": found.reason,
            "labels": found.labels,
            "chosen": found.chosen_id,
        }
        # Without scripts "Use this rewrite" is a link.
        used = request.GET.get("use", "")
        for annotation in annotations:
            if str(annotation.pk) == used:
                typed |= {"rewrite": annotation.rewrite, "chosen": annotation.pk}
    filtered = _filtered(request, found.project).qs
    held = access.require(request.user, found.project_id, *Role.values)
    settled = request.GET.get("settled", "")
    known = settled.isdecimal() and len(settled) < 19
    context = {
        "project": found.project,
        "pair": found,
        "settled": Pair.objects.filter(project=found.project, pk=settled).select_related("item").first()
        if known
        else None,
        "item": found.item,
        "comparison": comparison,
        "settle": [
            {
                "row": row,
                "levels": [
                    {"name": level, "checked": typed["labels"].get(row.dimension.key) == level}
                    for level in row.dimension.levels
                ],
                "undecided": not typed["labels"].get(row.dimension.key),
            }
            for row in comparison.labels
        ],
        "typed": typed,
        "errors": error.messages if error else [],
        "is_lead": Role.LEAD in held,
        "open": found.status == PairStatus.PROPOSED and Role.LEAD in held,
        "previous": pairs.preceding(filtered, found, found.status).first(),
        "next": pairs.following(filtered, found, found.status).first(),
        "query": _address(request),
        "list_query": _address(request, status=found.status),
    }
    return render(request, "annotation/pair.html", context, status=422 if error else 200)
