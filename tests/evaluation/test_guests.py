"""Reviewers without an account: links that open one study, and nothing else, for a time."""

import json
import logging
from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from annotation import projects
from annotation.models import Event
from annotation.redaction import RedactingFormatter
from evaluation import guests, reviewing, studies
from evaluation.models import Amendment, GuestLink, Rating, ReviewTask, StudyMembership
from tests.evaluation.factories import answers, make_study, start
from tests.factories import MembershipFactory, ProjectFactory, UserFactory
from tests.test_access import API, PAGES, PUBLIC, REVIEWER, address, outcome, routes, rule_for, world  # noqa: F401

pytestmark = pytest.mark.django_db


@pytest.fixture
def lead():
    return UserFactory(username="lead", email="lead@example.org", first_name="Ada", last_name="Lead")


@pytest.fixture
def draft(lead):
    return make_study(project=ProjectFactory(lead=lead), lead=lead, reviewers=1, name="Spring study")


@pytest.fixture
def invited(draft, lead):
    """A running study with one guest."""
    (made,) = guests.create(draft, lead, label="Reviewer 7 (Leeds)")
    start(draft)
    return made


def path(made):
    return reverse("evaluation:review", args=[made.token])


def open_link(made, client=None):
    client = client or Client()
    answer = client.post(path(made))
    assert answer.status_code == 302, answer.content.decode()
    return client


def rate_page(made):
    return reverse("evaluation:rate", args=[made.link.membership.study_id])


def first_task(made):
    return ReviewTask.objects.filter(reviewer=made.link.membership.user).order_by("position").first()


def expire(made, **ago):
    GuestLink.objects.filter(pk=made.link.pk).update(expires_at=timezone.now() - timedelta(**(ago or {"seconds": 1})))


# Making links


def test_several_links_are_made_at_once_each_a_reviewer_of_its_own(draft, lead):
    made = guests.create(draft, lead, label="Leeds", count=3, days=10)
    assert [new.link.label for new in made] == ["Leeds 1", "Leeds 2", "Leeds 3"]
    assert [str(new.link) for new in made] == ["Guest 1", "Guest 2", "Guest 3"]
    assert draft.reviewers.count() == 4
    assert len({new.token for new in made}) == 3 and all(len(new.token) >= 43 for new in made)
    assert guests.create(draft, lead)[0].link.number == 4
    start(draft)
    assert ReviewTask.objects.filter(reviewer=made[0].link.membership.user).count() == 3


def test_only_a_hash_of_the_token_is_stored(invited):
    row = GuestLink.objects.filter(pk=invited.link.pk).values().get()
    assert invited.token not in str(row) and row["token_hash"] == guests.hash_of(invited.token)
    assert not Event.objects.filter(subject__contains=invited.token).exists()


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("count", {"count": 0}),
        ("count", {"count": 51}),
        ("days", {"days": 0}),
        ("days", {"days": 366}),
        ("label", {"label": "x" * 91}),
        ("label", {"label": "a\x00b"}),
    ],
)
def test_what_cannot_be_made_is_refused_by_name(draft, lead, field, values):
    with pytest.raises(ValidationError) as caught:
        guests.create(draft, lead, **values)
    assert list(caught.value.message_dict) == [field]
    assert not GuestLink.objects.exists() and draft.reviewers.count() == 1


def test_a_running_study_gets_no_new_reviewers(invited, lead):
    with pytest.raises(ValidationError, match="has started"):
        guests.create(invited.link.study, lead)


def test_the_log_of_the_project_tells_what_was_done_with_links(invited, lead):
    guests.renew(invited.link, lead)
    guests.extend(invited.link, lead, 90)
    guests.revoke(invited.link, lead, "Ill.")
    actions = list(Event.objects.order_by("pk").values_list("action", flat=True))
    assert actions == ["guest.invited", "guest.renewed", "guest.extended", "guest.revoked"]
    client = Client()
    client.force_login(lead)
    page = client.get(reverse("annotation:log", args=[invited.link.project_id])).content.decode()
    assert "renewed a reviewer&#x27;s link" in page and "Guest 1 of Spring study (Reviewer 7 (Leeds))" in page


# The page behind a link


