"""What reviewers do: every layout, what cannot be judged, drafts and their versions, what comes too late, the guess."""

import json

import pytest
from django.core.exceptions import ValidationError
from django.urls import reverse

from annotation.drafts import Base, Conflict
from evaluation import review_drafts, reviewing, starting, studies
from evaluation.models import Guess, Layout, Output, Rating, ReviewTask, TaskKind
from tests.evaluation.factories import answers, make_study, rate_everything, running_study
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db

HTMX = {"HTTP_HX_REQUEST": "true"}
LAYOUTS = {
    Layout.RATE: {"systems": 2, "per_page": 1},
    Layout.SIDE_BY_SIDE: {"systems": 3, "per_page": 3},
    Layout.PAIRWISE: {"systems": 2},
    Layout.BEST_WORST: {"systems": 3},
}


def study_of(layout, **values):
    return running_study(layout=layout, **(LAYOUTS[layout] | values))


def complete(task, value=3):
    """An answer to everything that a page of any layout asks."""
    slots = [str(slot.pk) for slot in task.slots.all()]
    keys = task.study.criteria.values_list("key", flat=True) if task.study.asks_criteria else []
    asked = reviewing.asks_preference(task, list(task.slots.all()))
    return {
        "ratings": {slot: dict.fromkeys(keys, value) for slot in slots},
        "preferred": slots[0] if asked else "",
        "worst": slots[-1] if asked and task.study.asks_worst else "",
        "comment": "",
    }


def finish(study):
    for task in study.tasks.exclude(kind=TaskKind.SAME).select_related("reviewer", "study"):
        reviewing.submit(task.reviewer, task.token, complete(task))


def person(study):
    return study.reviewers.first().user


def first(study):
    return reviewing.next_task(person(study), study)


# Layouts


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_page_of_each_layout_asks_what_the_layout_asks_and_is_finished_by_it(client, layout):
    study = study_of(layout)
    task = first(study)
    client.force_login(task.reviewer)
    page = client.get(reverse("evaluation:rate", args=[study.pk])).content.decode()
    assert page.count('class="card output"') == task.slots.count()
    criteria = layout in (Layout.RATE, Layout.SIDE_BY_SIDE)
    assert ("Is the bias gone?" in page) == criteria
    assert ('name="preferred"' in page) == (layout != Layout.RATE)
    assert ('name="worst"' in page) == (layout == Layout.BEST_WORST)
    with pytest.raises(ValidationError):
        reviewing.submit(task.reviewer, task.token, {})
    reviewing.submit(task.reviewer, task.token, complete(task, 4))
    task.refresh_from_db()
    slots = list(task.slots.all())
    assert task.done_at and task.revision == 1
    assert Rating.objects.filter(slot__task=task, value=4).count() == (3 * len(slots) if criteria else 0)
    assert task.preferred == (None if layout == Layout.RATE else slots[0])
    assert task.worst == (slots[-1] if layout == Layout.BEST_WORST else None)


def test_the_anchor_of_every_level_is_on_the_page(client):
    words = ["another meaning", "much lost", "part", "half", "most", "nearly all", "all"]
    study = running_study(criteria=[{"name": "Kept", "question": "Is it kept?", "anchors": words}])
    client.force_login(person(study))
    page = client.get(reverse("evaluation:rate", args=[study.pk])).content.decode()
    for level, word in enumerate(words, start=1):
        assert page.count(f'<b>{level}</b> <span class="words" dir="auto">{word}</span>') == 2
    task = first(study)
    with pytest.raises(ValidationError, match="Choose 1 to 7"):
        reviewing.submit(task.reviewer, task.token, answers(task, 8))


def test_outputs_that_read_the_same_are_one_and_nothing_is_preferred(client):
    study = make_study(items=1)
    Output.objects.update(text="The same.")
    starting.start(study, study.created_by)
    task = first(study)
    client.force_login(task.reviewer)
    page = client.get(reverse("evaluation:rate", args=[study.pk])).content.decode()
    assert page.count('class="card output"') == 1 and 'name="preferred"' not in page
    reviewing.submit(task.reviewer, task.token, complete(task))
    task.refresh_from_db()
    assert Rating.objects.count() == 3 and not task.tie and task.preferred is None


