"""Voting by keyboard, in a real browser with the page's own scripts; nothing chosen is lost."""

import pytest
from playwright.sync_api import expect

from annotation.models import Rewrite, RewriteVote
from tests.annotation.test_votes import annotate, member
from tests.factories import ItemFactory, ProjectFactory

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def voter():
    project = ProjectFactory(overlap=1, votes_per_rewrite=2, guidelines="Be fair.")
    for number in range(3):
        annotate(ItemFactory(project=project, text=f"They are all lazy, text {number}."), f"Some work less, {number}.")
    return member(project)


@pytest.fixture
def page(new_page, voter):
    page = new_page(voter)
    page.goto(f"/projects/{voter.memberships.get().project_id}/votes/")
    return page


def test_a_day_of_voting_without_the_mouse(page, voter):
    assert "all lazy" in page.text_content("del >> nth=0") or page.locator("del").count()
    page.keyboard.press("y")
    page.keyboard.press("n")
    assert page.is_checked("[name=safe][value=yes]") and page.is_checked("[name=keeps_meaning][value=no]")
    page.keyboard.press("c")
    page.keyboard.type("It says less, you see.")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#vote-task")).to_contain_text("1 vote today")
    first = RewriteVote.objects.get(state="given")
    assert (first.safe, first.keeps_meaning, first.comment) == (True, False, "It says less, you see.")
    assert page.evaluate("document.activeElement.id") == "vote-title"
    page.keyboard.press("u")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#vote-task")).to_contain_text("2 votes today")
    # back through one's own votes, and the first one changed
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#cannot-judge")).to_be_checked()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("[name=keeps_meaning][value=no]")).to_be_checked()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("y")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#vote-task")).not_to_contain_text("You gave this vote")
    first.refresh_from_db()
    assert (first.keeps_meaning, first.revision, len(first.earlier)) == (True, 2, 1)
    page.keyboard.press("y")
    page.keyboard.press("y")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#vote-task")).to_contain_text("No rewrite waits for your vote")
    assert sorted(Rewrite.objects.values_list("votes", flat=True)) == [0, 1, 1]


def test_what_was_chosen_survives_a_dead_server_and_a_closed_tab(page, voter, new_page):
    page.route("**/votes/**", lambda route: route.abort())
    page.keyboard.press("n")
    page.keyboard.press("c")
    page.keyboard.type("Half a thought")
    expect(page.locator("#draft-state")).to_contain_text("kept in this browser")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#connection")).to_be_visible()
    assert page.input_value("#comment") == "Half a thought"
    page.unroute("**/votes/**")
    page.reload()
    assert page.input_value("#comment") == "Half a thought"
    assert page.is_checked("[name=safe][value=no]")
    expect(page.locator("#draft-state")).to_contain_text("draft saved")
    other = new_page(voter)  # another browser has it from the server
    other.goto(page.url)
    assert other.input_value("#comment") == "Half a thought" and other.is_checked("[name=safe][value=no]")


def test_an_incomplete_vote_says_what_is_missing_and_keeps_the_rest(page):
    page.keyboard.press("y")
    page.keyboard.press("Control+Enter")
    expect(page.locator("[role=alert]").filter(has_text="Not counted yet")).to_contain_text("keeps the meaning")
    assert page.is_checked("[name=safe][value=yes]")
    page.keyboard.press("n")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#vote-task")).to_contain_text("1 vote today")


def test_texts_are_hidden_by_a_key_and_keys_can_be_switched_off(page):
    page.keyboard.press("h")
    assert page.evaluate("document.body.classList.contains('blurred')")
    page.keyboard.press("?")
    page.uncheck("#single-keys")
    page.keyboard.press("Escape")
    page.keyboard.press("y")
    assert page.locator("input:checked[type=radio]").count() == 0


def test_the_voting_page_fits_a_phone(page):
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