def test_looking_at_a_link_signs_nobody_in(client, invited):
    for method in (client.get, client.head):
        answer = method(path(invited))
        assert answer.status_code == 200
        assert settings.SESSION_COOKIE_NAME not in answer.cookies
    invited.link.refresh_from_db()
    assert invited.link.first_used_at is None and invited.link.state == "unused"


def test_the_page_says_what_to_expect_and_keeps_the_address_to_itself(client, invited):
    project = invited.link.project
    project.content_warning = "insults and threats"
    project.save()
    answer = client.get(path(invited))
    page = answer.content.decode()
    for words in ("Spring study", "insults and threats", "3 pages", "Ada Lead (lead@example.org)", "What is stored"):
        assert words in page
    assert "Leeds" not in page  # the label is the leads' own
    assert answer["Referrer-Policy"] == "strict-origin"
    assert "no-store" in answer["Cache-Control"]
    assert invited.token not in page and invited.token not in str(answer.headers)


def test_an_unknown_link_is_not_found_whatever_it_looks_like(client, invited):
    expire(invited)
    for token in ("x", invited.token[:-1], invited.token + "x", invited.token.swapcase(), "é" * 43, "%00"):
        answer = client.get(reverse("evaluation:review", args=[token]))
        assert answer.status_code == 404
        assert "Nothing here" in answer.content.decode()
        assert client.post(reverse("evaluation:review", args=[token])).status_code == 404
    answer = client.get(path(invited))
    assert answer.status_code == 410
    assert "ended on" in answer.content.decode() and "Ada Lead (lead@example.org)" in answer.content.decode()


def test_before_the_start_nobody_can_begin(client, draft, lead):
    (made,) = guests.create(draft, lead)
    assert "has not started yet" in client.get(path(made)).content.decode()
    assert client.post(path(made)).status_code == 200
    assert client.get(rate_page(made)).status_code == 302
    assert "_auth_user_id" not in client.session


def test_an_account_that_is_signed_in_is_signed_out_when_a_guest_begins(client, invited, lead):
    client.force_login(lead)
    assert "Beginning here signs them out" in client.get(path(invited)).content.decode()
    open_link(invited, client)
    assert client.get(invited.link.study.get_absolute_url()).status_code == 403


def test_links_of_the_log_lines_are_taken_out(invited):
    formatter = RedactingFormatter("{message}", style="{")
    for line in (
        f"Not Found: {path(invited)}",
        f'"GET {path(invited)} HTTP/1.1" 200',
        f"https://x.example{path(invited)}",
    ):
        shown = formatter.format(logging.LogRecord("django.request", logging.WARNING, "", 0, line, (), None))
        assert invited.token not in shown and "/review/[token]" in shown


def test_a_wrong_link_is_not_logged_as_it_is(client, invited, caplog, monkeypatch):
    wrong = invited.token[::-1]
    formatter = RedactingFormatter("{message}", style="{")
    # Whatever a test before has done to the logger: this one listens to it directly.
    logger = logging.getLogger("django.request")
    monkeypatch.setattr(logger, "disabled", False)
    monkeypatch.setattr(logger, "handlers", [*logger.handlers, caplog.handler])
    with caplog.at_level(logging.WARNING, logger="django.request"):
        client.get(reverse("evaluation:review", args=[wrong]))
    assert any("/review/" in record.getMessage() for record in caplog.records)
    assert all(wrong not in formatter.format(record) for record in caplog.records)


# Reviewing


def test_a_guest_rates_the_study_and_resumes_on_another_device(invited):
    client = open_link(invited)
    task = first_task(invited)
    page = client.get(rate_page(invited)).content.decode()
    assert task.item.text in page and ">Guest 1<" in page
    draft = {"comment": "begun on the phone"}
    url = reverse("evaluation:draft", args=[task.token])
    assert client.post(url, draft, content_type="application/json").status_code < 300
    other = open_link(invited)
    assert "begun on the phone" in other.get(rate_page(invited)).content.decode()
    answer = other.post(f"/api/review-tasks/{task.token}/submit/", answers(task), content_type="application/json")
    assert answer.status_code == 200
    assert client.get("/api/review-tasks/").json()["results"][0]["done_at"]
    invited.link.refresh_from_db()
    assert invited.link.first_used_at <= invited.link.last_used_at and invited.link.state == "used"


