"""Signing in, one's own account, tokens, invitations and the health of the server."""

import re

import pytest
import redis
from django.test import Client
from django.urls import reverse
from rest_framework.authtoken.models import Token

from annotation import projects
from annotation.models import Role
from annotation.views import account
from tests.factories import PASSWORD, ProjectFactory, UserFactory
from tests.services import database_of_redis

pytestmark = pytest.mark.django_db


@pytest.fixture
def user(client):
    user = UserFactory(username="ada")
    client.force_login(user)
    return user


def test_signing_in_leads_to_where_one_wanted_to_go(client):
    UserFactory(username="ada")
    answer = client.get("/account/")
    assert answer.url == "/account/login/?next=/account/"
    page = client.get(answer.url).content.decode()
    assert 'name="next" value="/account/"' in page
    answer = client.post("/account/login/", {"username": "ada", "password": PASSWORD, "next": "/account/"})
    assert answer.url == "/account/"


def test_a_wrong_password_says_so_and_keeps_the_name(client):
    page = client.post("/account/login/", {"username": "<b>ada", "password": "wrong"}).content.decode()
    assert "Please enter a correct username and password" in page
    assert "&lt;b&gt;ada" in page


def test_ones_name_and_password_can_be_changed(client, user):
    client.post("/account/", {"first_name": "Ada", "last_name": "L", "email": "ada@example.org"})
    user.refresh_from_db()
    assert user.get_full_name() == "Ada L"
    new = {"old_password": PASSWORD, "new_password1": "quite new and long", "new_password2": "quite new and long"}
    assert client.post("/account/password/", new).url == "/account/"
    user.refresh_from_db()
    assert user.check_password("quite new and long")


def test_a_refused_name_is_shown_as_it_was_typed(client, user):
    answer = client.post("/account/", {"first_name": "<i>x", "email": "not an address"})
    assert answer.status_code == 422
    assert "&lt;i&gt;x" in answer.content.decode()
    user.refresh_from_db()
    assert user.first_name == ""


def test_a_token_is_shown_once_and_renewing_ends_the_old_one(client, user):
    page = client.post("/account/", {"action": "token"}, follow=True).content.decode()
    first = Token.objects.get().key
    assert first in page
    assert first not in client.get("/account/").content.decode()
    client.post("/account/", {"action": "token"})
    script = Client(headers={"Authorization": f"Token {first}"})
    assert script.get("/api/projects/").status_code == 401
    script = Client(headers={"Authorization": f"Token {Token.objects.get().key}"})
    assert script.get("/api/projects/").status_code == 200


def test_the_api_gives_a_token_for_name_and_password(client):
    UserFactory(username="ada")
    answer = client.post("/api/token/", {"username": "ada", "password": PASSWORD}, content_type="application/json")
    assert answer.json() == {"token": Token.objects.get().key}
    answer = client.post("/api/token/", {"username": "ada", "password": "wrong"}, content_type="application/json")
    assert answer.status_code == 400


def test_an_invited_person_sets_a_password_and_is_in(client):
    lead = UserFactory(username="lea")
    project = ProjectFactory(lead=lead)
    client.force_login(lead)
    page = client.post(
        reverse("annotation:members", args=[project.pk]),
        {"person": "new@example.org", "roles": [Role.ANNOTATOR]},
        follow=True,
    ).content.decode()
    link = re.search(r'value="(http://testserver/account/invitation/[^"]+)"', page)[1]
    visitor = Client()
    form = visitor.get(link, follow=True)
    assert "new@example.org" in form.content.decode()
    password = {"new_password1": "long enough, surely", "new_password2": "long enough, surely"}
    page = visitor.post(form.request["PATH_INFO"], password, follow=True).content.decode()
    assert project.name in page
    assert "This link no longer works" in Client().get(link, follow=True).content.decode()
    assert "/account/invitation/" not in client.get(reverse("annotation:members", args=[project.pk])).content.decode()


def test_another_lead_does_not_see_the_link(client):
    first, second = UserFactory(), UserFactory()
    project = ProjectFactory(lead=first)
    projects.add_member(project, second.username, [Role.LEAD], invited_by=first)
    projects.add_member(project, "new@example.org", [Role.ANNOTATOR], invited_by=first)
    client.force_login(second)
    page = client.get(reverse("annotation:members", args=[project.pk])).content.decode()
    assert "has the invitation link" in page
    assert "/account/invitation/" not in page


def test_health_answers_without_signing_in(client):
    answer = client.get("/health/")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "database": "ok", "redis": "ok"})


@pytest.mark.parametrize("number", [0, 3])
def test_health_understands_the_addresses_that_celery_does(client, settings, number):
    settings.REDIS_URL = database_of_redis(settings.REDIS_URL, number)
    assert client.get("/health/").json()["redis"] == "ok"


def test_health_names_what_does_not_answer(client, monkeypatch):
    def away():
        raise redis.ConnectionError

    monkeypatch.setattr(account, "_ask_redis", away)
    answer = client.get("/health/")
    assert (answer.status_code, answer.json()["redis"]) == (503, "ConnectionError")
