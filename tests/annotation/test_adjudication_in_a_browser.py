"""The lead's adjudication by keyboard alone: contested first, settle, send back, a bulk rule with its preview, undo."""

import pytest
from playwright.sync_api import expect

from annotation import pairs, rules
from annotation.models import Batch, Pair, PairStatus
from tests.annotation.test_adjudication import make, voted
from tests.annotation.test_votes import NO, YES
from tests.factories import ProjectFactory, UserFactory

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

GRACE = 450  # ms; keys that arrive at once are taken for the last page's


def press(page, *keys):
    page.wait_for_timeout(GRACE)
    for key in keys:
        page.keyboard.press(key)


@pytest.fixture
def project():
    return ProjectFactory(overlap=2, votes_per_rewrite=2, lead=UserFactory())


@pytest.fixture
def lead(project):
    return project.memberships.get(role="lead").user


def test_contested_pairs_are_settled_sent_back_and_undone_by_keyboard(project, lead, new_page):
    calm = make(project, "Same.", "Same.")
    split = make(project, "One way.", "Another way.", bias="none")
    failed = voted(project, YES, NO, pair=make(project, "Half safe.", "Half safe."))
    page = new_page(lead)
    page.goto(f"/projects/{project.pk}/pairs/")
    ids = page.locator("[data-row]").all_text_contents()
    assert ids == [pair.item.external_id for pair in (split, failed, calm)]
    press(page, "j")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    # settle the most contested one
    press(page, "2")
    with page.expect_navigation():
        page.keyboard.press("a")
    split.refresh_from_db()
    assert (split.status, split.rewrite) == ("approved", "Another way.")
    # and take it back from the next page
    assert page.text_content("h1") == failed.item.external_id
    press(page)
    with page.expect_navigation():
        page.keyboard.press("u")
    split.refresh_from_db()
    assert (split.status, split.rewrite, page.text_content("h1")) == ("proposed", "One way.", split.item.external_id)
    # send the next one back, with a reason
    press(page)
    with page.expect_navigation():
        page.keyboard.press("j")
    press(page, "s")
    assert page.evaluate("document.activeElement.id") == "annotation"
    press(page, "ArrowDown", "Tab")
    page.keyboard.type("Half is not enough. 🙃")
    with page.expect_navigation():
        page.keyboard.press("Control+Enter")
    failed.refresh_from_db()
    sent = failed.send_backs.get()
    assert (failed.status, failed.sent_back, sent.reason) == ("proposed", "waiting", "Half is not enough. 🙃")
    assert sent.annotation == failed.item.annotations.order_by("pk").last()
    expect(page.locator("main")).to_contain_text("sent back")
    # the annotator sees the reason above their work, and changes it
    annotator = sent.annotation.annotator
    theirs = new_page(annotator)
    theirs.goto(f"/projects/{project.pk}/annotate/")
    expect(theirs.locator("#task")).to_contain_text("Half is not enough. 🙃")
    theirs.get_by_role("link", name="Look at it again").click()
    expect(theirs.locator("#task")).to_contain_text("The lead asks you to look at this again")
    theirs.fill("#rewrite", "All safe.")
    theirs.keyboard.press("Control+Enter")
    expect(theirs.locator("#task")).not_to_contain_text("asks you to look at this again")
    page.goto(f"/projects/{project.pk}/pairs/?state=answered")
    assert page.locator("[data-row]").all_text_contents() == [failed.item.external_id]
    press(page, "j")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text("changed")


def test_what_was_sent_back_can_be_kept_with_a_word(project, lead, new_page):
    pair = make(project, "One way.", "Another way.")
    annotation = pair.item.annotations.first()
    pairs.send_back(pair, lead, version=pair.version, annotation=annotation.pk, reason="Look.")
    page = new_page(annotation.annotator)
    page.goto(f"/annotations/{annotation.pk}/")
    page.fill("#answer", "It is a quotation.")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text("Your answer is with the lead")
    pair.refresh_from_db()
    assert (pair.sent_back, pair.send_backs.get().answer) == ("answered", "It is a quotation.")


