"""The annotator's page by keyboard alone: labels, marks, undo, and a help sheet that knows every key."""

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from annotation.models import Annotation, Assignment
from tests.factories import ItemFactory, MembershipFactory, ProjectFactory

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

TEXT = "Most people in that ghetto are simply lazy 👩‍👩‍👧 folk."


@pytest.fixture
def project():
    return ProjectFactory(overlap=1, guidelines="# Be kind")


@pytest.fixture
def annotating(new_page, project):
    ItemFactory(project=project, text=TEXT)
    ItemFactory(project=project, text="The second text.")
    page = new_page(MembershipFactory(project=project).user)
    page.goto(reverse("annotation:annotate", args=[project.pk]))
    return page


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def marked(page):
    return page.locator("#text mark").all_inner_texts()


def chosen(page):
    return page.locator("fieldset.dimension input:checked").evaluate_all("all => all.map((input) => input.value)")


def said(page, words):
    expect(page.locator("#live")).to_contain_text(words)


def test_a_text_is_labelled_marked_rewritten_and_submitted_by_keyboard_alone(annotating):
    press(annotating, "3", "2", "2", "1")
    press(annotating, "m", "ArrowRight", "ArrowRight", "ArrowRight", "Shift+ArrowRight", "Space", "Escape")
    press(annotating, "e")
    annotating.keyboard.type("Many people there face barriers.")
    press(annotating, "Control+Enter")
    expect(annotating.locator("#text")).to_have_text("The second text.")
    annotation = Annotation.objects.get()
    assert annotation.labels == {"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"}
    assert [TEXT[span["start"] : span["end"]] for span in annotation.spans] == ["that ghetto"]
    assert annotating.evaluate("document.activeElement.id") == "text-title"


def test_a_mark_is_chosen_grown_shrunk_and_removed_by_keyboard(annotating):
    press(annotating, "m", "ArrowRight", "ArrowRight", "ArrowRight", "Space", "Escape")
    press(annotating, "m", *["ArrowRight"] * 7, "Space", "Escape")
    assert marked(annotating) == ["that", "lazy"]
    press(annotating, ".")
    said(annotating, "Mark 1 of 2: that")
    press(annotating, "ArrowRight")
    said(annotating, "Marked: that ghetto")
    press(annotating, "Shift+ArrowLeft", "ArrowRight", "ArrowLeft")
    assert marked(annotating) == ["in that ghetto", "lazy"]
    press(annotating, "Alt+ArrowLeft", "Alt+Shift+ArrowRight")
    assert marked(annotating) == ["n that ghett", "lazy"]
    press(annotating, ".", "Alt+ArrowRight", "Alt+ArrowRight")
    said(annotating, "Marked: lazy 👩‍👩‍👧")  # the emoji and its joiners are one character to people
    press(annotating, "Control+ArrowLeft")
    press(annotating, ",", "Delete")
    said(annotating, "Mark removed: n that ghett")
    assert marked(annotating) == ["lazy "]
    press(annotating, "Delete", ".")
    said(annotating, "There are no marks yet.")
    press(annotating, "u")
    assert marked(annotating) == ["lazy "]


def test_a_mark_stops_at_its_neighbour_and_never_becomes_empty(annotating):
    press(annotating, "m", "Space", "Escape", "m", "ArrowRight", "Space", "Escape")
    assert marked(annotating) == ["Most", "people"]
    press(annotating, ".", "ArrowRight", "ArrowRight")
    assert marked(annotating) == ["Most ", "people"]
    said(annotating, "cannot go further")
    press(annotating, *["Alt+ArrowLeft"] * 8)
    assert marked(annotating) == ["M", "people"]


def test_undo_and_redo_of_labels_marks_groups_and_a_copied_rewrite(annotating):
    press(annotating, "3", "2")
    press(annotating, "m", "Space", "Escape")
    press(annotating, "t")
    annotating.keyboard.type("poor people")
    press(annotating, "Enter", "Escape")
    annotating.fill("#rewrite", "My own words.")
    press(annotating, "Escape", "c")
    assert annotating.input_value("#rewrite") == TEXT
    press(annotating, "Escape", "u")
    assert annotating.input_value("#rewrite") == "My own words."
    press(annotating, "u")
    expect(annotating.locator("#groups button")).to_have_count(0)
    press(annotating, "Control+z")
    assert marked(annotating) == []
    press(annotating, "u", "u")
    assert chosen(annotating) == []
    press(annotating, "u")
    said(annotating, "Nothing to be undone")
    press(annotating, "Shift+U", "Control+Shift+Z", "Control+y")
    assert chosen(annotating) == ["high", "mild"]
    assert marked(annotating) == ["Most"]
    press(annotating, "Shift+U", "Shift+U")
    assert annotating.input_value("#rewrite") == TEXT
    expect(annotating.locator("#groups button")).to_have_text("poor people ×")


