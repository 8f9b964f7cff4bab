"""Drafts have versions: two tabs or devices never overwrite each other, and nothing typed is lost."""

import json

import pytest
from django.urls import reverse

from annotation import drafts, work
from annotation.models import Annotation, Assignment, AssignmentState, PairStatus
from tests.factories import ItemFactory, MembershipFactory, ProjectFactory

pytestmark = pytest.mark.django_db

LABELS = {"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"}
HTMX = {"HX-Request": "true"}
FORM = {f"label-{key}": level for key, level in LABELS.items()} | {"rewrite": "Kinder."}


@pytest.fixture
def project():
    return ProjectFactory(overlap=1)


@pytest.fixture
def annotator(project, client):
    user = MembershipFactory(project=project).user
    client.force_login(user)
    return user


@pytest.fixture
def held(project, annotator):
    ItemFactory.create_batch(2, project=project)
    return work.next_assignment(annotator, project)


@pytest.fixture
def finished(held, annotator):
    return work.submit(annotator, held.pk, {"labels": LABELS, "rewrite": "Kinder."})


def save(client, assignment, rewrite, **base):
    url = reverse("annotation:draft", args=[assignment.pk])
    return client.post(url, {"rewrite": rewrite, **base}, content_type="application/json")


def test_a_save_based_on_an_older_draft_is_refused_and_told_the_newer_one(client, held):
    assert save(client, held, "first", version=0, writer="a", sequence=1).json() == {"version": 1}
    stale = save(client, held, "second", version=0, writer="b", sequence=1)
    assert stale.status_code == 409
    assert (stale.json()["version"], stale.json()["content"]["rewrite"]) == (1, "first")
    assert stale.json()["saved_at"]
    held.refresh_from_db()
    assert held.draft["rewrite"] == "first"
    assert save(client, held, "second", version=1, writer="b", sequence=2).json() == {"version": 2}


def test_a_save_whose_answer_was_lost_can_be_repeated_with_more_words(client, held):
    save(client, held, "one", version=0, writer="a", sequence=1)
    assert save(client, held, "one two", version=0, writer="a", sequence=2).json() == {"version": 2}
    late = save(client, held, "one", version=0, writer="a", sequence=1)
    assert late.status_code == 409  # it was on its way for long; newer words of this tab are there
    held.refresh_from_db()
    assert held.draft["rewrite"] == "one two"


def test_the_same_words_are_no_conflict(client, held):
    save(client, held, "the same", version=0, writer="a", sequence=1)
    assert save(client, held, "the same", version=0, writer="b", sequence=1).status_code == 200


def test_without_a_version_the_last_write_wins(client, held):
    for words in ("first", "second"):
        assert save(client, held, words).status_code == 200
    held.refresh_from_db()
    assert (held.draft["rewrite"], held.draft_version) == ("second", 2)


@pytest.mark.parametrize("version", ["-1", "x", None, 10**30, [1], True, "1e3"])
def test_a_version_that_makes_no_sense_is_no_server_error(client, held, version):
    base = {"version": version, "writer": ["\x00"], "sequence": 10**25}
    assert save(client, held, "words", **base).status_code in {200, 409}


def test_a_stale_tabs_submit_is_refused_while_a_newer_draft_is_there(client, held):
    save(client, held, "typed elsewhere", version=0, writer="b", sequence=1)
    url = reverse("annotation:submit", args=[held.pk])
    refused = client.post(url, FORM | {"version": "0", "writer": "a", "sequence": "1"}, headers=HTMX)
    assert (refused.status_code, refused.json()["content"]["rewrite"]) == (409, "typed elsewhere")
    assert not Annotation.objects.exists()
    without_script = client.post(url, FORM | {"version": "0"})
    assert without_script.status_code == 422
    assert "There is a newer draft" in without_script.content.decode()
    assert "Kinder." in without_script.content.decode()
    accepted = client.post(url, FORM | {"version": "1", "writer": "a", "sequence": "2"}, headers=HTMX)
    assert (accepted.status_code, Annotation.objects.count()) == (200, 1)


def test_a_submit_repeated_after_its_answer_was_lost_counts_once(client, held, finished):
    url = reverse("annotation:submit", args=[held.pk])
    again = client.post(url, FORM | {"version": "0", "writer": "a", "sequence": "9"}, headers=HTMX)
    assert (again.status_code, Annotation.objects.count()) == (200, 1)
    other = client.post(url, FORM | {"rewrite": "Typed in another tab."}, headers=HTMX)
    assert (other.status_code, other.json()["state"]) == (409, "finished")
    assert other.json()["open"] == reverse("annotation:revise", args=[finished.pk])
    page = client.post(url, FORM | {"rewrite": "Typed in another tab."})
    assert "Typed in another tab." in page.content.decode()
    assert Annotation.objects.get().rewrite == "Kinder."


def test_a_draft_after_the_submit_is_refused_unless_it_changes_what_was_submitted(client, held, finished):
    assert save(client, held, "late", version=0, writer="b", sequence=1).status_code == 409
    held.refresh_from_db()
    assert (held.state, held.draft) == (AssignmentState.FINISHED, None)