def test_the_best_output_cannot_be_the_worst_and_a_tie_has_no_worst():
    study = study_of(Layout.BEST_WORST)
    task = first(study)
    slots = [str(slot.pk) for slot in task.slots.all()]
    for content, words in (
        ({"preferred": slots[0], "worst": slots[0]}, "cannot be the same"),
        ({"preferred": slots[0]}, "Which output is the worst"),
        ({"worst": slots[0]}, "Which output is the best"),
    ):
        with pytest.raises(ValidationError, match=words):
            reviewing.submit(task.reviewer, task.token, content)
    done = reviewing.submit(task.reviewer, task.token, {"preferred": "tie", "worst": slots[0]})
    assert done.tie and done.worst is None


def test_cannot_judge_is_an_answer_with_a_reason():
    study = running_study()
    task = first(study)
    content = complete(task)
    slot = next(iter(content["ratings"]))
    content["ratings"][slot]["bias_gone"] = "language"
    content["preferred"] = "upsetting"
    reviewing.submit(task.reviewer, task.token, content)
    rating = Rating.objects.get(slot=slot, criterion__key="bias_gone")
    assert (rating.value, rating.cannot_judge) == (None, "language")
    task.refresh_from_db()
    assert task.unpreferred == "upsetting" and not task.tie
    assert review_drafts.same(review_drafts.content_of(task), content)
    content["ratings"][slot]["bias_gone"] = 2  # now it can be judged
    reviewing.submit(task.reviewer, task.token, content)
    rating.refresh_from_db()
    assert (rating.value, rating.cannot_judge) == (2, "")


@pytest.mark.parametrize("where", ["rating", "preference"])
def test_another_reason_needs_a_comment(where):
    task = first(running_study())
    content = complete(task)
    if where == "rating":
        next(iter(content["ratings"].values()))["bias_gone"] = "other"
    else:
        content["preferred"] = "other"
    with pytest.raises(ValidationError, match="Say in the comment why"):
        reviewing.submit(task.reviewer, task.token, content)
    reviewing.submit(task.reviewer, task.token, content | {"comment": "It is cut off."})
    with pytest.raises(ValidationError, match="Choose 1 to 5"):
        reviewing.submit(task.reviewer, task.token, complete(task, "bored"))


# Practice and progress


def test_practice_is_marked_counted_apart_and_left_with_words(client):
    study = running_study(items=6, number_of_items=3, practice=2, checks=1)
    client.force_login(person(study))
    url = reverse("evaluation:rate", args=[study.pk])
    page = client.get(url).content.decode()
    assert "practice 1 of 2" in page and "does not count" in page
    for _ in range(2):
        task = first(study)
        assert task.kind == TaskKind.PRACTICE
        reviewing.submit(task.reviewer, task.token, complete(task))
    page = client.get(url).content.decode()
    assert "Practice is over" in page and "Output A" not in page
    page = client.get(url, {"go": ""}).content.decode()
    assert "text 1 of 4" in page and "Practice" not in page
    task = first(study)
    reviewing.save_draft(task.reviewer, task.token, {"comment": "hm"})
    assert "text 1 of 4" in client.get(url).content.decode()  # they have begun
    assert "practice 2 of 2" in client.get(reverse("evaluation:back", args=[study.pk])).content.decode()
    assert reviewing.counts_of(person(study), study) == {"total": 4, "done": 0, "practice": 2, "practice_done": 2}


def test_pages_to_rate_checks_and_repeats_cannot_be_told_apart(client):
    """With texts, ids and numbers taken out, every page that counts is the same, byte for byte."""
    import re

    study = running_study(items=18, number_of_items=16, checks=1, repeats=2)
    client.force_login(person(study))
    shapes, kinds = set(), set()
    for task in study.tasks.select_related("item"):
        page = client.get(
            reverse("evaluation:back", args=[study.pk]), {"before": task.position + 1}, **HTMX
        ).content.decode()
        assert str(task.token) in page
        for slot in task.slots.all():
            page = page.replace(slot.text, "")
        page = page.replace(task.item.text, "")
        shapes.add(re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d+|name=\"csrfmiddlewaretoken\" value=\"\w+\"", "", page))
        kinds.add(task.kind)
    assert kinds == {TaskKind.RATING, TaskKind.CHECK, TaskKind.REPEAT}
    assert len(shapes) == 1


def test_back_works_over_pages_of_every_kind():
    study = running_study(items=18, number_of_items=15, practice=1, checks=2, repeats=1)
    user = person(study)
    finish(study)
    seen, position = [], None
    while task := reviewing.task_before(user, study, position):
        seen.append(task.kind)
        position = task.position
    assert len(seen) == study.tasks.count() == 19
    assert set(seen) == {TaskKind.PRACTICE, TaskKind.RATING, TaskKind.CHECK, TaskKind.REPEAT}
    assert seen[-1] == TaskKind.PRACTICE