def test_a_guest_opens_what_reviewers_open_and_nothing_else(world):  # noqa: F811
    """Every route of the site, with a guest's own task where one is named."""
    link, token = world["guest-link"], world["guest-token"].pk
    mine = ReviewTask.objects.filter(reviewer=link.membership.user)
    own = world | {"task": mine.first(), "guess-task": mine.get(guess_wanted=True)}
    client = Client()
    assert client.post(reverse("evaluation:review", args=[token])).status_code == 302
    wrong, opened = [], set()
    for key, name, method, parameters in routes():
        rule = rule_for(key, method)
        body = rule.body(own) if rule.body and method != "get" else {}
        got = outcome(client, method, address(rule, name, parameters, own), body, key in API)
        reviewers_own = rule.who == {REVIEWER} or "review-task" in key
        expected = reviewers_own or key in {"logout", "health", "evaluation:review", "evaluation:review-ended"}
        if key == "annotation:home":
            continue  # sends a guest to the study
        if (got == "open") != expected and got != "no such method":
            wrong.append(f"{method.upper()} {key}: {got}")
        opened |= {key} if got == "open" else set()
    assert not wrong, "\n".join(wrong)
    assert {"evaluation:rate", "evaluation:submit", "POST review-task-submit"} <= opened
    assert {key for key, rule in PAGES.items() if rule.who == PUBLIC} - opened == {
        *("login", "invitation", "api-token", "api-schema", "api-docs")
    }


def test_a_guest_is_told_in_words_where_a_page_is_not_theirs(invited):
    client = open_link(invited)
    for url in ("/account/", "/account/password/", "/admin/", "/account/login/", "/api/docs/"):
        answer = client.get(url)
        assert answer.status_code == 403, url
        assert "Your link opens one study" in answer.content.decode()
    home = client.get("/")
    assert home.status_code == 302 and home.url == rate_page(invited)
    for url in ("/api/projects/", "/api/studies/", "/api/systems/", "/api/schema/"):
        answer = client.get(url)
        assert answer.status_code == 403 and "one study" in answer.json()["detail"]


def test_a_guest_sees_no_other_study(invited, lead):
    client = open_link(invited)
    other = start(make_study(project=invited.link.project, lead=lead, reviewers=1))
    assert client.get(reverse("evaluation:rate", args=[other.pk])).status_code == 404
    task = other.tasks.first()
    assert client.get(f"/api/review-tasks/{task.token}/").status_code == 404
    assert client.post(reverse("evaluation:submit", args=[task.token])).status_code == 404
    studies_seen = {row["study"] for row in client.get("/api/review-tasks/").json()["results"]}
    assert studies_seen == {invited.link.study.pk}


def test_the_account_behind_a_link_is_closed_to_everything_else(invited, client, lead):
    user = get_user_model().objects.get(pk=invited.link.membership.user_id)
    assert not user.is_active and not user.has_usable_password() and user.email == ""
    client.force_login(user)  # as anything but the guest's own backend would
    assert client.get("/account/").status_code == 302
    assert not client.login(username=user.username, password="")
    assert projects.invitation_path(user, lead) is None
    project = invited.link.project
    with pytest.raises(ValidationError, match="is closed"):
        projects.add_member(project, user.username, ["annotator"], invited_by=lead)
    other = make_study(project=project, lead=lead)
    with pytest.raises(ValidationError, match="is closed"):
        studies.invite(other, lead, user.username)
    token = {"HTTP_AUTHORIZATION": "Token nothing"}
    assert client.get("/api/review-tasks/", **token).status_code == 401


def test_signing_out_leads_to_a_page_that_says_how_to_come_back(invited):
    client = open_link(invited)
    answer = client.post(reverse("logout"), {"next": reverse("evaluation:review-ended")}, follow=True)
    assert "open the link that you were sent again" in answer.content.decode()
    answer = client.get(rate_page(invited), follow=True)
    assert "it needs no account" in answer.content.decode()


def test_guests_cost_other_people_no_query(client, invited, lead, django_assert_num_queries):
    person = invited.link.study.reviewers.exclude(pk=invited.link.membership_id).get().user
    client.force_login(person)
    client.get("/account/")
    with django_assert_num_queries(4):  # session, account, account, token: as before guests
        client.get("/account/")


# The end of a link


