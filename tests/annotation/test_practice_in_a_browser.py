"""A first day by keyboard alone: practice failed, retried and passed, then work with a hidden gold text."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import expect

from annotation import consensus, gold, jobs
from annotation.models import Annotation, ConsensusRun, PracticeRound, Role
from tests.annotation.test_consensus import contested
from tests.factories import ItemFactory, MembershipFactory, ProjectFactory, UserFactory

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

TEXTS = [
    "They are all lazy, and everybody knows it.",
    "هؤلاء كسالى 👩‍👩‍👧 <b>always</b>",
]
PICTURES = os.environ.get("PICTURES")  # a folder, to look at the pages


@pytest.fixture
def project():
    lead = UserFactory(username="the-lead")
    project = ProjectFactory(lead=lead, overlap=1, guidelines="# Be fair")
    for text in TEXTS:
        gold.create(
            project,
            lead,
            kind="practice",
            text=text,
            labels={"bias": ["high"], "toxicity": ["mild", "severe"]},
            spans=[{"start": 0, "end": 4}],
            rewrite="Some of them work less.",
            explanation="It speaks of all of them.\nAnd it says so as if it were known.",
        )
    gold.create(project, lead, kind="gold", text="A text like any other.", labels={"bias": ["high"]})
    gold.change_settings(project, lead, practice=True, pass_mark=75, practice_retries=2, gold_every=2, seed=4)
    ItemFactory.create_batch(2, project=project)
    return project


def picture(page, name):
    if not PICTURES:
        return
    for width, scheme in ((1280, "light"), (360, "dark")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=Path(PICTURES) / f"{name}-{width}.png", full_page=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="light")


def answer(page, keys, words=""):
    expect(page.locator("#annotation")).to_be_visible()
    for key in keys:
        page.keyboard.press(key)
    if words:
        page.keyboard.press("e")
        page.keyboard.type(words)
    page.keyboard.press("Control+Enter")


def test_practice_failed_retried_passed_and_then_work_with_a_hidden_text(new_page, project):
    user = MembershipFactory(project=project, role=Role.ANNOTATOR, user__username="anna").user
    page = new_page(user)
    page.goto(f"/projects/{project.pk}/annotate/")
    expect(page).to_have_url(f"{page.url.split('/projects')[0]}/projects/{project.pk}/practice/")
    expect(page.get_by_role("heading", name="Practice first")).to_be_visible()
    picture(page, "practice-begin")
    page.keyboard.press("ArrowRight")

    # A round with everything wrong. What is typed survives the loss of the page.
    expect(page.locator("#task")).to_contain_text("Text 1 of 2")
    picture(page, "practice-text")
    page.keyboard.press("e")
    page.keyboard.type("Half a sentence")
    expect(page.locator("#draft-state")).to_have_text("draft saved")
    page.reload()
    expect(page.locator("#rewrite")).to_have_value("Half a sentence")
    page.locator("body").press("Escape")
    answer(page, "1131", " more.")
    expect(page.get_by_role("heading", name="Your answer and the right one")).to_be_focused()
    expect(page.locator("#task")).to_contain_text("It speaks of all of them.")
    expect(page.locator("table.compare")).to_contain_text("not right")
    picture(page, "practice-answer")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#task")).to_contain_text("Text 2 of 2")
    answer(page, "1131")
    expect(page.get_by_role("heading", name="Your answer and the right one")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("heading", name="Not passed yet")).to_be_focused()
    expect(page.locator("#task")).to_contain_text("2 tries left")
    picture(page, "practice-failed")

    # Once more, with everything right.
    page.keyboard.press("ArrowRight")
    for number in (1, 2):
        expect(page.locator("#task")).to_contain_text(f"Text {number} of 2")
        answer(page, "3231")
        expect(page.get_by_role("heading", name="Your answer and the right one")).to_be_focused()
        expect(page.locator("table.compare")).not_to_contain_text("not right")
        page.keyboard.press("ArrowRight")
    expect(page.get_by_role("heading", name="Passed")).to_be_visible()
    picture(page, "practice-passed")
    page.keyboard.press("ArrowRight")

    # The work: two texts and the hidden one, which looks like them.
    page.wait_for_url("**/annotate/")
    for number in range(3):
        expect(page.locator("#annotation")).to_be_visible()
        expect(page.locator("#today")).to_contain_text(f"{number} finished today")
        assert not {"gold", "practice", "hidden"} & set(page.locator("main").inner_text().lower().split())
        answer(page, "3231", "Kinder.")
    expect(page.get_by_role("heading", name="Nothing is left for you here")).to_be_visible()
    kinds = sorted(Annotation.objects.filter(annotator=user).values_list("kind", flat=True))
    assert kinds == ["gold", "work", "work"]
    states = list(PracticeRound.objects.order_by("number").values_list("state", "score"))
    assert states == [("failed", 0), ("passed", 100)]

    lead = new_page(type(user).objects.get(username="the-lead"))
    lead.goto(f"/projects/{project.pk}/quality/")
    expect(lead.locator("main")).to_contain_text("passed")
    expect(lead.get_by_role("row", name="anna").nth(1)).to_contain_text("100 %")
    for name, path in (
        ("quality", "quality/"),
        ("gold-list", "quality/gold/"),
        ("gold-new", "quality/gold/new/"),
        ("gold-import", "quality/gold/import/"),
        ("quality-settings", "quality/settings/"),
        ("consensus-empty", "quality/consensus/"),
    ):
        lead.goto(f"/projects/{project.pk}/{path}")
        picture(lead, name)


def test_the_consensus_fills_the_labels_of_a_pair_by_key(new_page):
    lead = UserFactory()
    project = ProjectFactory(lead=lead, overlap=4)
    people = [MembershipFactory(project=project, role=Role.ANNOTATOR).user for _ in range(4)]
    items = contested(project, people)
    run = consensus.start(project, lead)
    jobs.execute(ConsensusRun.objects, run.pk, consensus.run)
    page = new_page(lead)
    page.goto(items[0].pair.get_absolute_url())
    assert page.locator("[name=label-bias]:checked").input_value() == ""  # tied
    picture(page, "pair-consensus")
    page.keyboard.press("c")
    assert page.locator("[name=label-bias]:checked").input_value() == "high"
    page.goto(f"/projects/{project.pk}/quality/consensus/")
    picture(page, "consensus")