def test_a_change_of_a_finished_text_is_kept_until_it_is_saved(client, held, finished, project):
    change = {"labels": LABELS, "rewrite": "Better, half", "revision": 1, "version": 0, "writer": "a", "sequence": 1}
    url = reverse("annotation:draft", args=[held.pk])
    assert client.post(url, change, content_type="application/json").status_code == 200
    finished.refresh_from_db()
    assert finished.rewrite == "Kinder."
    html = client.get(reverse("annotation:revise", args=[finished.pk])).content.decode()
    assert "Better, half" in html
    assert "have not saved the change" in html
    back = client.get(reverse("annotation:back", args=[project.pk]), headers=HTMX).content.decode()
    assert "Better, half" in back
    held.refresh_from_db()
    saved = FORM | {"rewrite": "Better, half", "revision": "1", "version": str(held.draft_version)}
    client.post(reverse("annotation:revise", args=[finished.pk]), saved, headers=HTMX)
    finished.refresh_from_db()
    held.refresh_from_db()
    assert (finished.rewrite, finished.revision, held.draft) == ("Better, half", 2, None)
    stale = client.post(url, change | {"rewrite": "Later"}, content_type="application/json")
    assert (stale.status_code, stale.json()["revision"]) == (409, 2)


def test_a_change_taken_back_leaves_no_draft(client, held, finished):
    url = reverse("annotation:draft", args=[held.pk])
    for words in ("Other", "Kinder."):
        body = {"labels": LABELS, "rewrite": words, "revision": 1}
        assert client.post(url, body, content_type="application/json").status_code == 200
    held.refresh_from_db()
    assert held.draft is None


def test_a_stale_change_of_a_finished_text_is_told_the_newer_revision(client, held, finished, annotator):
    work.revise(annotator, finished.pk, {"labels": LABELS, "rewrite": "On my phone."}, revision=1)
    url = reverse("annotation:revise", args=[finished.pk])
    refused = client.post(url, FORM | {"rewrite": "On my desk.", "revision": "1", "version": "0"}, headers=HTMX)
    assert (refused.status_code, refused.json()["content"]["rewrite"]) == (409, "On my phone.")


def test_a_change_that_the_lead_overtook_can_still_be_read(client, held, finished):
    body = {"labels": LABELS, "rewrite": "An hour of thought.", "revision": 1}
    client.post(reverse("annotation:draft", args=[held.pk]), body, content_type="application/json")
    held.item.pair.status = PairStatus.APPROVED
    held.item.pair.save()
    html = client.get(reverse("annotation:revise", args=[finished.pk])).content.decode()
    assert "What you typed and could not save" in html
    assert "An hour of thought." in html


def test_a_submit_that_comes_too_late_shows_what_was_typed(client, held, project):
    from datetime import timedelta

    from django.utils import timezone

    Assignment.objects.filter(pk=held.pk).update(lease_until=timezone.now() - timedelta(hours=1))
    work.expire_leases(project)
    other = MembershipFactory(project=project).user
    work.submit(other, work.next_assignment(other, project).pk, {"labels": LABELS, "rewrite": "Faster."})
    url = reverse("annotation:submit", args=[held.pk])
    html = client.post(url, FORM | {"rewrite": "An hour of thought.", "comment": "Hm."}, headers=HTMX).content.decode()
    assert "What you typed and could not save" in html
    assert html.count("An hour of thought.") == 1
    assert "Hm." in html
    held.refresh_from_db()
    assert held.draft["rewrite"] == "An hour of thought."


def test_forward_goes_through_ones_own_work_up_to_the_current_text(client, held, finished, project, annotator):
    second = work.submit(annotator, work.next_assignment(annotator, project).pk, {"labels": LABELS, "rewrite": "Two."})
    url = reverse("annotation:back", args=[project.pk])
    assert "Two." in client.get(url, {"after": finished.pk}, headers=HTMX).content.decode()
    assert "Nothing is left" in client.get(url, {"after": second.pk}, headers=HTMX).content.decode()


def test_the_api_has_the_same_versions(client, held, annotator):
    url = f"/api/assignments/{held.pk}/"

    def put(**body):
        return client.put(f"{url}draft/", body, content_type="application/json")

    assert put(rewrite="first", version=0).json()["draft_version"] == 1
    stale = put(rewrite="second", version=0)
    assert (stale.status_code, stale.json()["content"]["rewrite"]) == (409, "first")
    assert put(rewrite="second").status_code == 200  # no version: the last write wins
    body = {"labels": LABELS, "rewrite": "Kinder.", "version": 1}
    refused = client.post(f"{url}submit/", json.dumps(body), content_type="application/json")
    assert (refused.status_code, refused.json()["version"]) == (409, 2)
    assert client.post(f"{url}submit/", body | {"version": 2}, content_type="application/json").status_code == 200
    assert put(rewrite="a change", revision=1).json()["draft"]["revision"] == 1
    assert put(rewrite="a change").status_code == 409


def test_a_draft_says_what_is_there(client, held, annotator):
    work.save_draft(annotator, held.pk, {"rewrite": "half"}, drafts.Base(version=0, writer="phone", sequence=1))
    facts = client.get(reverse("annotation:draft", args=[held.pk])).json()
    assert (facts["version"], facts["writer"], facts["content"]["rewrite"]) == (1, "phone", "half")
    assert facts["revision"] is None


def test_saving_a_draft_costs_few_queries(client, held, django_assert_max_num_queries):
    with django_assert_max_num_queries(9):  # session, person, whose it is, one transaction of four
        save(client, held, "words", version=0, writer="a", sequence=1)