def test_a_level_chosen_with_the_mouse_is_undone_too(annotating):
    annotating.locator("fieldset.dimension label").first.click()
    annotating.locator("fieldset.dimension label").nth(2).click()
    press(annotating, "u")
    assert chosen(annotating) == ["none"]


def test_undo_in_a_text_field_is_the_fields_own(annotating):
    press(annotating, "1", "e")
    annotating.keyboard.type("x")
    press(annotating, "Control+z")
    assert (annotating.input_value("#rewrite"), chosen(annotating)) == ("", ["none"])


def test_a_copied_text_is_taken_back_from_inside_the_field_too(annotating):
    annotating.fill("#rewrite", "My own words.")
    press(annotating, "Escape", "c", "Control+z")
    assert annotating.input_value("#rewrite") == "My own words."


def test_other_scripts_set_labels_and_rewrites_and_add_keys(annotating):
    annotating.evaluate(
        """() => {
            document.addEventListener("redress:task", (event) => { window.task = event.detail; });
            Redress.keys.add({ keys: ["x"], section: "More", help: "take the suggestion", run: () => {
                task.setLabel("harm", "high"); task.setRewrite("Suggested."); task.setSpans([{ start: 0, end: 4 }]);
            } });
        }"""
    )
    press(annotating, "s")
    expect(annotating.locator("#text")).to_have_text("The second text.")
    press(annotating, "x")
    assert (annotating.input_value("#rewrite"), chosen(annotating), marked(annotating)) == (
        "Suggested.",
        ["high"],
        ["The "],
    )
    press(annotating, "?")
    expect(annotating.locator("#keys-sheet")).to_contain_text("take the suggestion")
    press(annotating, "Escape", "u", "u", "u")
    assert (annotating.input_value("#rewrite"), chosen(annotating), marked(annotating)) == ("", [], [])
    with pytest.raises(Exception, match=r"The key \? is taken"):
        annotating.evaluate("Redress.keys.add({ keys: ['?'], help: 'again' })")


def test_the_sheet_names_every_key_and_every_key_does_something(annotating):
    """Each key of the registry is printed on the sheet, and an event with it reaches its action."""
    press(annotating, "?")
    expect(annotating.locator("#help")).to_be_visible()
    entries = annotating.evaluate(
        "Redress.keys.entries.map(({ keys, help, mode, typing }) => ({ keys, help, mode, typing }))"
    )
    rows = annotating.locator("#keys-sheet tr").evaluate_all(
        "rows => rows.map((row) => [row.dataset.keys, row.cells[0].innerText.trim(), row.cells[1].innerText])"
    )
    assert [[" ".join(entry["keys"]), entry["help"]] for entry in entries] == [[row[0], row[2]] for row in rows]
    assert all(row[1] for row in rows), "a row without its key"
    press(annotating, "Escape")
    annotating.evaluate(
        """() => {
            window.ran = [];
            for (const entry of Redress.keys.entries) if (entry.run) entry.run = () => { window.ran.push(entry.help); };
        }"""
    )
    names = {"space": "Space"}
    for entry in entries:
        for combo in entry["keys"]:
            *modifiers, key = combo.split("+")
            pressed = "+".join(["Control" if m == "Mod" else m for m in modifiers] + [names.get(key, key)])
            annotating.evaluate("mode => { Redress.keys.mode = mode ?? null; window.ran = []; }", entry.get("mode"))
            press(annotating, pressed)
            assert annotating.evaluate("window.ran") == [entry["help"]], combo


def test_single_keys_can_be_switched_off(annotating):
    press(annotating, "?")
    annotating.uncheck("#single-keys")
    press(annotating, "Escape", "1", "e")
    assert chosen(annotating) == []
    assert annotating.evaluate("document.activeElement.id") != "rewrite"
    annotating.click("#mark-words")
    press(annotating, "Space")
    assert marked(annotating) == ["Most"]
    assert not Assignment.objects.filter(state="finished").exists()


@pytest.fixture
def groups_so_far(project):
    """What others have named: neighbours most often."""
    for names in 2 * (["neighbours", "night owls"], ["neighbours"], ["women"]):
        annotator = MembershipFactory(project=project).user
        item = ItemFactory(project=project)
        assignment = Assignment.objects.create(
            project=project, item=item, annotator=annotator, state="finished", lease_until=timezone.now()
        )
        Annotation.objects.create(
            project=project, item=item, annotator=annotator, assignment=assignment, target_groups=names
        )


def chips(page):
    return [text.removesuffix(" ×") for text in page.locator("#groups button").all_inner_texts()]


