"""The rating page in a real browser: keys, drafts, and a server that is away."""

import re

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from evaluation import review_drafts, reviewing, studies
from evaluation.models import Rating
from tests.evaluation.factories import running_study
from tests.factories import ProjectFactory, UserFactory

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def study():
    return running_study(items=3, systems=2, reviewers=[UserFactory(username="rita")], project=ProjectFactory())


@pytest.fixture
def rating(new_page, study):
    page = new_page(study.reviewers.get().user)
    page.goto(reverse("evaluation:rate", args=[study.pk]))
    return page


def saved(page):
    expect(page.locator("#draft-state")).to_have_text("draft saved")


def at(page, position):
    expect(page.locator(".rate-progress small")).to_contain_text(f"text {position} of")
    expect(page.locator("fieldset.question.current")).to_have_count(1)  # the keys work from here on


def first_task(study):
    return study.tasks.get(position=1)


def test_a_text_is_rated_with_keys_alone(rating, study):
    for key in "543215":
        rating.keyboard.press(key)
    assert rating.inner_text("#open-questions") == "1 left"
    rating.keyboard.press("n")
    alert = rating.wait_for_selector("#task [role=alert]")
    assert "Overall" in alert.inner_text()
    assert rating.locator("#rating input:checked").count() == 6
    rating.keyboard.press("3")  # A, about the same, B
    rating.keyboard.press("Enter")
    at(rating, 2)
    task = first_task(study)
    ratings = Rating.objects.order_by("slot__position", "criterion__position")
    assert list(ratings.values_list("value", flat=True)) == [5, 4, 3, 2, 1, 5]
    assert task.preferred.position == 2


def test_going_back_shows_the_answers_and_a_change_is_saved(rating, study):
    for key in "1111112n":
        rating.keyboard.press(key)
    at(rating, 2)
    rating.keyboard.press("b")
    at(rating, 1)
    assert rating.locator("#rating input:checked").count() == 7
    rating.keyboard.press("5")
    rating.keyboard.press("n")
    at(rating, 2)
    values = Rating.objects.order_by("slot__position", "criterion__position").values_list("value", flat=True)
    assert list(values) == [5, 1, 1, 1, 1, 1]
    assert first_task(study).tie


def test_a_draft_survives_a_reload_and_typing_triggers_no_key(rating, study):
    rating.keyboard.press("4")
    rating.keyboard.press("c")
    rating.keyboard.type("b n h 1 2 3")
    saved(rating)
    rating.reload()
    assert rating.input_value("#comment") == "b n h 1 2 3"
    assert rating.locator("#rating input:checked").count() == 1
    assert review_drafts.content_of(first_task(study))["comment"] == "b n h 1 2 3"


def test_nothing_is_lost_while_the_server_is_away(rating, study):
    rating.context.set_offline(True)
    for key in "2222221":
        rating.keyboard.press(key)
    expect(rating.locator("#draft-state")).to_contain_text(
        "kept on this computer; will be saved when the server answers"
    )
    rating.keyboard.press("n")
    rating.wait_for_selector("#connection:not([hidden])")
    assert rating.locator("#rating input:checked").count() == 7
    rating.context.set_offline(False)
    saved(rating)
    rating.keyboard.press("n")
    at(rating, 2)
    assert list(Rating.objects.values_list("value", flat=True)) == [2] * 6


def test_what_was_typed_before_the_study_closed_is_shown_again(rating, study):
    rating.keyboard.press("4")
    rating.keyboard.press("c")
    rating.keyboard.type("An hour of thought")
    saved(rating)
    studies.close(study, study.created_by)
    rating.keyboard.type(" and more")
    expect(rating.locator("#draft-state")).to_contain_text("The study has been closed")
    rating.keyboard.press("Control+Enter")
    expect(rating.get_by_text("This study is closed")).to_be_visible()
    expect(rating.get_by_label("Your comment")).to_have_value("An hour of thought and more")
    rating.reload()
    expect(rating.get_by_label("Your comment")).to_have_value("An hour of thought and more")
    assert not Rating.objects.exists()


def test_two_quick_presses_submit_once(rating, study):
    for key in "3333332nn":
        rating.keyboard.press(key)
    at(rating, 2)
    assert Rating.objects.count() == 6
    assert reviewing.counts_of(study.reviewers.get().user, study)["done"] == 1


def test_the_texts_can_be_hidden_and_stay_hidden(rating):
    rating.keyboard.press("h")
    assert rating.get_attribute("#hide", "aria-pressed") == "true"
    for key in "3333332n":
        rating.keyboard.press(key)
    at(rating, 2)
    assert "blurred" in rating.get_attribute("body", "class")


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_and_everything_has_a_name(new_page, study, width):
    page = new_page(study.reviewers.get().user, viewport={"width": width, "height": 800})
    page.goto(reverse("evaluation:rate", args=[study.pk]))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    tree = page.locator("#rating").aria_snapshot()
    assert "Output A: Is the bias gone?" in tree
    assert len(re.findall(r"radio", tree)) == 6 * 5 + 3
    assert 'radio "1 not at all"' in tree and 'radio "4 mostly"' in tree
