"""Reviewers without an account: links that open one study for a time, and what they may open with them.

A guest is a closed account (inactive, without a password), so nothing but `GuestBackend` signs them in, and nobody can
make them a member of a project. `GuestMiddleware` keeps their session to the pages of rating and looks at every request
whether the link still holds.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth import BACKEND_SESSION_KEY, get_user_model, login, logout
from django.contrib.auth.backends import BaseBackend
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max, Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.formats import date_format

from annotation import events, validators
from evaluation import studies
from evaluation.models import GuestLink, Study, StudyMembership, TaskKind

MAX_AT_ONCE, MAX_GUESTS = 50, 200
MAX_DAYS, DEFAULT_DAYS = 365, 30
MAX_LABEL_LENGTH = 90
TOKEN_BYTES = 32  # 256 random bits: nothing that could be guessed
USED_EVERY = timedelta(minutes=1)  # how fine "last used" is
BACKEND = "evaluation.guests.GuestBackend"
SESSION_KEY = "guest_link"
ENDED = "guest_link_ended"  # of a request: its session ends with the response

ACTIONS = {
    "guest.invited": "made a link for a reviewer without an account",
    "guest.renewed": "renewed a reviewer's link",
    "guest.extended": "extended a reviewer's link",
    "guest.revoked": "revoked a reviewer's link",
}


@dataclass(frozen=True)
class NewLink:
    """A link with its token, which is known only now."""

    link: GuestLink
    token: str


# What leads do


@transaction.atomic
def create(study: Study, user, *, label: str = "", count: int = 1, days: int = DEFAULT_DAYS) -> list[NewLink]:
    """Add reviewers without an account to a study that has not started.

    Args:
        label: who will have the link; with several, each gets its number behind it.

    Raises:
        ValidationError: keyed by field; or the study has started.
    """
    study = studies.locked_draft(study)
    label = _clean_label(label)
    days = _clean_days(days)
    if not 1 <= count <= MAX_AT_ONCE:
        raise ValidationError({"count": f"Make 1 to {MAX_AT_ONCE} links at once."})
    here = GuestLink.objects.filter(membership__study=study)
    if here.count() + count > MAX_GUESTS:
        raise ValidationError({"count": f"A study has at most {MAX_GUESTS} reviewers without an account."})
    first = (here.aggregate(last=Max("number"))["last"] or 0) + 1
    made = []
    for number in range(first, first + count):
        token = secrets.token_urlsafe(TOKEN_BYTES)
        link = GuestLink.objects.create(
            project_id=study.project_id,
            membership=StudyMembership.objects.create(study=study, user=_account(study, number)),
            number=number,
            label=f"{label} {number - first + 1}" if label and count > 1 else label,
            token_hash=hash_of(token),
            expires_at=timezone.now() + timedelta(days=days),
            created_by=user,
        )
        _record(link, user, "guest.invited")
        made.append(NewLink(link, token))
    return made


def _account(study: Study, number: int) -> Any:
    """A closed account under a name that says nothing about the person."""
    user = get_user_model()(
        username=f"guest-{number}.study-{study.pk}", first_name="Guest", last_name=str(number), is_active=False
    )
    user.set_unusable_password()
    user.save()
    return user


@transaction.atomic
def renew(link: GuestLink, user, days: int | None = None) -> NewLink:
    """Replace a link: the old one, and whatever is signed in by it, ends at once.

    Args:
        days: valid so long from now; None keeps the end.

    Raises:
        ValidationError: it was revoked, or it has expired and no days are given.
    """
    link = _locked(link)
    if days is not None:
        link.expires_at = timezone.now() + timedelta(days=_clean_days(days))
    elif link.is_expired:
        raise ValidationError({"days": "The link has expired. Say for how many days the new one is valid."})
    token = secrets.token_urlsafe(TOKEN_BYTES)
    link.token_hash = hash_of(token)
    link.save(update_fields=["token_hash", "expires_at"])
    _record(link, user, "guest.renewed")
    return NewLink(link, token)


@transaction.atomic
def extend(link: GuestLink, user, days: int) -> GuestLink:
    """Let a link hold for so many days from now. One that had expired works again.

    Raises:
        ValidationError: it was revoked, or it holds longer already.
    """
    link = _locked(link)
    end = timezone.now() + timedelta(days=_clean_days(days))
    if end <= link.expires_at:
        raise ValidationError({"days": f"It is valid until {words_of(link.expires_at)} already. Give more days."})
    link.expires_at = end
    link.save(update_fields=["expires_at"])
    _record(link, user, "guest.extended")
    return link


@transaction.atomic
def revoke(link: GuestLink, user, reason: str = "") -> None:
    """End a link for good. Before the start its reviewer is removed; while the study runs they are taken off it, which
    is an amendment of the protocol and needs a reason.

    Raises:
        ValidationError: it was revoked already, or no reason is given.
    """
    study = Study.objects.select_for_update(of=("self",)).get(pk=link.membership.study_id)
    link = _locked(link)
    _record(link, user, "guest.revoked")
    if study.is_draft:
        studies.remove_reviewer(study, link.membership)
        return
    if study.is_running:
        studies.revoke(study, link.membership, user, reason)
    link.revoked_at = timezone.now()
    link.save(update_fields=["revoked_at"])


def _locked(link: GuestLink) -> GuestLink:
    found = GuestLink.objects.select_for_update(of=("self",)).select_related("membership__study").get(pk=link.pk)
    if found.ended_at:
        raise ValidationError("This link was revoked.")
    return found


def _record(link: GuestLink, user, action: str) -> None:
    subject = f"{link} of {link.study}" + (f" ({link.label})" if link.label else "")
    events.record(link.project_id, user, action, subject=subject, after={"expires_at": link.expires_at.isoformat()})


def _clean_label(label: str) -> str:
    label = validators.normalise_text(label).strip()
    try:
        validators.check_storable(label, "The label")
    except ValidationError as error:
        raise ValidationError({"label": error.messages}) from None
    if len(label) > MAX_LABEL_LENGTH:
        raise ValidationError({"label": f"At most {MAX_LABEL_LENGTH} characters; there are {len(label)}."})
    return label


def _clean_days(days: int) -> int:
    if not 1 <= days <= MAX_DAYS:
        raise ValidationError({"days": f"A link is valid for 1 to {MAX_DAYS} days."})
    return days


def links_of(study: Study) -> list[GuestLink]:
    """The study's links in their order."""
    found = GuestLink.objects.filter(membership__study=study).select_related("membership__study", "created_by")
    return list(found.order_by("number"))


