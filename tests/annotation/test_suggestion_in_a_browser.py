"""Suggestions on the annotator's page in a real browser, by keyboard alone."""

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from annotation import jobs, suggestion_reports, suggestions, work
from annotation.models import Annotation, Assignment, Role, SuggestionReport
from tests.factories import (
    ItemFactory,
    MembershipFactory,
    ProjectFactory,
    SuggestionFactory,
    UserFactory,
    set_up_suggestions,
)
from tests.test_accessibility import look

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
PROPOSED = "Some of them work <b>less</b>."


@pytest.fixture
def project():
    project = ProjectFactory(annotator=UserFactory(username="anna"), overlap=1)
    set_up_suggestions(project, project.created_by)
    for number in range(2):
        item = ItemFactory(project=project, text=f"👩‍👩‍👧 They are all lazy, said neighbour {number}.")
        start = item.text.index("lazy")
        SuggestionFactory(item=item, rewrite=PROPOSED, spans=[{"start": start, "end": start + 4}])
    return project


def open_page(new_page, project, **options):
    page = new_page(project.memberships.get(role=Role.ANNOTATOR).user, **options)
    page.goto(reverse("annotation:annotate", args=[project.pk]))
    expect(page.locator("fieldset.dimension.current")).to_have_count(1)
    return page


def saved(page):
    expect(page.locator("#draft-state")).to_have_text("draft saved")


def chosen(page):
    return page.eval_on_selector_all(
        "fieldset.dimension input:checked", "inputs => inputs.map(input => input.name.slice(6) + ':' + input.value)"
    )


def test_a_person_decides_about_a_suggestion_by_keyboard_alone(new_page, project):
    page = open_page(new_page, project)
    expect(page.locator("label.suggested")).to_have_count(4)
    assert chosen(page) == []
    assert page.input_value("#rewrite") == ""

    page.keyboard.press("1")  # bias: none, though high is suggested
    page.keyboard.press("a")  # what is open, and only that
    assert chosen(page) == ["bias:none", "toxicity:mild", "harm:medium", "sentiment:negative"]
    page.keyboard.press("u")
    assert chosen(page) == ["bias:none"]
    page.keyboard.press("Shift+u")
    page.keyboard.press("w")
    expect(page.locator("#text mark")).to_have_text("lazy")
    page.keyboard.press("r")
    assert page.input_value("#rewrite") == PROPOSED
    page.keyboard.press("e")
    page.keyboard.type(" They say so.")
    page.keyboard.press("Escape")
    saved(page)
    draft = Assignment.objects.get(state="held").draft
    assert draft["rewrite"] == PROPOSED + " They say so." and draft["labels"]["harm"] == "medium"

    page.reload()
    expect(page.locator("label.suggested")).to_have_count(4)
    assert page.input_value("#rewrite") == PROPOSED + " They say so."
    page.keyboard.press("Control+Enter")
    expect(page.locator("#text")).to_contain_text("neighbour 1")
    done = Annotation.objects.get()
    assert done.suggestion_shown and done.labels["bias"] == "none"
    assert 0 < done.suggestion_distance < 0.5
    assert [done.item.text[span["start"] : span["end"]] for span in done.spans] == ["lazy"]
    # The next text has its own suggestion, and the keys work there too.
    page.keyboard.press("a")
    assert chosen(page) == ["bias:high", "toxicity:mild", "harm:medium", "sentiment:negative"]
    # Back at the first: the suggestion is there still, and a revision keeps to the rules.
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#text")).to_contain_text("neighbour 0")
    expect(page.locator("#suggestion")).to_be_visible()
    page.keyboard.press("r")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#text")).to_contain_text("neighbour 1")
    done.refresh_from_db()
    assert (done.revision, done.suggestion_distance, done.rewrite) == (2, 0, PROPOSED)


def test_without_a_suggestion_the_keys_do_nothing_and_are_not_on_the_sheet(new_page, project):
    suggestions.change(project, project.created_by, withheld_percent=100)
    page = open_page(new_page, project)
    for key in "arw":
        page.keyboard.press(key)
    assert chosen(page) == [] and page.input_value("#rewrite") == ""
    assert page.locator("#suggestion, label.suggested, #text mark").count() == 0
    page.keyboard.press("?")
    expect(page.locator("#keys-sheet")).to_be_visible()
    assert "suggested" not in page.inner_text("#keys-sheet")


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_and_says_what_is_suggested(new_page, project, width):
    page = open_page(new_page, project, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    tree = page.locator("#annotation").aria_snapshot()
    assert 'heading "Suggested by a model"' in tree and "high suggested" in tree
    page.keyboard.press("?")
    expect(page.locator("#keys-sheet")).to_contain_text("use the suggested rewrite")


def test_no_page_about_suggestions_has_a_serious_violation(new_page, project):
    annotator = project.memberships.get().user
    lead = MembershipFactory(project=project, role=Role.LEAD).user
    labels = {"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"}
    first = work.next_assignment(annotator, project)
    work.submit(annotator, first.pk, {"labels": labels, "rewrite": "Mine.", "active_seconds": 20})
    SuggestionFactory(item=ItemFactory(project=project), status="malformed", reason="Not JSON.", answer="Sorry. " * 90)
    report = suggestions.start_report(project, lead)
    jobs.execute(SuggestionReport.objects, report.pk, suggestion_reports.run)
    found = look(open_page(new_page, project))
    page = new_page(lead)
    for name in ("suggestions", "suggestion-answers", "suggestion-settings"):
        page.goto(reverse(f"annotation:{name}", args=[project.pk]))
        found += look(page)
    assert found == []