def test_a_rule_is_previewed_applied_and_undone(project, lead, new_page, worker):
    rules.save(project, lead, {"min_annotations": 2, "rewrite": "votes", "min_votes": 2})
    for _ in range(3):
        voted(project, YES, YES, pair=make(project, "Same.", "Same."))
    voted(project, YES, NO, pair=make(project, "Same.", "Same."))
    worker("default")
    page = new_page(lead)
    page.goto(f"/projects/{project.pk}/pairs/rules/")
    expect(page.locator("#preview")).to_contain_text("Would approve 3 of 4")
    page.locator("#id_min_safe").focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("50")
    page.keyboard.press("Tab")
    expect(page.locator("#preview")).to_contain_text("at least 50 % say that it is safe")
    expect(page.locator("#preview")).to_contain_text("Would approve 4 of 4")
    page.on("dialog", lambda dialog: dialog.accept())
    button = page.get_by_role("button", name="Approve 4 pairs")
    button.focus()
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text("4 pairs approved.", timeout=60_000)
    batch = Batch.objects.get()
    assert batch.rule["min_safe"] == 50 and "at least 50 % say that it is safe" in batch.words
    assert Pair.objects.filter(status=PairStatus.APPROVED, batch=batch).count() == 4
    page.get_by_role("button", name="Undo the batch").focus()
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text("4 pairs brought back.", timeout=60_000)
    assert Pair.objects.filter(status=PairStatus.PROPOSED).count() == 4


def test_ticked_rows_are_approved_and_rejected_by_keyboard(project, lead, new_page):
    first, second, third = (make(project, "Same.", "Same.") for _ in range(3))
    page = new_page(lead)
    page.goto(f"/projects/{project.pk}/pairs/")
    press(page, "j", "x", "j", "x")
    expect(page.locator("[data-count]")).to_have_text("2 ticked")
    page.get_by_role("button", name="Reject").focus()
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="Nothing was decided")).to_contain_text("Say why")
    assert page.locator("[name=pairs]:checked").count() == 2
    page.get_by_role("button", name="Approve as proposed").focus()
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text("2 pairs approved.")
    for pair, status in ((first, "approved"), (second, "approved"), (third, "proposed")):
        pair.refresh_from_db()
        assert pair.status == status


def test_the_pages_fit_a_phone(project, lead, new_page):
    pair = voted(project, YES, NO, pair=make(project, "One way.", "Another way.", bias="none"))
    page = new_page(lead, viewport={"width": 360, "height": 740})
    for address in (pair.get_absolute_url(), f"/projects/{project.pk}/pairs/", f"/projects/{project.pk}/pairs/rules/"):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_refused_rejection_keeps_its_box_and_is_never_taken_for_an_approval(project, lead, new_page):
    pair = make(project, "One way.", "Another way.", bias="none")
    page = new_page(lead)
    page.goto(pair.get_absolute_url())
    press(page, "r")
    with page.expect_navigation():
        page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("Say why the pair is rejected")
    assert page.evaluate("document.activeElement.id") == "reason"
    page.keyboard.type("Not good enough.")
    with page.expect_navigation():
        page.keyboard.press("Control+Enter")
    pair.refresh_from_db()
    assert (pair.status, pair.reason, pair.rewrite) == ("rejected", "Not good enough.", "One way.")


def test_a_key_that_comes_too_early_says_so(project, lead, new_page):
    pair = make(project, "One way.", "Another way.", bias="none")
    page = new_page(lead)
    page.goto(pair.get_absolute_url())
    page.evaluate("Object.defineProperty(performance, 'now', { value: () => 10, configurable: true })")
    page.keyboard.press("a")
    expect(page.locator("#chosen-state")).to_have_text("This page had just opened: press the key again.")
    page.evaluate("delete performance.now")
    press(page)
    with page.expect_navigation():
        page.keyboard.press("a")
    pair.refresh_from_db()
    assert pair.status == "approved"
