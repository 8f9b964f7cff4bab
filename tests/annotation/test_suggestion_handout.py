"""Who sees a suggestion: drawn at hand-out and recorded before anything is shown. Withheld ones leave no trace."""

import json
import re

import pytest
from django.urls import reverse

from annotation import suggestions, work
from annotation.models import Annotation, Assignment, Item, ItemKind, Role
from tests.factories import (
    ItemFactory,
    MembershipFactory,
    ProjectFactory,
    SuggestionFactory,
    UserFactory,
    set_up_suggestions,
)

pytestmark = pytest.mark.django_db

LABELS = {"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"}
PROPOSED = "They are all <b>at rest</b>."


@pytest.fixture
def annotator():
    return UserFactory(username="anna")


@pytest.fixture
def project(annotator):
    project = ProjectFactory(annotator=annotator, overlap=1)
    set_up_suggestions(project, project.created_by)
    return project


def proposed(project, **values):
    one = ItemFactory(project=project, text="They are all lazy.")
    return SuggestionFactory(item=one, rewrite=PROPOSED, spans=[{"start": 13, "end": 17}], **values)


def withhold(project, percent):
    suggestions.change(project, project.created_by, withheld_percent=percent)


def page_of(client, project, annotator, **headers):
    client.force_login(annotator)
    return client.get(reverse("annotation:annotate", args=[project.pk]), **headers).content.decode()


def test_a_shown_suggestion_is_marked_and_chosen_by_nobody(client, project, annotator):
    suggestion = proposed(project)
    page = page_of(client, project, annotator)
    assert page.count('class="suggested"') == 4 and page.count("<small>suggested</small>") == 4
    assert " checked>" not in page.split('id="annotation"')[1].split("</form>")[0]
    assert "They are all &lt;b&gt;at rest&lt;/b&gt;." in page and "<b>at" not in page
    assert "<ins>" in page and '<mark dir="auto">lazy</mark>' in page
    assignment = Assignment.objects.get()
    assert (assignment.suggestion, assignment.suggestion_shown) == (suggestion, True)
    assert assignment.suggestion_withheld_percent == 0


def test_the_record_counts_and_not_what_a_client_says(client, project, annotator):
    suggestion = proposed(project)
    withhold(project, 100)
    client.force_login(annotator)
    assignment = client.post("/api/assignments/next/", {"project": project.pk}, "application/json").json()
    body = {"labels": LABELS, "rewrite": PROPOSED, "suggestion_shown": True}
    client.post(f"/api/assignments/{assignment['id']}/submit/", body, "application/json")
    annotation = Annotation.objects.get()
    assert (annotation.suggestion, annotation.suggestion_shown) == (suggestion, False)
    assert annotation.suggestion_distance == 0


def test_where_it_is_withheld_everything_is_as_where_there_is_none(client, project, annotator):
    """The same text once without a suggestion, once with one that is withheld: HTML and JSON differ in ids only."""
    client.force_login(annotator)
    seen: list[str] = []
    for number in range(2):
        Assignment.objects.all().delete()
        Item.objects.all().delete()
        one = ItemFactory(project=project, pk=70_001 + number, text="They are all lazy.", external_id="one")
        if number:
            withhold(project, 100)
            SuggestionFactory(item=one, rewrite=PROPOSED, spans=[{"start": 13, "end": 17}])
        page = page_of(client, project, annotator)
        assignment = Assignment.objects.get()
        assert (assignment.suggestion is not None, assignment.suggestion_shown) == (bool(number), False)
        part = page_of(client, project, annotator, HTTP_HX_REQUEST="true")
        answers = [
            client.post("/api/assignments/next/", {"project": project.pk}, "application/json").json(),
            client.get(f"/api/assignments/{assignment.pk}/").json(),
            client.get("/api/assignments/").json()["results"],
        ]
        text = re.sub(r"\b[A-Za-z0-9]{64}\b", "TOKEN", json.dumps([page, part, answers]))
        seen.append(re.sub(r"\d+", "0", text))
    assert PROPOSED not in seen[1]
    assert seen[0] == seen[1]


def test_the_api_gives_a_shown_suggestion_with_the_text(client, project, annotator):
    proposed(project)
    client.force_login(annotator)
    answer = client.post("/api/assignments/next/", {"project": project.pk}, "application/json").json()
    assert answer["suggestion"] == {"labels": LABELS, "rewrite": PROPOSED, "spans": [{"start": 13, "end": 17}]}


def test_labels_that_the_project_no_longer_has_are_not_proposed(client, project, annotator):
    proposed(project)
    project.dimensions.filter(key="bias").update(levels=["none", "slight"])
    project.dimensions.filter(key="harm").delete()
    client.force_login(annotator)
    answer = client.post("/api/assignments/next/", {"project": project.pk}, "application/json").json()
    assert answer["suggestion"]["labels"] == {"toxicity": "mild", "sentiment": "negative"}


