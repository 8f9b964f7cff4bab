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


def study_of(layout, **values):
    return running_study(items=2, reviewers=[UserFactory()], project=ProjectFactory(), layout=layout, **values)


@pytest.mark.parametrize(
    ("layout", "systems", "keys"),
    [
        ("rate", 2, ["12x3", "123"]),
        ("pairwise", 2, ["1", "02"]),
        ("best_worst", 3, ["31", "4"]),
        ("side_by_side", 3, ["123123123" + "4", "111x2222222" + "2"]),
    ],
)
def test_a_study_of_each_layout_is_finished_and_guessed_by_keys_alone(new_page, layout, systems, keys):
    study = study_of(layout, systems=systems, guesses=1)
    page = new_page(study.reviewers.get().user)
    page.goto(reverse("evaluation:rate", args=[study.pk]))
    total = study.tasks.count()
    for number in range(total):
        at(page, number + 1)
        page.keyboard.type(keys[number % 2])
        expect(page.locator("#open-questions")).to_be_empty()
        page.keyboard.press("n")
    expect(page.get_by_text("become final when you begin")).to_be_visible()
    page.keyboard.press("n")
    expect(page.get_by_text("guess 1 of 1")).to_be_visible()
    expect(page.locator("fieldset.question.current")).to_have_count(1)
    page.keyboard.type("3" * systems if layout != "rate" else "3")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    assert study.tasks.filter(done_at=None).count() == 0
    assert study.tasks.filter(guessed_at__isnull=False).count() == 1
    odd = study.tasks.order_by("position")[:2]
    if layout == "rate":
        assert set(Rating.objects.filter(cannot_judge="context").values_list("slot__task__position", flat=True)) == {
            1,
            3,
        }
    elif layout == "pairwise":
        assert odd[0].preferred.position == 1 and odd[1].unpreferred == "language"
    elif layout == "best_worst":
        assert (odd[0].preferred.position, odd[0].worst.position, odd[1].tie) == (3, 1, True)
    else:
        assert odd[0].tie and odd[1].preferred.position == 2
        assert Rating.objects.get(cannot_judge="language").slot.task == odd[1]


def test_the_best_and_the_worst_are_never_one_output(new_page):
    study = study_of("best_worst", systems=3)
    page = new_page(study.reviewers.get().user)
    page.goto(reverse("evaluation:rate", args=[study.pk]))
    page.keyboard.type("22")  # the later choice stays
    assert page.locator("#worst :checked").count() == 1 and page.locator("#best :checked").count() == 0
    page.keyboard.press("ArrowUp")
    page.keyboard.type("4")  # about the same
    expect(page.locator("#worst")).to_be_hidden()
    expect(page.locator("#open-questions")).to_be_empty()


def test_one_goes_on_where_one_stopped_on_another_device(rating, new_page, study):
    rating.keyboard.type("54x1")
    saved(rating)
    phone = new_page(study.reviewers.get().user, viewport={"width": 360, "height": 740}, has_touch=True)
    phone.goto(reverse("evaluation:rate", args=[study.pk]))
    assert phone.locator("#rating input:checked").count() == 3
    assert "I do not understand the text" in phone.locator(".no-judgement[data-chosen]").inner_text()
    phone.keyboard.type("3")
    saved(phone)
    rating.keyboard.press("c")
    rating.keyboard.type("Typed without knowing")
    expect(rating.locator("#conflict")).to_contain_text("in another tab or on another device")
    assert rating.input_value("#comment") == "Typed without knowing"
    rating.get_by_role("button", name="Take the newer one").click()
    assert rating.locator("#rating input:checked").count() == 4
    assert rating.input_value("#comment") == ""


def test_differences_words_and_a_pause_are_on_keys_and_the_clock_stops(rating):
    text = rating.locator(".output-text").first.inner_text()
    rating.keyboard.press("d")
    expect(rating.locator(".output-text ins").first).to_be_visible()
    rating.keyboard.press("d")
    assert rating.locator(".output-text").first.inner_text() == text
    rating.keyboard.press("w")
    assert rating.locator(".scale .words").first.bounding_box()["width"] > 20
    rating.keyboard.press("p")
    expect(rating.locator("#paused")).to_be_visible()
    assert "paused" in rating.get_attribute("body", "class")
    rating.keyboard.press("5")  # answers nothing meanwhile
    assert rating.evaluate("Redress.pause.on")
    rating.keyboard.press("p")
    expect(rating.locator("#paused")).to_be_hidden()
    assert rating.locator("#rating input:checked").count() == 0


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_and_everything_has_a_name(new_page, study, width):
    page = new_page(study.reviewers.get().user, viewport={"width": width, "height": 800})
    page.goto(reverse("evaluation:rate", args=[study.pk]))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    tree = page.locator("#rating").aria_snapshot()
    assert "Output A: Is the bias gone?" in tree
    assert len(re.findall(r"radio", tree)) == 6 * 5 + 3
    assert 'radio "1 not at all"' in tree and 'radio "4 mostly"' in tree