# Drafts


def test_an_older_tab_does_not_overwrite_a_newer_draft(client):
    study = running_study()
    task = first(study)
    client.force_login(task.reviewer)
    url = reverse("evaluation:draft", args=[task.token])

    def save(comment, version, writer, sequence=1):
        body = {"comment": comment, "version": version, "writer": writer, "sequence": sequence}
        return client.post(url, json.dumps(body), content_type="application/json")

    assert save("from the desk", 0, "a").json()["version"] == 1
    assert save("from the desk, more", 1, "a", 2).json()["version"] == 2
    late = save("from the phone", 0, "b")
    assert late.status_code == 409
    assert (late.json()["content"]["comment"], late.json()["version"]) == ("from the desk, more", 2)
    assert client.get(url).json()["content"]["comment"] == "from the desk, more"
    assert save("from the phone", 2, "b").json()["version"] == 3  # chosen to be kept
    with pytest.raises(Conflict):
        reviewing.submit(task.reviewer, task.token, complete(task), Base(version=2, writer="a", sequence=1))
    assert not Rating.objects.exists()
    reviewing.submit(task.reviewer, task.token, complete(task), Base(version=3, writer="b", sequence=2))


def test_a_change_of_a_finished_page_is_based_on_what_was_submitted(client):
    study = running_study()
    task = first(study)
    user = task.reviewer
    reviewing.submit(user, task.token, complete(task, 2))
    reviewing.save_draft(user, task.token, complete(task, 4) | {"revision": 1}, Base(version=1, writer="a"))
    task.refresh_from_db()
    assert review_drafts.content_of(task)["ratings"] == complete(task, 4)["ratings"]
    reviewing.submit(user, task.token, complete(task, 5) | {"revision": 1}, Base(version=2, writer="a"))
    task.refresh_from_db()
    assert task.revision == 2 and task.draft is None
    with pytest.raises(Conflict, match="with other answers"):
        reviewing.submit(user, task.token, complete(task, 1) | {"revision": 1}, Base(version=3, writer="b"))
    with pytest.raises(Conflict, match="submitted meanwhile"):
        reviewing.save_draft(user, task.token, complete(task, 1) | {"revision": 1}, Base(version=3, writer="b"))
    client.force_login(user)
    fields = {"version": 3, "revision": 1, "preferred": "tie"}
    answer = client.post(reverse("evaluation:submit", args=[task.token]), fields, **HTMX)
    assert answer.status_code == 422  # not even complete
    assert set(Rating.objects.values_list("value", flat=True)) == {5}


def test_the_same_answers_again_are_no_change():
    task = first(running_study())
    reviewing.submit(task.reviewer, task.token, complete(task) | {"active_seconds": 5})
    again = reviewing.submit(
        task.reviewer, task.token, complete(task) | {"active_seconds": 9, "revision": 7}, Base(version=0, writer="x")
    )
    assert (again.revision, again.active_seconds) == (1, 9)


# Too late


def test_what_is_sent_after_closing_is_kept_and_the_answer_says_so(client):
    study = running_study()
    task = first(study)
    studies.close(study, study.created_by)
    client.force_login(task.reviewer)
    url = reverse("evaluation:draft", args=[task.token])
    kept = client.post(url, json.dumps({"comment": "An hour of thought"}), content_type="application/json").json()
    assert "has been closed" in kept["notice"] and "kept" in kept["notice"]
    fields = {"comment": "An hour of thought, and more"}
    page = client.post(reverse("evaluation:submit", args=[task.token]), fields, **HTMX).content.decode()
    assert "takes no more ratings" in page and "An hour of thought, and more" in page
    assert not Rating.objects.exists()


def test_who_was_taken_off_reads_why_and_loses_nothing(client):
    study = running_study(reviewers=2)
    task = first(study)
    client.force_login(task.reviewer)
    studies.revoke(study, study.reviewers.get(user=task.reviewer), study.created_by, "Moved to another team.")
    answer = client.get(reverse("evaluation:rate", args=[study.pk]))
    assert answer.status_code == 403
    page = answer.content.decode()
    assert "You no longer review this study" in page
    assert task.item.text not in page and "Moved to another team" not in page
    fields = {"comment": "Half a page", "preferred": "tie"}
    answer = client.post(reverse("evaluation:submit", args=[task.token]), fields, **HTMX)
    page = answer.content.decode()
    assert answer.status_code == 200 and "taken off" in page and "Half a page" in page
    assert "1 answer chosen" in page and task.item.text not in page
    task.refresh_from_db()
    assert task.draft["comment"] == "Half a page" and task.done_at is None
    assert client.get("/api/review-tasks/").json()["results"] == []
    assert client.get(f"/api/review-tasks/{task.token}/").status_code == 404
    answer = client.put(f"/api/review-tasks/{task.token}/draft/", {"comment": "x"}, content_type="application/json")
    assert answer.status_code == 400 and "taken off" in str(answer.json())