def test_an_expired_link_keeps_what_was_typed_and_says_whom_to_ask(invited, lead):
    client = open_link(invited)
    task = first_task(invited)
    expire(invited)
    answer = client.get(rate_page(invited))
    assert answer.status_code == 403 and "Ada Lead (lead@example.org)" in answer.content.decode()
    # What the page sends while it is open: the submit is refused in words that it shows, the draft is kept.
    answer = client.post(reverse("evaluation:submit", args=[task.token]), {"comment": "x"}, HTTP_HX_REQUEST="true")
    assert answer.status_code == 403 and answer["Content-Type"].startswith("text/plain")
    assert "extend it" in answer.content.decode()
    url = reverse("evaluation:draft", args=[task.token])
    answer = client.post(url, json.dumps({"comment": "typed at the end"}), content_type="application/json")
    assert answer.status_code < 300
    answer = client.post(f"/api/review-tasks/{task.token}/submit/", answers(task), content_type="application/json")
    assert answer.status_code == 403 and "ended on" in answer.json()["detail"]
    assert not Rating.objects.exists()
    guests.extend(invited.link, lead, 5)
    assert "typed at the end" in client.get(rate_page(invited)).content.decode()  # without opening the link again
    assert client.get(path(invited)).status_code == 200


def test_renewing_ends_the_old_link_and_its_sessions(invited, lead):
    client = open_link(invited)
    new = guests.renew(invited.link, lead)
    answer = client.get(rate_page(invited))
    assert answer.status_code == 403 and "replaced by a new one" in answer.content.decode()
    assert client.get(rate_page(invited)).status_code == 302  # signed out
    assert client.get(path(invited)).status_code == 404
    open_link(new, client)
    assert client.get(rate_page(invited)).status_code == 200


def test_an_expired_link_is_renewed_with_days_only(invited, lead):
    expire(invited)
    with pytest.raises(ValidationError, match="how many days"):
        guests.renew(invited.link, lead)
    new = guests.renew(invited.link, lead, days=2)
    assert timedelta(days=1) < new.link.expires_at - timezone.now() <= timedelta(days=2)


def test_extending_never_shortens(invited, lead):
    with pytest.raises(ValidationError, match="already"):
        guests.extend(invited.link, lead, 3)
    assert guests.extend(invited.link, lead, 60).expires_at > invited.link.expires_at


def test_revoking_while_running_is_an_amendment_and_ends_sessions(invited, lead):
    client = open_link(invited)
    task = first_task(invited)
    client.post(f"/api/review-tasks/{task.token}/submit/", answers(task), content_type="application/json")
    with pytest.raises(ValidationError, match="Say why"):
        guests.revoke(invited.link, lead)
    invited.link.refresh_from_db()
    assert invited.link.ended_at is None
    guests.revoke(invited.link, lead, "Wrote to the authors.")
    amendment = Amendment.objects.get()
    assert amendment.changes == {"reviewer": [invited.link.membership.user.username, None]}
    answer = client.get("/api/review-tasks/")
    assert answer.status_code == 403 and "was ended" in answer.json()["detail"]
    assert client.get("/api/review-tasks/").status_code == 401  # signed out
    assert client.get(path(invited)).status_code == 410
    assert client.post(path(invited)).status_code == 410
    assert Rating.objects.exists()  # what they answered stays
    invited.link.refresh_from_db()
    for again in (guests.renew, guests.revoke):
        with pytest.raises(ValidationError, match="was revoked"):
            again(invited.link, lead)
    with pytest.raises(ValidationError, match="was revoked"):
        guests.extend(invited.link, lead, 90)


def test_whoever_is_taken_off_the_study_loses_the_link(invited, lead):
    client = open_link(invited)
    studies.revoke(invited.link.study, invited.link.membership, lead, "Ill.")
    assert client.get(rate_page(invited)).status_code == 403
    assert client.get(path(invited)).status_code == 410


def test_revoking_before_the_start_takes_the_reviewer_off(draft, lead):
    made = guests.create(draft, lead, count=2)
    user = made[0].link.membership.user
    guests.revoke(made[0].link, lead)
    assert not get_user_model().objects.filter(pk=user.pk).exists()
    assert draft.reviewers.count() == 2
    studies.remove_reviewer(draft, made[1].link.membership)  # the other way to the same end
    assert not GuestLink.objects.exists() and draft.reviewers.count() == 1


