"""Reviewers without an account: the page behind their link, and the lead's page of links."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotation import access
from annotation.forms import show_errors
from annotation.models import Role
from evaluation import guests
from evaluation.guests import NewLink
from evaluation.models import GuestLink, Study

NEW_LINKS = "new_links_by_study"  # of a session: study -> link -> address, until the study's page shows them

# A link is an address with a secret in it. The browser names to no page more of where it came from than the site:
# not even to our own, whose log could keep it. "no-referrer" would also take away the Origin header that forms need.
REFERRER_POLICY = "strict-origin"


# What a guest sees


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def review(request: HttpRequest, token: str) -> HttpResponse:
    """What awaits a guest, and a button that begins. Only the button signs in: programs that look at links in mails
    and chats open them too.
    """
    link = guests.find(token)
    if link is None:
        raise Http404
    words = guests.refusal(link)
    if request.method == "POST" and not words and not link.study.is_draft:
        guests.sign_in(request, link)
        response: HttpResponse = redirect("evaluation:rate", link.study.pk)
    else:
        context = {
            "link": link,
            "study": link.study,
            "words": words,
            "contact": guests.contact(link),
            "pages": guests.pages_of(link),
            "until": guests.words_of(link.expires_at),
            "other": _somebody_else(request, link),
        }
        response = render(request, "evaluation/review.html", context, status=410 if words else 200)
    response["Referrer-Policy"] = REFERRER_POLICY
    return response


def _somebody_else(request: HttpRequest, link: GuestLink) -> str:
    """Who would be signed out in this browser."""
    if request.user.is_authenticated and request.user.pk != link.membership.user_id:
        return request.user.get_username()
    return ""


@login_not_required
@require_safe
def ended(request: HttpRequest) -> HttpResponse:
    """Where a guest comes to who signed out."""
    return render(request, "evaluation/review_refused.html", {"signed_out": True})


# What leads see


class NewLinksForm(forms.Form):
    label = forms.CharField(
        label="Who will have it",
        required=False,
        max_length=guests.MAX_LABEL_LENGTH,
        widget=forms.TextInput(attrs={"dir": "auto", "autocomplete": "off"}),
        help_text="Only leads see this, for example “Reviewer 7 (Leeds)”. Of several, each gets its number.",
    )
    count = forms.IntegerField(label="How many", initial=1, min_value=1, max_value=guests.MAX_AT_ONCE)
    days = forms.IntegerField(
        label="Valid for days", initial=guests.DEFAULT_DAYS, min_value=1, max_value=guests.MAX_DAYS
    )


class DaysForm(forms.Form):
    days = forms.IntegerField(label="Days from now", min_value=1, max_value=guests.MAX_DAYS)


@never_cache
@require_http_methods(["GET", "POST"])
def index(request: HttpRequest, pk: int) -> HttpResponse:
    """The links of a study: make some, copy those just made, renew, extend and revoke."""
    study = _study(request, pk)
    form = NewLinksForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            _show_once(request, study, guests.create(study, request.user, **form.cleaned_data))
            return redirect("evaluation:guests", study.pk)
        except ValidationError as error:
            show_errors(form, error)
    return _page(request, study, form)


def _page(
    request: HttpRequest, study: Study, form: forms.Form | None = None, problems: list[str] | None = None
) -> HttpResponse:
    kept = request.session.pop(NEW_LINKS, {})
    new = kept.pop(str(study.pk), {})
    if kept:
        request.session[NEW_LINKS] = kept
    links = guests.links_of(study)
    context: dict[str, Any] = {
        "project": study.project,
        "study": study,
        "links": links,
        "new": [[str(link), link.label, new[str(link.pk)]] for link in links if str(link.pk) in new],
        "form": form or NewLinksForm(),
        "problems": problems or [],
        "max_days": guests.MAX_DAYS,
        "days": guests.DEFAULT_DAYS,
    }
    bad = problems or (form is not None and form.is_bound)
    return render(request, "evaluation/guests.html", context, status=422 if bad else 200)


def _show_once(request: HttpRequest, study: Study, made: list[NewLink]) -> None:
    """Keep the addresses until the next page shows them; after that nobody can read them again."""
    kept = request.session.get(NEW_LINKS, {})
    kept[str(study.pk)] = kept.get(str(study.pk), {}) | {
        str(new.link.pk): request.build_absolute_uri(reverse("evaluation:review", args=[new.token])) for new in made
    }
    request.session[NEW_LINKS] = kept


@require_POST
def renew(request: HttpRequest, pk: int) -> HttpResponse:
    """A new link in place of the old one."""
    link = _link(request, pk)
    form = DaysForm({"days": request.POST.get("days") or guests.DEFAULT_DAYS})
    return _act(
        request, link, form, lambda days: _show_once(request, link.study, [guests.renew(link, request.user, days)])
    )


@require_POST
def extend(request: HttpRequest, pk: int) -> HttpResponse:
    """Let a link hold longer, or again."""
    link = _link(request, pk)
    form = DaysForm(request.POST)
    return _act(request, link, form, lambda days: guests.extend(link, request.user, days), f"{link} is extended.")


@require_POST
def revoke(request: HttpRequest, pk: int) -> HttpResponse:
    """End a link for good."""
    link = _link(request, pk)
    reason = request.POST.get("reason", "")
    return _act(request, link, None, lambda _: guests.revoke(link, request.user, reason), f"{link} is revoked.")


def _act(request: HttpRequest, link: GuestLink, form: forms.Form | None, action, done: str = "") -> HttpResponse:
    """Do it and show the links again; where a rule refuses, with the reasons."""
    study = link.study
    if form is not None and not form.is_valid():
        return _page(request, study, problems=[f"{link}: {' '.join(str(error) for error in form.errors['days'])}"])
    try:
        action(form.cleaned_data["days"] if form is not None else None)
    except ValidationError as error:
        return _page(request, study, problems=[f"{link}: {message}" for message in error.messages])
    if done:
        messages.success(request, done)
    return redirect("evaluation:guests", study.pk)


def _study(request: HttpRequest, pk: int) -> Study:
    return access.object_for(request.user, Study.objects.select_related("project"), pk, Role.LEAD)


def _link(request: HttpRequest, pk: int) -> GuestLink:
    links = GuestLink.objects.select_related("membership__study__project", "membership__user")
    return access.object_for(request.user, links, pk, Role.LEAD)