def test_target_groups_are_chosen_by_keyboard_from_those_named_so_far_or_typed_freely(annotating, groups_so_far):
    entry, options = annotating.get_by_role("combobox", name="Who is it about?"), annotating.locator("[role=option]")
    press(annotating, "t")
    expect(options).to_have_text(["neighbours", "night owls", "women"])
    expect(entry).to_have_attribute("aria-expanded", "true")
    annotating.keyboard.type("n")
    expect(options).to_have_text(["neighbours", "night owls", "women"])  # those that begin with it first
    annotating.keyboard.type("i")
    expect(options).to_have_text(["night owls"])
    said(annotating, "1 group to choose from")
    press(annotating, "ArrowDown")
    expect(entry).to_have_attribute("aria-activedescendant", options.first.get_attribute("id"))
    expect(options.first).to_have_attribute("aria-selected", "true")
    press(annotating, "Enter")
    assert chips(annotating) == ["night owls"]
    said(annotating, "Group added: night owls")
    annotating.keyboard.type("early birds")
    expect(options).to_have_count(0)
    press(annotating, "Enter")
    annotating.keyboard.type("wom")
    expect(options).to_have_text(["women"])
    press(annotating, "Escape")
    expect(options).to_have_count(0)
    assert entry.input_value() == "wom"
    press(annotating, "ArrowDown")
    expect(options).to_have_count(1)
    options.first.click()
    assert chips(annotating) == ["night owls", "early birds", "women"]
    press(annotating, "Backspace")
    said(annotating, "Group removed: women")
    press(annotating, "Escape", "Escape")
    expect(entry).not_to_be_focused()
    expect(annotating.locator("#draft-state")).to_have_text("draft saved")
    assert Assignment.objects.get(state="held").draft["target_groups"] == ["night owls", "early birds"]


def test_the_guidelines_stay_open_beside_the_text_and_say_when_they_changed(annotating, project):
    press(annotating, "g")
    expect(annotating.locator("#guidelines")).to_contain_text("Be kind")
    expect(annotating.locator("#guidelines-title")).to_contain_text("version 1")
    press(annotating, "1", "2")
    assert chosen(annotating) == ["none", "mild"]  # the keys go on working
    annotating.reload()
    expect(annotating.locator("#guidelines")).to_be_visible()
    project.guidelines, project.guidelines_version = "# Be kinder", 2
    project.save()
    press(annotating, "s")
    expect(annotating.locator("#guidelines")).to_contain_text("Be kinder")
    expect(annotating.locator("#guidelines-title")).to_contain_text("version 2")
    press(annotating, "Shift+G")
    expect(annotating.locator("#guidelines-text")).to_be_focused()
    press(annotating, "g")
    expect(annotating.locator("#guidelines")).to_be_hidden()


def test_forward_and_back_go_through_ones_own_work(annotating):
    press(annotating, "1", "1", "1", "1", "Control+Enter")
    expect(annotating.locator("#text")).to_have_text("The second text.")
    press(annotating, "ArrowLeft")
    expect(annotating.locator("#text")).to_have_text(TEXT)
    press(annotating, "ArrowRight")
    expect(annotating.locator("#text")).to_have_text("The second text.")
    expect(annotating.locator("#today")).to_have_text("1 finished today")


def test_a_text_of_a_hundred_thousand_characters_is_marked_and_compared(new_page, project):
    text = " ".join(f"word{number % 977}" for number in range(13_300))[:99_000]
    ItemFactory(project=project, text=text)
    page = new_page(MembershipFactory(project=project).user)
    page.goto(reverse("annotation:annotate", args=[project.pk]))
    press(page, "m", "ArrowRight", "Shift+ArrowRight", "Space", "Escape", ".", "ArrowRight")
    assert marked(page) == ["word1 word2 word3"]
    press(page, "c", "Control+End")
    page.keyboard.type(" The end.")
    expect(page.locator("#diff ins")).to_have_text("The end.", timeout=30_000)
    expect(page.locator("#diff-figures")).to_contain_text("keeps 100 % of the words · length 1.00×")
    expect(page.locator("#draft-state")).to_have_text("draft saved", timeout=30_000)


def test_the_days_count_has_a_goal_where_the_project_sets_one(new_page, project):
    project.daily_limit = 40
    project.save()
    ItemFactory(project=project)
    page = new_page(MembershipFactory(project=project).user)
    page.goto(reverse("annotation:annotate", args=[project.pk]))
    expect(page.locator("#today")).to_have_text("0 of 40 finished today")
    expect(page.get_by_role("progressbar", name="0 of 40 done today")).to_be_visible()


def test_on_a_phone_the_buttons_are_in_reach_without_scrolling(new_page, project):
    ItemFactory(project=project, text="A long text, said the neighbour. " * 60)
    page = new_page(MembershipFactory(project=project).user, viewport={"width": 360, "height": 740})
    page.goto(reverse("annotation:annotate", args=[project.pk]))
    for name in ("Submit", "Skip", "Back"):
        expect(page.get_by_role("button", name=name)).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
