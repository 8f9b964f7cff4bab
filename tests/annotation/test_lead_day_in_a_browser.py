"""A lead's day on real texts: import, what the team agrees on, the contested pairs, a bulk rule, and the files.

The lead works in a real browser with a real worker; the team of seven annotates through the services (tests/team.py).
What the pages and files say is counted again here, from the annotations themselves.
"""

import csv
import io
import re
import zipfile
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from django.contrib.auth.models import Permission
from playwright.sync_api import expect

from annotation.models import Annotation, Batch, Item, Pair, PairStatus, Project
from tests import team
from tests.factories import ProjectFactory, UserFactory

TEXTS, OVERLAP = 60, 3
KEYS = ("bias", "toxicity", "harm", "sentiment")
GRACE = 450  # ms; keys that arrive at once are taken for the last page's

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not team.DATA.is_dir(), reason="the real texts are not beside the repository (../shared/data)"),
]


@pytest.fixture
def lead():
    lead = UserFactory(username="lea")
    lead.user_permissions.add(Permission.objects.get(codename="add_project"))
    return lead


@pytest.fixture
def project(lead):
    return ProjectFactory(name="News and social media", lead=lead, overlap=OVERLAP)


def finished(page) -> None:
    expect(page.locator(".job .badge.good")).to_be_visible(timeout=120_000)


def column(page, name: str):
    """The choice of what a column of the file means."""
    return page.get_by_label(name, exact=True)


def imports_the_texts(page, project: Project) -> None:
    """The first sixty rows of the file as it is; the lead says what its columns mean."""
    with (team.DATA / "unsafe_safe_pairs.csv").open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = [row for row, _ in zip(reader, range(TEXTS), strict=False)]
    out = io.StringIO()
    writer = csv.DictWriter(out, reader.fieldnames or [])
    writer.writeheader()
    writer.writerows(rows)
    page.goto(f"/projects/{project.pk}/imports/")
    content = out.getvalue().encode()
    page.set_input_files("input[type=file]", {"name": "pairs.csv", "mimeType": "text/csv", "buffer": content})
    page.select_option("[name=review]", "always")
    page.click("button.primary")
    expect(page.get_by_role("heading", name="What is in the file")).to_be_visible(timeout=60_000)
    assert not Item.objects.exists(), "nothing is imported before the lead has answered"
    expect(column(page, "text")).to_have_value("text")
    expect(column(page, "external_id")).to_have_value("external_id")
    expect(column(page, "safe_rewrite")).to_have_value("safe_rewrite")
    column(page, "safe_rewrite").select_option("drop")  # the team writes its own
    column(page, "aspect").select_option("target_group")
    page.get_by_role("button", name="Import", exact=True).click()
    finished(page)
    expect(page.locator("main")).to_contain_text(f"{TEXTS} texts imported")
    assert list(Item.objects.order_by("pk").values_list("external_id", "text", "target_group")) == [
        (row["external_id"], row["text"], row["aspect"]) for row in rows
    ]
    assert not Pair.objects.exists()
    assert Item.objects.first().metadata["label"] == rows[0]["label"]


def labels_by_text(key: str) -> dict[int, list[str]]:
    found = defaultdict(list)
    for item, labels in Annotation.objects.values_list("item_id", "labels"):
        found[item].append(labels[key])
    return found


def reads_agreement(page, project: Project) -> None:
    page.goto(f"/projects/{project.pk}/")
    page.get_by_role("link", name="Agreement", exact=True).first.click()
    table = page.locator("table.agreement")
    expect(table).to_be_visible()
    expect(page.locator("main")).to_contain_text(f"{TEXTS * OVERLAP} annotations of {TEXTS} texts by 7 people")
    for place, key in enumerate(KEYS):
        cells = table.locator("tbody tr").nth(place).locator("td").all_inner_texts()
        pairs = [one == two for labels in labels_by_text(key).values() for one, two in combinations(labels, 2)]
        assert cells[0].startswith(f"{100 * sum(pairs) / len(pairs):.0f}\u00a0%"), key
        for cell in cells[:-1]:  # each figure with its interval
            figures = [float(one.replace("\u2212", "-")) for one in re.findall(r"[-\u2212]?\d+(?:\.\d+)?", cell)]
            estimate, low, high = figures
            assert low <= estimate <= high and low < high, (key, cell)


