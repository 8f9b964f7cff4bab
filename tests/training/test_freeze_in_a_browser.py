"""The freeze form in a browser: by keyboard, with a count that follows the filters, from 360 px on."""

import pytest
from playwright.sync_api import expect

from annotation.models import Role
from tests.factories import ItemFactory, MembershipFactory, PairFactory, ProjectFactory
from training.models import Dataset

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def test_filters_are_chosen_by_keyboard_and_what_was_typed_stays_when_the_splits_cannot_be_filled(new_page):
    project = ProjectFactory()
    trainer = MembershipFactory(project=project, role=Role.TRAINER).user
    for number, group in enumerate(["women", "women", "women", "old people", "<b>أهلا</b>"]):
        item = ItemFactory(project=project, text=f"{chr(97 + number) * 40} {number}", target_group=group)
        PairFactory(project=project, item=item)
    page = new_page(trainer, viewport={"width": 360, "height": 800})
    page.goto(f"/projects/{project.pk}/training/datasets/new/")
    status = page.locator("#approved")
    expect(status).to_contain_text("5 approved pairs")
    page.get_by_label("old people (1)").focus()
    page.keyboard.press("Space")
    expect(status).to_contain_text("1 approved pair: only about the target group old people")
    page.get_by_label("Name", exact=True).fill("One alone")
    page.get_by_role("button", name="Freeze").click()
    expect(page.get_by_role("alert").nth(1)).to_contain_text("1 different text cannot fill 3 splits")
    expect(page.get_by_label("Name", exact=True)).to_have_value("One alone")
    expect(page.get_by_label("old people (1)")).to_be_checked()
    page.get_by_label("old people (1)").uncheck()
    page.get_by_label("women (3)").check()
    expect(status).to_contain_text("3 approved pairs: only about the target group women")
    page.get_by_role("button", name="Freeze").click()
    expect(page.get_by_role("heading", name="One alone")).to_be_visible()
    assert Dataset.objects.get().counts == {"train": 1, "validation": 1, "test": 1}
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