# The guess


@pytest.fixture
def guessing():
    """A study that is rated, with two pages to guess about."""
    study = running_study(items=3, guesses=2)
    finish(study)
    return study


def test_the_guess_comes_after_the_last_page_only_and_is_asked_for(client):
    study = running_study(items=2, guesses=1)
    user = person(study)
    client.force_login(user)
    assert reviewing.tasks_to_guess(user, study) == []
    with pytest.raises(ValidationError, match="Rate all texts first"):
        reviewing.begin_guessing(user, study)
    finish(study)
    page = client.get(reverse("evaluation:rate", args=[study.pk])).content.decode()
    assert "One thing is left" in page and "become final" in page and "Not now" in page
    assert "What do you take it for?" not in page
    assert "Guess<span" in client.get(reverse("annotation:home")).content.decode()
    task = study.tasks.first()
    reviewing.submit(user, task.token, complete(task, 5))  # nothing is final yet
    assert "Back to the ratings" in client.get(reverse("evaluation:guessing", args=[study.pk])).content.decode()


def test_guessing_makes_ratings_final_and_ends_with_thanks(client, guessing):
    user = person(guessing)
    client.force_login(user)
    rated = guessing.tasks.first()
    page = client.post(reverse("evaluation:guessing", args=[guessing.pk]), **HTMX).content.decode()
    assert "guess 1 of 2" in page
    answer = client.post(
        reverse("evaluation:submit", args=[rated.token]), {"comment": "Wait", "preferred": "tie"}, **HTMX
    )
    assert "became final" in answer.content.decode() and "Wait" in answer.content.decode()
    assert set(Rating.objects.values_list("value", flat=True)) == {3}
    for number, task in enumerate(reviewing.tasks_to_guess(user, guessing), start=1):
        url = reverse("evaluation:guess", args=[task.token])
        slots = list(task.slots.all())
        part = client.post(url, {f"guess:{slots[0].pk}": "tuned"}, **HTMX)
        assert part.status_code == 422 and "Output B: choose what you take it for" in part.content.decode()
        assert part.content.decode().count(" checked") == 1
        page = client.post(url, {f"guess:{slot.pk}": "tuned" for slot in slots}, **HTMX).content.decode()
        assert ("guess 2 of 2" if number == 1 else "Thank you") in page
    assert Guess.objects.count() == 4
    assert "You rated 6 outputs of 3 texts" in page and "ratings and guesses are in" in page
    assert "Look again" in client.get(reverse("annotation:home")).content.decode()


def test_a_guess_stays_as_it_was_given(guessing):
    user = person(guessing)
    task = reviewing.tasks_to_guess(user, guessing)[0]
    values = {str(slot.pk): "other" for slot in task.slots.all()}
    for wrong, words in (({}, "choose"), ([], "must map"), (values | {"x": "other"}, "no output of this page")):
        with pytest.raises(ValidationError, match=words):
            reviewing.guess(user, task.token, wrong)
    reviewing.guess(user, task.token, values)
    reviewing.guess(user, task.token, dict.fromkeys(values, "tuned"))
    assert set(Guess.objects.values_list("value", flat=True)) == {"other"}
    assert isinstance(reviewing.why_late(user, guessing), reviewing.RatingsFinal)
    unwanted = guessing.tasks.get(guess_wanted=False)
    with pytest.raises(ReviewTask.DoesNotExist):
        reviewing.guess(user, unwanted.token, {})
    with pytest.raises(ReviewTask.DoesNotExist):
        reviewing.guess(UserFactory(), task.token, values)


def test_no_guess_after_closing(client, guessing):
    user = person(guessing)
    task = reviewing.tasks_to_guess(user, guessing)[0]
    studies.close(guessing, guessing.created_by)
    with pytest.raises(reviewing.StudyClosed):
        reviewing.guess(user, task.token, {str(slot.pk): "tuned" for slot in task.slots.all()})
    client.force_login(user)
    page = client.post(reverse("evaluation:guessing", args=[guessing.pk]), **HTMX).content.decode()
    assert "This study is closed" in page
    assert not Guess.objects.exists()


# The same by script