# What guests do


def hash_of(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def find(token: str) -> GuestLink | None:
    """The link with this token, whether it still holds or not."""
    return _links().filter(token_hash=hash_of(token)).first()


def _links():
    return GuestLink.objects.select_related("membership__study__project", "membership__user", "created_by")


def refusal(link: GuestLink) -> str:
    """Why a link does not hold any more, and whom to ask; empty while it holds."""
    if link.ended_at:
        return (
            "Your access to this study was ended. What you had submitted until then is kept. "
            f"If you think this is a mistake, ask {contact(link)}."
        )
    if link.is_expired:
        return (
            f"Your access to this study ended on {words_of(link.expires_at)}. What you submitted counts, and what you "
            f"had begun is kept. To go on, ask {contact(link)} to extend it; then the same link works again."
        )
    return ""


def contact(link: GuestLink) -> str:
    """Whom a guest asks: the lead who made the link."""
    person = link.created_by
    return " ".join(
        filter(None, [person.get_full_name() or person.get_username(), person.email and f"({person.email})"])
    )


def words_of(moment) -> str:
    return date_format(timezone.localtime(moment), "j F Y, H:i") + f" ({timezone.get_current_timezone_name()})"


def pages_of(link: GuestLink) -> int:
    """How many pages the guest is asked to rate; 0 before the study has started."""
    tasks = link.study.tasks.filter(reviewer_id=link.membership.user_id)
    return tasks.exclude(kind=TaskKind.SAME).count()


def sign_in(request: HttpRequest, link: GuestLink) -> None:
    """Start a session for this guest alone. Whoever was signed in in this browser is signed out."""
    login(request, _opened(link), backend=BACKEND)
    request.session[SESSION_KEY] = _mark(link)
    now = timezone.now()
    GuestLink.objects.filter(pk=link.pk).update(first_used_at=link.first_used_at or now, last_used_at=now)


def _opened(link: GuestLink) -> Any:
    """The guest's account as their own session has it: active there, and closed to everything else."""
    user: Any = link.membership.user
    user.is_active = True  # of this object alone: it is never saved
    user.guest = link
    return user


def _mark(link: GuestLink) -> str:
    """Ties a session to the link that started it, so that a renewed link ends it."""
    return link.token_hash[:16]


class GuestBackend(BaseBackend):
    """Sessions of guests. Nobody signs in with a name and a password here."""

    def get_user(self, user_id: Any) -> Any:
        link = _links().filter(membership__user_id=user_id).first()
        return _opened(link) if link else None


class GuestMiddleware:
    """Keeps a guest's session to the rating pages and API routes, for as long as their link holds.

    Other people's requests pass without a query.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if getattr(request, ENDED, False):
            logout(request)
        return response

    def process_view(self, request: HttpRequest, view: Callable, args: Any, kwargs: Any) -> HttpResponse | None:
        if request.session.get(BACKEND_SESSION_KEY) != BACKEND:
            return None
        link: GuestLink | None = getattr(request.user, "guest", None)
        if link is None:  # the link is gone, and with it the session
            return None
        name = request.resolver_match.view_name if request.resolver_match else ""
        if name in ALWAYS_OPEN:
            return None
        if request.session.get(SESSION_KEY) != _mark(link):
            logout(request)
            return _refused(request, f"Your link was replaced by a new one. Open that one, or ask {contact(link)}.")
        if words := refusal(link):
            # What was typed before the end arrives after it; it is kept and counts for nothing. An ended link has that
            # once, and reads nothing.
            if name in DRAFTS and (not link.ended_at or request.method in ("POST", "PUT")):
                setattr(request, ENDED, bool(link.ended_at))
                return None
            if link.ended_at:
                logout(request)
            return _refused(request, words)
        if not _is_of_rating(view):
            if name == "annotation:home":
                return redirect("evaluation:rate", link.membership.study_id)
            return _refused(request, "Your link opens one study, and nothing else here.", link)
        _touch(link)
        return None


# Besides the pages and routes of rating.
ALWAYS_OPEN = {"logout", "health", "evaluation:review", "evaluation:review-ended"}
DRAFTS = {"evaluation:draft", "api:review-task-draft"}


def _is_of_rating(view: Any) -> bool:
    """Whether a view is one of the reviewer's: all that `views/rate.py` holds, and the API's review tasks."""
    from evaluation.api import ReviewTaskViewSet
    from evaluation.views import rate

    return getattr(view, "__module__", "") == rate.__name__ or getattr(view, "cls", None) is ReviewTaskViewSet


def _touch(link: GuestLink) -> None:
    now = timezone.now()
    old = Q(last_used_at=None) | Q(last_used_at__lt=now - USED_EVERY)
    if link.last_used_at is None or link.last_used_at < now - USED_EVERY:
        GuestLink.objects.filter(old, pk=link.pk).update(last_used_at=now)


def _refused(request: HttpRequest, words: str, link: GuestLink | None = None) -> HttpResponse:
    """403 with the words, in the form that whoever asked can show: the page's scripts show plain text as it is."""
    if request.path.startswith("/api/"):
        return JsonResponse({"detail": words}, status=403)
    if request.headers.get("HX-Request") or request.content_type == "application/json":
        return HttpResponse(words, status=403, content_type="text/plain; charset=utf-8")
    return render(request, "evaluation/review_refused.html", {"words": words, "link": link}, status=403)
