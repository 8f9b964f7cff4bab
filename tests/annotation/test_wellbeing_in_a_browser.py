"""An annotator's wellbeing by keyboard alone, in a real browser: hidden texts, opt-out, pause, limit of a day."""

import re

import pytest
from playwright.sync_api import expect

from annotation import projects, wellbeing
from annotation.models import Annotation, Assignment, Pause
from tests.factories import ItemFactory, ProjectFactory, UserFactory

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

KINDS = [{"name": "slurs", "warning": "names for groups"}, {"name": "violence", "warning": ""}]


@pytest.fixture
def day(new_page):
    ann = UserFactory(username="ann")
    project = ProjectFactory(annotator=ann, overlap=2, content_kinds=KINDS, blur_texts=True, pause_after=2)
    ItemFactory(project=project, text="They are all <b>lazy</b>. 🙃", content_kinds=["slurs"])
    ItemFactory.create_batch(2, project=project, content_kinds=["violence"])
    ItemFactory.create_batch(4, project=project)
    page = new_page(ann)
    page.goto(f"/projects/{project.pk}/annotate/")
    page.wait_for_selector("#annotation")
    return page, project, ann


def tab_to(page, name, role="button", limit=80):
    """Press Tab until the control with this name has the focus."""
    wanted = page.get_by_role(role, name=re.compile(name)).first
    for _ in range(limit):
        if wanted.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not reach {name}")


def submit_severe(page):
    done = Annotation.objects.count()
    for key in "3333":  # high, severe, high, positive
        page.keyboard.press(key)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#task")).to_contain_text(f"{done + 1} finished today")


def test_texts_start_hidden_and_h_shows_one_at_a_time(day):
    page, *_ = day
    hidden, text = page.locator("#hidden-hint"), page.locator("#text")
    expect(page.locator("body")).to_have_class(re.compile("blurred"))
    expect(hidden).to_be_visible()
    expect(page.locator("#hide")).to_have_attribute("aria-pressed", "true")
    assert text.evaluate("element => element.closest('[aria-hidden=true][inert]') !== null")
    page.keyboard.press("h")
    expect(page.locator("body")).not_to_have_class(re.compile("blurred"))
    expect(hidden).to_be_hidden()
    assert text.evaluate("element => element.closest('[aria-hidden=true]') === null")
    page.keyboard.press("s")
    expect(page.locator("#content-warning")).to_contain_text("violence")
    expect(page.locator("body")).to_have_class(re.compile("blurred"))
    tab_to(page, "Hide the text")
    page.keyboard.press("Enter")
    expect(page.locator("body")).not_to_have_class(re.compile("blurred"))


def test_a_kind_is_declined_a_pause_taken_and_the_limit_kept_without_the_mouse(day):
    page, project, ann = day
    expect(page.locator("#content-warning")).to_contain_text("This text contains slurs (names for groups)")
    # decline both kinds
    tab_to(page, "^Wellbeing$", role="link")
    page.keyboard.press("Enter")
    page.wait_for_url("**/wellbeing/")
    for kind in ("slurs", "violence"):
        tab_to(page, kind, role="checkbox")
        page.keyboard.press("Space")
    tab_to(page, "^Save$")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text("Your choices are saved.")
    assert wellbeing.choices_of(ann, project).declined_kinds == ["slurs", "violence"]
    # the text in hand is skipped, and none of those kinds comes any more
    page.goto(f"/projects/{project.pk}/annotate/")
    page.keyboard.press("s")
    expect(page.locator("#content-warning")).to_have_count(0)
    expect(page.locator("#annotation")).to_be_visible()
    for _ in range(2):
        submit_severe(page)
    # a pause is suggested, and ends when the person says so
    expect(page.locator("#task")).to_contain_text("A short break may do you good")
    page.keyboard.press("p")
    page.wait_for_url("**/pause/")
    expect(page.locator(".timer")).to_contain_text(re.compile(r"[45]:\d\d left"))
    page.wait_for_timeout(1200)
    expect(page.locator(".timer")).to_contain_text("4:5")
    assert Pause.objects.get().ended_at is None
    tab_to(page, "Back to work")
    page.keyboard.press("Enter")
    page.wait_for_url("**/annotate/")
    assert Pause.objects.get().ended_at is not None
    expect(page.locator("#task")).not_to_contain_text("A short break")
    # the limit of a day
    projects.change(project, daily_limit=3)
    page.wait_for_selector("#annotation")
    for key in "1111":
        page.keyboard.press(key)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#task")).to_contain_text("That is enough for today")
    assert Annotation.objects.count() == 3
    assert not Assignment.objects.filter(state="held").exists()
    # what was read
    tab_to(page, "^Wellbeing$", role="link")
    page.keyboard.press("Enter")
    tab_to(page, "What I have read", role="link")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text("Only you see this page; leads see the sums")
    expect(page.get_by_role("row", name=re.compile("Severe texts"))).to_contain_text("2")


def test_the_new_pages_fit_a_phone(day):
    page, project, _ann = day
    page.set_viewport_size({"width": 360, "height": 740})
    for path in ("annotate/", "wellbeing/", "pause/", "mine/", "mine/?show=drafts"):
        page.goto(f"/projects/{project.pk}/{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
    page.goto("/exposure/")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