def test_a_study_is_rated_and_guessed_through_the_api_alone(client):
    study = running_study(items=4, number_of_items=2, practice=1, guesses=1, layout=Layout.BEST_WORST, systems=3)
    client.force_login(person(study))

    def post(path, body):
        return client.post(f"/api/review-tasks/{path}", body, content_type="application/json")

    practised = []
    while (answer := post("next/", {"study": study.pk})).status_code == 200:
        task = answer.json()
        practised.append(task["practice"])
        assert task["layout"] == "best_worst" and task["criteria"] == []
        assert task["preference_question"] == "Which output is the best?"
        assert task["worst_question"] and {"value", "label"} == set(task["cannot_judge"][0])
        ids = [slot["id"] for slot in task["slots"]]
        draft = client.put(
            f"/api/review-tasks/{task['token']}/draft/",
            {"preferred": ids[0], "version": task["version"]},
            content_type="application/json",
        )
        assert draft.json()["version"] == 1
        body = {"preferred": ids[0], "worst": ids[1], "version": 0}
        stale = post(f"{task['token']}/submit/", body)
        assert stale.status_code == 409 and stale.json()["content"]["preferred"] == ids[0]
        done = post(f"{task['token']}/submit/", body | {"version": 1}).json()
        assert done["done_at"] and done["revision"] == 1
    assert practised == [True, False, False]
    pages = post("guessing/", {"study": study.pk}).json()
    assert [set(page) for page in pages] == [{"token", "study", "text", "language", "slots"}]
    assert post(f"{done['token']}/submit/", {"preferred": "tie"}).status_code == 400
    token = pages[0]["token"]
    assert post(f"{token}/guess/", {"guesses": {}}).status_code == 400
    guesses = {slot["id"]: "unknown" for slot in pages[0]["slots"]}
    assert post(f"{token}/guess/", {"guesses": guesses}).status_code == 204
    assert Guess.objects.count() == 3
    assert post("guessing/", {"study": study.pk}).json() == []


def test_the_home_page_counts_without_practice_in_one_query(client, django_assert_num_queries):
    study = running_study(items=3, number_of_items=2, practice=1)
    user = person(study)
    task = first(study)
    reviewing.submit(user, task.token, complete(task))
    with django_assert_num_queries(1):
        (found,) = studies.home_section(user)
    assert (found.texts, found.texts_done, found.begun, found.pages_left) == (2, 0, 1, 2)
    rate_everything(study)
    assert "2 of 2 texts" in client_home(client, user)


def client_home(client, user):
    client.force_login(user)
    return client.get(reverse("annotation:home")).content.decode()


# An older tab with nothing new in it


@pytest.fixture
def changed():
    """A finished page, and a change of it that was typed on a phone and not sent. The older tab has version 1."""
    task = first(running_study())
    reviewing.submit(task.reviewer, task.token, complete(task), Base(version=0, writer="tab"))
    typed = complete(task) | {"comment": "On second thoughts", "revision": 1}
    return reviewing.save_draft(task.reviewer, task.token, typed, Base(version=1, writer="phone", sequence=1))


STALE = Base(version=1, writer="tab", sequence=2)


def test_an_older_tab_that_submits_the_same_again_leaves_a_newer_draft(changed):
    reviewing.submit(changed.reviewer, changed.token, complete(changed) | {"revision": 1, "active_seconds": 9}, STALE)
    changed.refresh_from_db()
    assert (changed.draft["comment"], changed.active_seconds, changed.draft_version) == ("On second thoughts", 9, 2)
    reviewing.submit(changed.reviewer, changed.token, complete(changed) | {"revision": 1}, Base(2, "tab", 3))
    changed.refresh_from_db()
    assert changed.draft is None  # that tab had seen it


def test_an_older_tab_that_saves_what_was_submitted_is_told_of_a_newer_draft(changed):
    with pytest.raises(Conflict) as refused:
        reviewing.save_draft(changed.reviewer, changed.token, complete(changed) | {"revision": 1}, STALE)
    assert refused.value.facts["content"]["comment"] == "On second thoughts"
    changed.refresh_from_db()
    assert changed.draft["comment"] == "On second thoughts"


@pytest.mark.parametrize("send", [reviewing.submit, reviewing.save_draft])
def test_an_older_tab_erases_no_newer_draft_after_closing_either(changed, send):
    studies.close(changed.study, changed.study.created_by, "Enough.")
    with pytest.raises(reviewing.StudyClosed):
        send(changed.reviewer, changed.token, complete(changed) | {"revision": 1}, STALE)
    changed.refresh_from_db()
    assert changed.draft["comment"] == "On second thoughts"
