"""The annotator's page and API: one request from a text to the next, and nothing typed is lost."""

import json
import re

import pytest
from django.test import Client
from django.urls import reverse

from annotation.models import Annotation, Assignment, AssignmentState, Role
from tests.factories import ItemFactory, MembershipFactory, ProjectFactory, UserFactory

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}
LABELS = {"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"}
FORM = {f"label-{key}": level for key, level in LABELS.items()} | {
    "rewrite": "Some of them work less.",
    "spans": json.dumps([{"start": 0, "end": 4}]),
    "target_groups": json.dumps(["neighbours"]),
    "comment": "",
    "active_seconds": "12",
}
HOSTILE = [
    "<script>alert(1)</script><img src=x onerror=alert(2)> & </p></textarea>",
    "هؤلاء كسالى \u202e abc \u202c",
    "👩‍👩‍👧 lazy 🙃",
    "x",
    "long " * 20_000,
]


@pytest.fixture
def project():
    return ProjectFactory(overlap=1, guidelines="# Be kind\n\n<script>alert(1)</script>")


@pytest.fixture
def annotator(project, client):
    user = MembershipFactory(project=project, role=Role.ANNOTATOR).user
    client.force_login(user)
    return user


def page_url(project):
    return reverse("annotation:annotate", args=[project.pk])


def shown_text(html):
    return re.search(r'<p class="reading" id="text"[^>]*>(.*?)</p>', html, re.S)[1]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_shown_as_text(client, annotator, project, text):
    from django.utils.html import escape

    ItemFactory(project=project, text=text)
    html = client.get(page_url(project)).content.decode()
    assert shown_text(html) == escape(text)
    assert 'id="text" dir="auto"' in html


def test_guidelines_are_rendered_without_their_scripts(client, annotator, project):
    ItemFactory(project=project)
    html = client.get(page_url(project)).content.decode()
    assert "<h1>Be kind</h1>" in html
    assert "<script>alert" not in html


def test_submit_answers_with_the_next_text_alone(client, annotator, project):
    _, second = ItemFactory.create_batch(2, project=project)
    client.get(page_url(project))
    assignment = Assignment.objects.get()
    answer = client.post(reverse("annotation:submit", args=[assignment.pk]), FORM, headers=HTMX)
    html = answer.content.decode()
    assert "<html" not in html
    assert shown_text(html) == second.text
    annotation = Annotation.objects.get()
    assert annotation.labels == LABELS
    assert annotation.spans == [{"start": 0, "end": 4}]
    assert (annotation.target_groups, annotation.active_seconds) == (["neighbours"], 12)


def test_submit_without_script_goes_on_by_redirect(client, annotator, project):
    ItemFactory(project=project)
    client.get(page_url(project))
    answer = client.post(reverse("annotation:submit", args=[Assignment.objects.get().pk]), FORM)
    assert (answer.status_code, answer.url) == (302, page_url(project))


@pytest.mark.parametrize(
    ("limits", "queries"),
    # Session, person, four for two transactions; five to submit, six for the next text, one for the page.
    [({}, 18), ({"daily_limit": 100}, 19), ({"daily_limit": 100, "daily_severe_limit": 50}, 20)],
)
def test_submit_and_next_needs_a_handful_of_queries(client, annotator, limits, queries, django_assert_max_num_queries):
    project = ProjectFactory(annotator=annotator, **limits)
    ItemFactory.create_batch(3, project=project, overlap=3)
    client.get(page_url(project))
    url = reverse("annotation:submit", args=[Assignment.objects.get().pk])
    # One more where the person's place in the queue moves, which hangs on the server's other transactions.
    with django_assert_max_num_queries(queries + 1):
        answer = client.post(url, FORM, headers=HTMX)
    assert 'id="annotation"' in answer.content.decode()


def test_a_refused_submit_keeps_what_was_typed_and_says_why(client, annotator, project):
    ItemFactory(project=project)
    client.get(page_url(project))
    form = {key: value for key, value in FORM.items() if key != "label-harm"} | {"rewrite": "My <b>careful</b> words"}
    answer = client.post(reverse("annotation:submit", args=[Assignment.objects.get().pk]), form, headers=HTMX)
    html = answer.content.decode()
    assert answer.status_code == 422
    assert "Choose a level for harm." in html
    assert "My &lt;b&gt;careful&lt;/b&gt; words" in html
    assert re.search(r'name="label-bias" value="high" checked', html)
    assert not Annotation.objects.exists()


@pytest.mark.parametrize("broken", ["{", '"0-4"', '[{"start": "a"}]', "[[1, 2]]", "null"])
def test_spans_that_cannot_be_read_are_no_server_error(client, annotator, project, broken):
    ItemFactory(project=project)
    client.get(page_url(project))
    url = reverse("annotation:submit", args=[Assignment.objects.get().pk])
    answer = client.post(url, FORM | {"spans": broken}, headers=HTMX)
    assert answer.status_code in {200, 422}