def test_the_share_is_drawn_at_random_once_for_each_person_and_text(project):
    people = [MembershipFactory(project=project, role=Role.ANNOTATOR).user for _ in range(4)]
    withhold(project, 30)
    seed = suggestions.settings_of(project).seed
    draws = [[suggestions.draw(seed, item, person.pk) < 0.3 for person in people] for item in range(1, 2_001)]
    withheld = sum(map(sum, draws))
    assert abs(withheld / 8_000 - 0.3) < 0.02  # 4 standard errors
    both = sum(row[0] and row[1] for row in draws) / 2_000
    assert abs(both - 0.09) < 0.03, "one person's draw says nothing about another's"
    assert suggestions.draw(seed, 5, 7) == suggestions.draw(seed, 5, 7) != suggestions.draw(seed + 1, 5, 7)


def test_each_hand_out_follows_the_draw_and_can_be_repeated_from_the_record(project, annotator):
    withhold(project, 50)
    items = [proposed(project).item for _ in range(40)]
    seed = suggestions.settings_of(project).seed
    for _ in items:
        assignment = work.next_assignment(annotator, project)
        work.submit(annotator, assignment.pk, {"labels": LABELS, "rewrite": "Mine."})
    withhold(project, 10)
    rows = list(Assignment.objects.all())
    assert 5 < sum(row.suggestion_shown for row in rows) < 35
    for row in rows:
        drawn = suggestions.draw(seed, row.item_id, annotator.pk)
        assert row.suggestion_shown == (drawn >= row.suggestion_withheld_percent / 100)
        assert row.annotation.suggestion_shown == row.suggestion_shown and row.suggestion_withheld_percent == 50


def test_what_was_decided_stays_whatever_happens_later(client, project, annotator):
    """Coming back, a lease that ran out, suggestions that arrive later or are switched off: the record holds."""
    one = ItemFactory(project=project, text="They are all lazy.")
    before = work.next_assignment(annotator, project)
    SuggestionFactory(item=one)
    assert "Suggested by a model" not in page_of(client, project, annotator)
    Assignment.objects.update(state="expired")
    again = work.next_assignment(annotator, project)
    assert (again.pk, again.suggestion) == (before.pk, None)
    work.submit(annotator, again.pk, {"labels": LABELS})
    assert Annotation.objects.get().suggestion is None

    proposed(project)
    assert "Suggested by a model" in page_of(client, project, annotator)
    suggestions.switch(project, project.created_by, False)
    assert "Suggested by a model" in page_of(client, project, annotator)
    held = Assignment.objects.get(state="held")
    work.submit(annotator, held.pk, {"labels": LABELS, "rewrite": "x"})
    proposed(project)
    assert "Suggested by a model" not in page_of(client, project, annotator)


def test_a_draft_and_a_revision_keep_the_suggestion_on_screen(client, project, annotator):
    proposed(project)
    page_of(client, project, annotator)
    assignment = Assignment.objects.get()
    work.save_draft(annotator, assignment.pk, {"labels": {"bias": "none"}, "rewrite": "Mine."})
    page = page_of(client, project, annotator)
    assert page.count("<small>suggested</small>") == 4 and "Mine." in page and 'value="none" checked' in page
    annotation = work.submit(annotator, assignment.pk, {"labels": LABELS, "rewrite": PROPOSED[:-1]})
    assert annotation.suggestion_distance == pytest.approx(1 / len(PROPOSED))
    url = reverse("annotation:revise", args=[annotation.pk])
    assert "Suggested by a model" in client.get(url).content.decode()
    work.revise(annotator, annotation.pk, {"labels": LABELS, "rewrite": PROPOSED}, 1)
    annotation.refresh_from_db()
    assert (annotation.suggestion_shown, annotation.suggestion_distance) == (True, 0)


def test_an_error_on_submit_keeps_the_suggestion(client, project, annotator):
    proposed(project)
    page_of(client, project, annotator)
    url = reverse("annotation:submit", args=[Assignment.objects.get().pk])
    answer = client.post(url, {"label-bias": "high", "rewrite": "Mine."}, headers={"HX-Request": "true"})
    assert answer.status_code == 422 and answer.content.decode().count("<small>suggested</small>") == 4


def test_hidden_texts_get_suggestions_like_all_others(project, annotator):
    original = proposed(project)
    work.submit(annotator, work.next_assignment(annotator, project).pk, {"labels": LABELS})
    repeat = ItemFactory(
        project=project, kind=ItemKind.REPEAT, repeat_of=original.item, repeat_for=annotator, text=original.item.text
    )
    assert suggestions.condition(repeat, annotator.pk)["suggestion_id"] == original.pk


def test_a_list_of_assignments_costs_the_same_however_long(client, project, annotator, django_assert_max_num_queries):
    for _ in range(6):
        proposed(project)
        work.submit(annotator, work.next_assignment(annotator, project).pk, {"labels": LABELS})
    client.force_login(annotator)
    with django_assert_max_num_queries(8):
        assert len(client.get("/api/assignments/").json()["results"]) == 6


def test_handing_out_asks_the_database_once_more_and_no_more(project, annotator, django_assert_num_queries):
    one = ItemFactory(project=project)
    SuggestionFactory(item=one)
    with django_assert_num_queries(1):
        suggestions.condition(one, annotator.pk)
