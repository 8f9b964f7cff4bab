"""Accounts: one's own page and API token, and whether the server is well."""

from typing import Any

import redis
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import get_user_model
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.authtoken.models import Token
from rest_framework.authtoken.views import ObtainAuthToken

from annotation.forms import NameForm

NEW_TOKEN = "new_token"  # noqa: S105 - the session's key, not a secret


@never_cache
def account(request: HttpRequest) -> HttpResponse:
    """One's own name, password and API token. A new token is shown once, right after it was made."""
    user: Any = request.user
    person = get_user_model().objects.get(pk=user.pk)
    if request.method == "POST" and request.POST.get("action") == "token":
        request.session[NEW_TOKEN] = renew_token(user)
        return redirect("account")
    form = NameForm(request.POST if request.method == "POST" else None, instance=person)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Your name is saved.")
        return redirect("account")
    context = {
        "form": form,
        "new_token": request.session.pop(NEW_TOKEN, None),
        "token_made": Token.objects.filter(user=user).values_list("created", flat=True).first(),
    }
    return render(request, "account.html", context, status=422 if form.is_bound else 200)


@transaction.atomic
def renew_token(user) -> str:
    """A new API token in place of the old one, which stops working at once."""
    Token.objects.filter(user=user).delete()
    return Token.objects.create(user=user).key


class TokenSerializer(serializers.Serializer):
    token = serializers.CharField(read_only=True)


class TokenView(ObtainAuthToken):
    """A person's API token, for their username and password. It stays the same until they renew it."""

    @extend_schema(responses=TokenSerializer, auth=[])
    def post(self, request, *args, **kwargs):
        return super().post(request, *args, **kwargs)


@login_not_required
@never_cache
@require_GET
def health(request: HttpRequest) -> JsonResponse:
    """200 while PostgreSQL and Redis answer, else 503 with the one that does not."""
    state = {"database": _answers(_ask_database), "redis": _answers(_ask_redis)}
    well = all(answer == "ok" for answer in state.values())
    return JsonResponse({"status": "ok" if well else "failing", **state}, status=200 if well else 503)


def _answers(ask) -> str:
    try:
        ask()
    except (DatabaseError, redis.RedisError, OSError) as error:
        return type(error).__name__
    return "ok"


def _ask_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _ask_redis() -> None:
    # Celery writes a Unix socket's address as redis+socket://path?virtual_host=1, the client as unix://path?db=1
    url = settings.REDIS_URL
    if url.startswith("redis+socket://"):
        url = url.replace("redis+socket", "unix", 1).replace("virtual_host=", "db=", 1)
    with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
        client.ping()