def test_a_draft_is_kept_and_shown_again(client, annotator, project):
    ItemFactory(project=project)
    client.get(page_url(project))
    url = reverse("annotation:draft", args=[Assignment.objects.get().pk])
    body = {"labels": {"bias": "slight"}, "rewrite": "half a sent", "spans": [], "active_seconds": 3}
    assert client.post(url, body, content_type="application/json").json() == {"version": 1}
    html = client.get(page_url(project)).content.decode()
    assert "half a sent" in html
    assert 'name="label-bias" value="slight" checked' in html
    assert "draft restored" in html


def test_a_draft_that_breaks_a_rule_says_so(client, annotator, project):
    ItemFactory(project=project)
    client.get(page_url(project))
    url = reverse("annotation:draft", args=[Assignment.objects.get().pk])
    answer = client.post(url, {"labels": {"bias": "purple"}}, content_type="application/json")
    assert (answer.status_code, "no level of bias" in answer.content.decode()) == (400, True)
    assert client.post(url, "not json", content_type="application/json").status_code == 400


def test_skip_answers_with_the_next_text(client, annotator, project):
    ItemFactory.create_batch(2, project=project)
    client.get(page_url(project))
    first = Assignment.objects.get()
    client.post(reverse("annotation:skip", args=[first.pk]), headers=HTMX)
    first.refresh_from_db()
    assert first.state == AssignmentState.SKIPPED


def test_back_shows_ones_last_text_and_a_change_keeps_the_revision(client, annotator, project):
    ItemFactory.create_batch(2, project=project, overlap=2)
    client.get(page_url(project))
    client.post(reverse("annotation:submit", args=[Assignment.objects.get().pk]), FORM, headers=HTMX)
    html = client.get(reverse("annotation:back", args=[project.pk]), headers=HTMX).content.decode()
    assert "Some of them work less." in html
    annotation = Annotation.objects.get()
    changed = FORM | {"rewrite": "Better.", "revision": "1"}
    client.post(reverse("annotation:revise", args=[annotation.pk]), changed, headers=HTMX)
    annotation.refresh_from_db()
    assert (annotation.rewrite, annotation.revisions.count()) == ("Better.", 1)


def test_when_nothing_is_left_the_page_says_so(client, annotator, project):
    assert "Nothing is left for you here" in client.get(page_url(project)).content.decode()


def test_an_annotator_cannot_open_what_someone_else_holds(client, annotator, project):
    other = MembershipFactory(project=project, role=Role.ANNOTATOR).user
    ItemFactory(project=project)
    theirs = Client()
    theirs.force_login(other)
    theirs.get(page_url(project))
    pk = Assignment.objects.get().pk
    for name in ("submit", "skip", "draft"):
        assert client.post(reverse(f"annotation:{name}", args=[pk]), FORM).status_code == 404


def test_a_former_member_can_no_longer_submit(client, annotator, project):
    ItemFactory(project=project)
    client.get(page_url(project))
    annotator.memberships.all().delete()
    pk = Assignment.objects.get().pk
    assert client.post(reverse("annotation:submit", args=[pk]), FORM).status_code == 404


def test_the_api_does_what_the_page_does(client, annotator, project):
    ItemFactory.create_batch(2, project=project)
    answer = client.post("/api/assignments/next/", {"project": project.pk}, content_type="application/json")
    assignment = answer.json()
    assert (assignment["state"], assignment["item"]["text"]) == ("held", project.items.first().text)
    url = f"/api/assignments/{assignment['id']}/"
    draft = {"labels": {"bias": "none"}, "rewrite": "so far"}
    assert client.put(f"{url}draft/", draft, content_type="application/json").json()["draft"]["rewrite"] == "so far"
    bad = client.post(f"{url}submit/", draft, content_type="application/json")
    assert (bad.status_code, "Choose a level" in bad.content.decode()) == (400, True)
    good = {"labels": LABELS, "rewrite": "Kinder.", "spans": [{"start": 0, "end": 4}]}
    assert client.post(f"{url}submit/", good, content_type="application/json").json()["revision"] == 1
    better = good | {"rewrite": "Better.", "revision": 1}
    assert client.post(f"{url}revise/", better, content_type="application/json").json()["revision"] == 2
    second = client.post("/api/assignments/next/", {"project": project.pk}, content_type="application/json").json()
    skipped = client.post(f"/api/assignments/{second['id']}/skip/", {}, content_type="application/json")
    assert skipped.json()["state"] == "skipped"
    answer = client.post("/api/assignments/next/", {"project": project.pk}, content_type="application/json")
    assert answer.status_code == 204


def test_the_api_hides_other_projects_and_other_peoples_assignments(client, annotator, project):
    ItemFactory(project=project)
    client.post("/api/assignments/next/", {"project": project.pk}, content_type="application/json")
    stranger = Client()
    stranger.force_login(UserFactory())
    url = f"/api/assignments/{Assignment.objects.get().pk}/"
    assert stranger.get(url).status_code == 404
    assert stranger.get("/api/assignments/").json()["results"] == []
    answer = stranger.post("/api/assignments/next/", {"project": project.pk}, content_type="application/json")
    assert answer.status_code == 404