def compares_two_annotators(page) -> None:
    page.select_option("[name=first]", "ada")
    page.select_option("[name=second]", "bo")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.get_by_role("heading", name="ada against bo")).to_be_visible()
    chosen = {
        name: dict(Annotation.objects.filter(annotator__username=name).values_list("item_id", "labels"))
        for name in ("ada", "bo")
    }
    both = chosen["ada"].keys() & chosen["bo"].keys()
    assert both
    figures = page.locator("main figure:has(.heat)")
    expect(figures).to_have_count(len(KEYS))
    for place, key in enumerate(KEYS):
        figure = figures.nth(place)
        expect(figure.locator(".heat svg")).to_be_visible()
        figure.get_by_text("As a table").click()
        counts = Counter((chosen["ada"][item][key], chosen["bo"][item][key]) for item in both)
        levels = team.LEVELS[key]
        shown = [row.locator("td").all_inner_texts() for row in figure.locator("tbody tr").all()]
        assert shown == [[str(counts[one, two]) for two in levels] for one in levels], key


def settles_the_most_contested(page, project: Project) -> Pair:
    page.goto(f"/projects/{project.pk}/pairs/")
    shown = [float(meter.get_attribute("value")) for meter in page.locator("td.contested meter").all()]
    assert len(shown) > 20 and shown == sorted(shown, reverse=True) and shown[0] > shown[-1]
    page.wait_for_timeout(GRACE)
    page.keyboard.press("j")
    name = page.evaluate("document.activeElement.textContent")
    pair = Pair.objects.get(item__external_id=name)
    assert any(len(set(labels_by_text(key)[pair.item_id])) > 1 for key in KEYS), "people differ on the first one"
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text(name)
    page.wait_for_timeout(GRACE)
    page.keyboard.press("2")  # the second annotator's rewrite
    with page.expect_navigation():
        page.keyboard.press("a")
    expect(page.get_by_role("status").first).to_contain_text(f"{name}: approved")
    pair.refresh_from_db()
    second = pair.item.annotations.order_by("pk")[1]
    assert (pair.status, pair.rewrite, pair.chosen) == (PairStatus.APPROVED, second.rewrite, second)
    return pair


def agreed(key: str) -> set[int]:
    """Texts whose people all chose the same level and left no comment."""
    spoken_of = set(Annotation.objects.exclude(comment="").values_list("item_id", flat=True))
    return {item for item, labels in labels_by_text(key).items() if len(set(labels)) == 1} - spoken_of


def approves_under_a_rule_and_takes_it_back(page, project: Project, settled: Pair) -> None:
    page.goto(f"/projects/{project.pk}/pairs/")
    page.get_by_role("link", name="Rules and votes").click()
    page.select_option("[name=rewrite]", "any")
    for key in KEYS:
        page.locator(f"[name=dimensions][value={key}]").set_checked(key == "bias")
    page.fill("[name=min_annotations]", str(OVERLAP))
    page.keyboard.press("Tab")
    expected = agreed("bias") - {settled.item_id}
    assert 0 < len(expected) < TEXTS - 1
    preview = page.locator("#preview")
    expect(preview).to_contain_text(f"Would approve {len(expected)} of {TEXTS - 1}")
    expect(preview).to_contain_text("all of them agree on Bias")
    with page.expect_navigation():
        page.get_by_role("button", name=f"Approve {len(expected)} pairs").click()
    expect(page.locator("main")).to_contain_text(f"{len(expected)} pairs approved.", timeout=60_000)
    batch = Batch.objects.get()
    approved = set(Pair.objects.filter(status=PairStatus.APPROVED, batch=batch).values_list("item_id", flat=True))
    assert approved == expected
    with page.expect_navigation():
        page.get_by_role("button", name="Undo the batch").click()
    expect(page.locator("main")).to_contain_text(f"{len(expected)} pairs brought back.", timeout=60_000)
    assert list(Pair.objects.filter(status=PairStatus.APPROVED)) == [settled]
    assert Pair.objects.filter(status=PairStatus.PROPOSED).count() == TEXTS - 1