def test_a_closed_study_can_be_looked_at_until_the_link_is_revoked(invited, lead):
    task = first_task(invited)
    reviewing.save_draft(task.reviewer, task.token, {"comment": "never sent"})
    studies.close(invited.link.study, lead)
    client = open_link(invited)
    assert "never sent" in client.get(rate_page(invited)).content.decode()
    guests.revoke(invited.link, lead)
    assert client.get(rate_page(invited)).status_code == 403


def test_a_guest_is_a_number_in_what_is_reported(invited, lead):
    row = next(row for row in studies.progress(invited.link.study) if row.membership == invited.link.membership)
    assert str(row.user) == f"guest-1.study-{invited.link.study.pk}"
    assert "Leeds" not in invited.link.study.protocol.text


# The lead's page and API


def test_a_lead_makes_links_and_sees_each_once(client, draft, lead):
    client.force_login(lead)
    assert "Invite by link" in client.get(draft.get_absolute_url()).content.decode()
    url = reverse("evaluation:guests", args=[draft.pk])
    answer = client.post(url, {"label": "Leeds", "count": 2, "days": 7}, follow=True)
    page = answer.content.decode()
    assert page.count("http://testserver/review/") == 4  # each alone, and both as one text
    assert "no-store" in answer["Cache-Control"]
    assert "/review/" not in client.get(url).content.decode()
    bad = client.post(url, {"label": "Keep me", "count": 0, "days": 7})
    assert bad.status_code == 422 and 'value="Keep me"' in bad.content.decode()
    link = GuestLink.objects.first()
    answer = client.post(reverse("evaluation:guest-renew", args=[link.pk]), {"days": 9}, follow=True)
    assert answer.content.decode().count("http://testserver/review/") == 1
    assert client.post(reverse("evaluation:guest-extend", args=[link.pk]), {"days": 2}).status_code == 422
    answer = client.post(reverse("evaluation:guest-extend", args=[link.pk]), {"days": 20}, follow=True)
    assert "Guest 1 is extended." in answer.content.decode()
    start(draft)
    assert client.post(reverse("evaluation:guest-revoke", args=[link.pk])).status_code == 422
    answer = client.post(reverse("evaluation:guest-revoke", args=[link.pk]), {"reason": "Ill."}, follow=True)
    assert "Guest 1 is revoked." in answer.content.decode()
    assert client.post(url, {"label": "", "count": 1, "days": 7}).status_code == 422


def test_the_page_of_links_costs_the_same_for_few_and_for_many(client, draft, lead, django_assert_num_queries):
    client.force_login(lead)
    url = reverse("evaluation:guests", args=[draft.pk])
    guests.create(draft, lead)
    client.get(url)
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as few:
        client.get(url)
    guests.create(draft, lead, count=30)
    with django_assert_num_queries(len(few)):
        client.get(url)


def test_the_api_makes_renews_extends_and_revokes(client, draft, lead):
    client.force_login(lead)

    def post(url, **body):
        return client.post(url, json.dumps(body), content_type="application/json")

    made = post("/api/guest-links/", study=draft.pk, label="Leeds", count=2, days=3)
    assert made.status_code == 201
    first, second = made.json()
    assert first["link"].startswith("http://testserver/review/") and first["state"] == "unused"
    assert Client().get(first["link"]).status_code == 200
    listed = client.get("/api/guest-links/", {"study": draft.pk}).json()["results"]
    assert [row["label"] for row in listed] == ["Leeds 1", "Leeds 2"]
    assert "link" not in listed[0] and "token" not in str(listed)
    assert client.get("/api/guest-links/", {"study": draft.pk + 1}).json()["results"] == []
    url = f"/api/guest-links/{first['id']}/"
    renewed = post(f"{url}renew/").json()
    assert renewed["link"] != first["link"] and renewed["expires_at"] == first["expires_at"]
    assert Client().get(first["link"]).status_code == 404
    assert post(f"{url}extend/", days=30).json()["expires_at"] > first["expires_at"]
    assert post(f"{url}extend/", days=0).status_code == 400
    assert post(f"/api/guest-links/{second['id']}/revoke/").status_code == 204
    start(draft)
    assert post(f"{url}revoke/").json() == {"reason": ["Say why, for the report."]}
    assert post(f"{url}revoke/", reason="Ill.").status_code == 204
    refused = post("/api/guest-links/", study=draft.pk)
    assert refused.status_code == 400 and "has started" in str(refused.json())
    colleague = MembershipFactory(project=draft.project, role="annotator").user
    client.force_login(colleague)
    assert client.get("/api/guest-links/").json()["results"] == []
    assert client.get(url).status_code == 403


