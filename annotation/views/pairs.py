"""The queue of pairs, and the page where a lead settles one."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache

from annotation import access, batches, pair_notes, pairs, queueing, votes
from annotation.comparison import compare
from annotation.filters import PairFilter, label_choices
from annotation.forms import SettleForm
from annotation.jobs import ACTIVE
from annotation.models import Annotation, Batch, Item, Pair, PairRefresh, PairStatus, Project, Rewrite, Role
from annotation.pagination import Page

PAGE_SIZE = 50
FILTERS = ("q", "label", "state", "differs")
HISTORY = 50  # events shown on a pair's page


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


@never_cache
def queue(request: HttpRequest, pk: int) -> HttpResponse:
    """Pairs of one status, the most contested proposed ones first. A lead may decide about those ticked."""
    readers = (Role.LEAD,) if request.method == "POST" else (Role.LEAD, Role.TRAINER)
    project = access.project_for(request.user, pk, *readers)
    if request.method != "POST":
        return _show_queue(request, project)
    try:
        batch = batches.decide(
            project,
            request.user,
            action=request.POST.get("action", ""),
            chosen=_ticked(request),
            reason=request.POST.get("reason", ""),
        )
    except ValidationError as error:
        return _show_queue(request, project, error)
    messages.success(request, batch.message or "The batch waits for a worker.")
    return redirect(batch)


def _ticked(request: HttpRequest) -> list[list[int]]:
    """Pairs as the page's boxes name them, id and version; what cannot be read is left to the rules to refuse."""
    parts = [value.partition(":") for value in request.POST.getlist("pairs")]
    numbers = [(pk, version) for pk, _, version in parts if len(pk) < 19 and len(version) < 11]
    return [[int(pk), int(version)] for pk, version in numbers if pk.isdecimal() and version.isdecimal()]


def _show_queue(request: HttpRequest, project: Project, error: ValidationError | None = None) -> HttpResponse:
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
    held = access.require(request.user, project.pk, *Role.values)
    context = {
        "project": project,
        "page": page,
        "tabs": tabs,
        "status": status,
        "filter": shown,
        "labels": label_choices(project),
        "chosen_label": request.GET.get("label", ""),
        "dimensions": project.dimensions.all(),
        "query": _address(request, status=status),
        "filtered": any(request.GET.get(name) for name in FILTERS),
        "may_tick": status == PairStatus.PROPOSED and Role.LEAD in held,
        "is_lead": Role.LEAD in held,
        "ticked": {pk for pk, _ in _ticked(request)},
        "reason": request.POST.get("reason", ""),
        "errors": error.messages if error else [],
        "settled": _just_settled(request, project),
        "refresh": PairRefresh.objects.filter(project=project, status__in=ACTIVE).first(),
        "running": Batch.objects.filter(project=project, status__in=ACTIVE).first(),
    }
    return render(request, "annotation/pairs.html", context, status=422 if error else 200)


def _just_settled(request: HttpRequest, project: Project) -> Pair | None:
    """The pair that was decided on the page before, to say so and to offer the way back."""
    settled = request.GET.get("settled", "")
    if not (settled.isdecimal() and len(settled) < 19):
        return None
    return Pair.objects.filter(project=project, pk=int(settled)).select_related("item").first()


@never_cache
def pair(request: HttpRequest, pk: int) -> HttpResponse:
    """One pair: everybody's annotations side by side, and the decision."""
    rows = Pair.objects.select_related("project", "item", "settled_by", "chosen__annotator", "batch")
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
    if request.POST.get("action") in STAY:
        messages.success(request, STAY[request.POST["action"]])
        return redirect(f"{found.get_absolute_url()}?{_address(request)}")
    # The next page says what was settled, with the way back to it.
    following = _next(_filtered(request, found.project).qs, done)
    if following is None or following.pk == done.pk:
        address = reverse("annotation:pairs", args=[found.project_id])
        return redirect(f"{address}?{_address(request, settled=found.pk)}")
    return redirect(f"{following.get_absolute_url()}?{_address(request, settled=found.pk)}")


# Decisions after which the same pair is shown, and what is said then.
STAY = {
    "reopen": "The pair is open again.",
    "undo": "The decision is undone; the pair is as it was before.",
    "more": "More annotators are asked for; the pair is refreshed when they have finished.",
}


def _decide(request: HttpRequest, found: Pair, form: SettleForm) -> Pair:
    version = form.cleaned_data["version"]
    match request.POST.get("action"):
        case "reopen":
            return pairs.reopen(found, request.user, version=version)
        case "undo":
            return pairs.undo(found, request.user, version=version)
        case "more":
            more = form.cleaned_data["more"]
            queueing.ask_for_more(found.project, request.user, Item.objects.filter(pk=found.item_id), more)
            return found
        case "send_back":
            pairs.send_back(
                found,
                request.user,
                version=version,
                annotation=form.cleaned_data["annotation"] or 0,
                reason=form.cleaned_data["sent_reason"],
            )
            return Pair.objects.get(pk=found.pk)
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
    raise ValidationError("Choose to approve, to reject or to send it back.")


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
            "sent_reason": request.POST.get("sent_reason", ""),
            "annotation": form.cleaned_data.get("annotation"),
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
    rewrites = list(Rewrite.objects.filter(item=found.item_id).prefetch_related(votes.GIVEN).order_by("-votes", "pk"))
    context = {
        "project": found.project,
        "pair": found,
        "notes": pair_notes.notes_for(found),
        "settled": _just_settled(request, found.project),
        "rewrites": [rewrite for rewrite in rewrites if rewrite.given or rewrite.open],
        "votes_by_text": {rewrite.text: rewrite for rewrite in rewrites if rewrite.votes},
        "sent": found.send_backs.select_related("annotation__annotator", "sent_by").order_by("pk"),
        "history": found.item.events.select_related("actor")[:HISTORY],
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
        "refused": request.POST.get("action", "") if error else "",
        "errors": error.messages if error else [],
        "is_lead": Role.LEAD in held,
        "open": found.status == PairStatus.PROPOSED and Role.LEAD in held,
        "previous": pairs.preceding(filtered, found, found.status).first(),
        "next": pairs.following(filtered, found, found.status).first(),
        "query": _address(request),
        "list_query": _address(request, status=found.status),
    }
    return render(request, "annotation/pair.html", context, status=422 if error else 200)