def exported(page, project: Project, kind: str, file_format: str) -> bytes:
    page.goto(f"/projects/{project.pk}/exports/")
    page.select_option("[name=kind]", kind)
    page.select_option("[name=file_format]", file_format)
    page.click("button.primary")
    page.wait_for_url("**/exports/*/")
    finished(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    return Path(download.value.path()).read_bytes()


def reads_the_wide_file(content: bytes) -> None:
    rows = {row["external_id"]: row for row in csv.DictReader(io.StringIO(content.decode("utf-8-sig")))}
    assert len(rows) == TEXTS
    assert {row["annotations"] for row in rows.values()} == {str(OVERLAP)}
    made = Annotation.objects.select_related("item", "annotator")
    for one in made:
        row, name = rows[one.item.external_id], one.annotator.username
        assert {key: row[f"{key}__{name}"] for key in KEYS} == one.labels
        # A cell that a spreadsheet would run begins with an apostrophe.
        assert row[f"rewrite__{name}"].removeprefix("'") == one.rewrite.removeprefix("'")
        assert row["text"].removeprefix("'") == one.item.text.removeprefix("'")
    filled = sum(row[f"bias__{name}"] != "" for row in rows.values() for name in team.NAMES)
    assert filled == made.count() == TEXTS * OVERLAP


def reads_the_dataset(content: bytes, settled: Pair) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    tables = {
        name: pq.read_table(io.BytesIO(files[f"data/{name}/train.parquet"])).to_pylist()
        for name in ("adjudicated", "annotations", "pairs")
    }
    assert {name: len(rows) for name, rows in tables.items()} == {
        "adjudicated": TEXTS,
        "annotations": TEXTS * OVERLAP,
        "pairs": 1,
    }
    [pair] = tables["pairs"]
    assert (pair["text"], pair["safe_rewrite"]) == (settled.item.text, settled.rewrite)
    people = {row["annotator"] for row in tables["annotations"]}
    assert people == {f"annotator_{number}" for number in range(1, 8)}, "names are hidden"
    written = Counter((row["external_id"], row["rewrite"], row["bias"]) for row in tables["annotations"])
    assert written == Counter(
        (item, rewrite, labels["bias"])
        for item, rewrite, labels in Annotation.objects.values_list("item__external_id", "rewrite", "labels")
    )
    card = files["README.md"].decode()
    assert f"{TEXTS * OVERLAP} annotations of {TEXTS} texts by 7 annotators" in card
    assert "| Bias | Krippendorff’s α | " in card


def test_a_lead_imports_reads_agreement_settles_and_exports_real_texts(project, lead, new_page, worker):
    worker("default")
    page = new_page(lead, viewport={"width": 1280, "height": 900})
    page.on("dialog", lambda dialog: dialog.accept())
    imports_the_texts(page, project)

    people = team.annotators(project)
    assert team.annotate_everything(project, people, team.real_rows(TEXTS)) == TEXTS * OVERLAP

    reads_agreement(page, project)
    compares_two_annotators(page)
    settled = settles_the_most_contested(page, project)
    approves_under_a_rule_and_takes_it_back(page, project, settled)
    reads_the_wide_file(exported(page, project, "annotations_wide", "csv"))
    reads_the_dataset(exported(page, project, "dataset", "zip"), settled)