def test_the_admin_site_shows_links_without_what_opens_them(client, invited):
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    pages = [
        client.get(reverse("admin:evaluation_guestlink_changelist")),
        client.get(reverse("admin:evaluation_guestlink_change", args=[invited.link.pk])),
        client.get(reverse("admin:auth_user_change", args=[invited.link.membership.user_id])),
    ]
    for page in pages:
        assert page.status_code == 200
        assert guests.hash_of(invited.token) not in page.content.decode()
        assert invited.token not in page.content.decode()


def test_a_membership_has_one_link_at_most(invited, lead):
    assert StudyMembership.objects.filter(guest_link__isnull=False).count() == 1


# In a browser


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_guest_begins_by_the_button_and_is_told_when_the_link_expires(invited, new_page, lead):
    page = new_page()
    sent = []
    page.on("request", lambda request: sent.append((request.url, request.headers.get("referer", ""))))
    page.goto(path(invited))
    expect(page.get_by_role("heading", name="Spring study")).to_be_visible()
    page.get_by_role("button", name="Begin").click()
    page.wait_for_url("**/rate/")
    expect(page.get_by_text("Original text")).to_be_visible()
    assert not [pair for pair in sent if invited.token in pair[1]], "the address went along as a referrer"
    expire(invited)
    page.keyboard.press("c")
    page.locator("#comment").fill("typed as it expired")
    page.locator("#submit").click()
    expect(page.locator("#connection")).to_contain_text("Ada Lead (lead@example.org)")
    expect(page.locator("#comment")).to_have_value("typed as it expired")
    guests.extend(invited.link, lead, 5)
    page.reload()
    expect(page.locator("#comment")).to_have_value("typed as it expired")


def test_the_last_words_of_a_guest_are_kept_once_after_the_link_was_revoked(invited, lead):
    clients = [open_link(invited), open_link(invited), open_link(invited)]
    task = first_task(invited)
    guests.revoke(invited.link, lead, "Ill.")
    url = reverse("evaluation:draft", args=[task.token])
    answer = clients[0].post(url, json.dumps({"comment": "Half a page"}), content_type="application/json")
    assert answer.status_code == 200 and "taken off" in answer.json()["notice"]
    task.refresh_from_db()
    assert task.draft["comment"] == "Half a page" and task.done_at is None
    again = clients[0].post(url, json.dumps({"comment": "More"}), content_type="application/json")
    assert again.status_code in (302, 401, 403)  # signed out
    api = f"/api/review-tasks/{task.token}/draft/"
    answer = clients[1].put(api, {"comment": "From a script"}, content_type="application/json")
    assert answer.status_code == 400 and "taken off" in str(answer.json())
    assert clients[1].get("/api/review-tasks/").status_code == 401
    assert clients[2].get(url).status_code == 403  # reads nothing
    task.refresh_from_db()
    assert task.draft["comment"] == "From a script"


def test_new_links_of_two_studies_are_each_shown_with_their_own(client, draft, lead):
    other = make_study(project=draft.project, lead=lead, name="Autumn study")
    client.force_login(lead)
    pages = {study.pk: reverse("evaluation:guests", args=[study.pk]) for study in (draft, other)}
    for study in (draft, other):
        assert client.post(pages[study.pk], {"label": "", "count": 1, "days": 7}).status_code == 302
    (link,) = guests.links_of(draft)
    made = guests.create(draft, lead)
    assert client.post(reverse("evaluation:guest-renew", args=[made[0].link.pk]), {"days": 9}).status_code == 302
    page = client.get(pages[draft.pk]).content.decode()
    assert f"{link}</label>" in page and f"{made[0].link}</label>" in page
    assert "/review/" not in client.get(pages[draft.pk]).content.decode()
    assert client.get(pages[other.pk]).content.decode().count("http://testserver/review/") == 1
