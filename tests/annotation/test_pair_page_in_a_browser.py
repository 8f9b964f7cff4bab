"""Settling pairs by keyboard, in a real browser with the page's own scripts."""

import pytest
from playwright.sync_api import expect

from annotation import work
from annotation.models import Role
from tests.factories import ItemFactory, MembershipFactory, ProjectFactory, UserFactory

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LABELS = {"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"}


@pytest.fixture
def pairs(new_page):
    """Two pairs with two rewrites each, the first one disputed, and the queue open in the lead's browser."""
    lead = UserFactory()
    project = ProjectFactory(lead=lead, overlap=2)
    items = ItemFactory.create_batch(2, project=project)
    for rewrite in ("One <b>way</b>.", "Another way. 🙃"):
        user = MembershipFactory(project=project, role=Role.ANNOTATOR).user
        for item in items:
            labels = LABELS | ({"bias": "none"} if (item, rewrite[0]) == (items[0], "A") else {})
            assignment = work.next_assignment(user, project)
            work.submit(user, assignment.pk, {"labels": labels, "rewrite": rewrite})
    page = new_page(lead)
    page.goto(items[0].pair.get_absolute_url())
    page.wait_for_timeout(450)  # keys that arrive at once are taken for the last page's
    return page, items[0].pair, items[1].pair


def test_a_pair_is_settled_and_the_next_one_opened_without_the_mouse(pairs):
    page, first, second = pairs
    assert page.input_value("#rewrite") == "One <b>way</b>."
    page.keyboard.press("2")
    assert page.input_value("#rewrite") == "Another way. 🙃"
    page.keyboard.press("e")
    page.keyboard.press("End")
    page.keyboard.type(" Edited.")
    expect(page.locator("#chosen-state")).to_contain_text(", edited")
    with page.expect_navigation():
        page.keyboard.press("Control+Enter")
    first.refresh_from_db()
    assert (first.status, first.rewrite) == ("approved", "Another way. 🙃 Edited.")
    assert (first.chosen.rewrite, "bias" in first.labels) == ("Another way. 🙃", False)
    assert page.text_content("h1") == second.item.external_id
    page.keyboard.press("r")
    page.keyboard.type("a reason")
    with page.expect_navigation():
        page.keyboard.press("Control+Enter")
    second.refresh_from_db()
    assert (second.status, second.reason) == ("rejected", "a reason")
    assert "Nothing waits to be settled" in page.text_content("main")


def test_taking_over_a_rewrite_can_be_undone(pairs):
    page, *_ = pairs
    page.fill("#rewrite", "My own careful words.")
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    assert page.input_value("#rewrite") == "One <b>way</b>."
    page.focus("#rewrite")
    page.keyboard.press("Control+z")
    assert page.input_value("#rewrite") == "My own careful words."


def test_a_key_pressed_on_the_way_to_the_next_pair_decides_nothing(pairs):
    page, first, second = pairs
    with page.expect_navigation():
        page.keyboard.press("j")
        page.keyboard.press("a")
    page.wait_for_load_state()
    assert page.text_content("h1") == second.item.external_id
    for pair in (first, second):
        pair.refresh_from_db()
        assert pair.status == "proposed"


def test_single_keys_can_be_switched_off(pairs):
    page, first, _ = pairs
    page.keyboard.press("?")
    page.uncheck("#single-keys")
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    page.wait_for_timeout(300)
    first.refresh_from_db()
    assert first.status == "proposed"


def test_the_page_fits_a_phone(pairs, new_page):
    page, first, _ = pairs
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(first.get_absolute_url())
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
