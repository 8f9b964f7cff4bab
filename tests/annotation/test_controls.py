"""Hidden gold and repeated texts: where they come, to whom, and that nothing tells them from the work."""

import json
import re
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from annotation import controls, exports, gold, jobs, mine, pairs, practice, projects, quality, work
from annotation.models import (
    Annotation,
    Assignment,
    Control,
    ControlPlan,
    Export,
    Item,
    ItemKind,
    Pair,
    Project,
    Role,
)
from tests.annotation.test_handout_concurrency import in_threads
from tests.factories import ItemFactory, MembershipFactory, ProjectFactory, UserFactory

pytestmark = pytest.mark.django_db

LABELS = {"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"}
KNOWN = {"bias": ["high"], "toxicity": ["mild", "severe"], "sentiment": ["neutral"]}


@pytest.fixture
def lead():
    return UserFactory(username="the-lead")


@pytest.fixture
def project(lead):
    return ProjectFactory(lead=lead, overlap=2)


@pytest.fixture
def annotator(project):
    return MembershipFactory(project=project, role=Role.ANNOTATOR).user


def make_gold(project, lead, number=1, **values):
    return [
        gold.create(project, lead, kind="gold", text=f"A gold text, number {n}.", labels=values.get("labels", KNOWN))
        for n in range(number)
    ]


def finish(user, project, labels=LABELS):
    """Do the next text; its kind, or None when nothing is left."""
    assignment = work.next_assignment(user, project)
    if assignment is None:
        return None
    work.submit(user, assignment.pk, {"labels": labels, "rewrite": "Kinder."})
    return Item.objects.get(pk=assignment.item_id).kind


def test_a_project_that_hides_nothing_gets_no_plan_and_no_more_queries(project, lead, annotator):
    ItemFactory.create_batch(3, project=project)
    make_gold(project, lead, 2)
    assert {finish(annotator, project) for _ in range(4)} == {"work", None}
    assert not ControlPlan.objects.exists() and not Control.objects.exists()


def test_one_in_four_texts_is_gold_at_places_that_the_seed_repeats(project, lead, annotator):
    ItemFactory.create_batch(40, project=project)
    make_gold(project, lead, 12)
    gold.change_settings(project, lead, gold_every=4, seed=7)
    kinds = [finish(annotator, project) for _ in range(40)]
    for begin in range(0, 40, 4):  # every block of four holds one, at a drawn place
        assert kinds[begin : begin + 4].count("gold") == 1
    places = [place + 1 for place, kind in enumerate(kinds) if kind == "gold"]
    assert len({(place - 1) % 4 for place in places}) > 1, "not always the same place of a block"
    recorded = Control.objects.filter(annotator=annotator).order_by("place")
    assert [(one.place, one.kind, one.seed) for one in recorded] == [(place, "gold", 7) for place in places]
    items = list(recorded.values_list("item", flat=True))

    # The same seed draws the same places and texts for the same person.
    Assignment.objects.all().delete()
    Control.objects.all().delete()
    ControlPlan.objects.all().delete()
    for _ in range(40):
        finish(annotator, project)
    again = Control.objects.filter(annotator=annotator).order_by("place")
    assert list(again.values_list("place", "item")) == list(zip(places, items, strict=True))


def test_nobody_gets_the_same_gold_twice_and_two_people_get_it_at_other_places(project, lead, annotator):
    other = MembershipFactory(project=project, role=Role.ANNOTATOR).user
    ItemFactory.create_batch(60, project=project)
    make_gold(project, lead, 3)
    gold.change_settings(project, lead, gold_every=5, seed=3)
    for user in (annotator, other):
        kinds = [finish(user, project) for _ in range(40)]
        assert kinds.count("gold") == 3
        had = Annotation.objects.filter(annotator=user, kind="gold").values_list("item", flat=True)
        assert len(set(had)) == 3
    places = {
        user.pk: list(Control.objects.filter(annotator=user).order_by("place").values_list("place", flat=True))
        for user in (annotator, other)
    }
    assert places[annotator.pk] != places[other.pk]


def test_a_repeat_is_a_copy_of_ones_own_text_from_long_enough_ago_and_comes_once(project, lead, annotator):
    other = MembershipFactory(project=project, role=Role.ANNOTATOR).user
    ItemFactory.create_batch(60, project=project, language="en", source="forum", metadata={"page": 3})
    gold.change_settings(project, lead, repeat_every=3, repeat_after=5, seed=1)
    order = []
    for _ in range(45):
        assignment = work.next_assignment(annotator, project)
        order.append(assignment.item)
        work.submit(annotator, assignment.pk, {"labels": LABELS})
        finish(other, project)
    repeats = [(place, item) for place, item in enumerate(order) if item.kind == ItemKind.REPEAT]
    assert 10 <= len(repeats) <= 15
    for place, item in repeats:
        original = item.repeat_of
        assert original.kind == ItemKind.WORK and original in order
        assert place - order.index(original) - 1 >= 5
        assert (item.repeat_for, item.overlap) == (annotator, 1)
        for name in ("text", "language", "source", "metadata", "target_group", "content_kinds"):
            assert getattr(item, name) == getattr(original, name)
    assert len({item.repeat_of_id for _, item in repeats}) == len(repeats)
    assert not Assignment.objects.filter(item__repeat_for=annotator).exclude(annotator=annotator).exists()


def test_a_skipped_hidden_text_does_not_come_back(project, lead, annotator):
    ItemFactory.create_batch(4, project=project)
    make_gold(project, lead, 1)
    gold.change_settings(project, lead, gold_every=1)
    hidden = work.next_assignment(annotator, project)
    assert hidden.item.kind == ItemKind.GOLD
    work.skip(annotator, hidden.pk)
    assert [finish(annotator, project) for _ in range(5)] == ["work"] * 4 + [None]


def test_a_text_that_somebody_had_becomes_gold_only_as_a_copy_which_they_never_get(project, lead, annotator):
    other = MembershipFactory(project=project, role=Role.ANNOTATOR).user
    items = ItemFactory.create_batch(3, project=project, overlap=1)
    finish(annotator, project)
    made = gold.create(project, lead, kind="gold", item=items[0], labels=KNOWN)
    assert made.item != items[0] and made.copied_from == items[0]
    items[0].refresh_from_db()
    assert (items[0].kind, items[0].finished, items[0].pair.labels) == ("work", 1, LABELS)
    gold.change_settings(project, lead, gold_every=1)
    assert finish(other, project) == "gold"
    assert [finish(annotator, project) for _ in range(2)] == ["work", "work"]


@pytest.mark.parametrize("kind", ["gold", "practice"])
def test_who_had_the_copy_is_not_handed_the_text_it_was_copied_from(project, lead, annotator, kind):
    original = ItemFactory(project=project)
    early, late = (MembershipFactory(project=project, role=Role.ANNOTATOR).user for _ in range(2))
    finish(early, project)
    gold.create(project, lead, kind=kind, item=original, labels=KNOWN)
    if kind == "gold":
        gold.change_settings(project, lead, gold_every=1)
        assert finish(annotator, project) == "gold"
    else:
        practice.begin(annotator, project)
        practice.submit(annotator, practice.current(annotator, project).pk, {"labels": LABELS})
    assert finish(annotator, project) is None
    gold.change_settings(project, lead, gold_every=0)
    assert finish(late, project) == "work"


def test_a_lost_text_does_not_come_back_to_who_had_its_copy_since(project, lead, annotator):
    original = ItemFactory(project=project)
    held = work.next_assignment(annotator, project)
    Assignment.objects.filter(pk=held.pk).update(lease_until=timezone.now() - timedelta(hours=1))
    work.expire_leases()
    gold.create(project, lead, kind="practice", item=original, labels=KNOWN)
    practice.begin(annotator, project)
    assert work.next_assignment(annotator, project) is None
    with pytest.raises(ValidationError, match="was given to others"):
        mine.take_up(annotator, held.pk)
    with pytest.raises(work.NoLongerYours, match="was given to others"):
        work.submit(annotator, held.pk, {"labels": LABELS})


def test_an_untouched_text_becomes_gold_itself_and_returns_when_it_is_removed(project, lead, annotator):
    item = ItemFactory(project=project)
    made = gold.create(project, lead, kind="gold", item=item, labels=KNOWN)
    item.refresh_from_db()
    assert (made.item, item.kind, item.overlap) == (item, "gold", gold.EVERYBODY)
    assert work.next_assignment(annotator, project) is None
    assert projects.progress([project.pk]) == {}
    assert gold.remove(made, lead)
    item.refresh_from_db()
    assert (item.kind, item.overlap) == ("work", 2)
    assert finish(annotator, project) == "work"


def test_a_gold_text_with_answers_is_retired_and_its_figures_stay(project, lead, annotator):
    ItemFactory.create_batch(2, project=project)
    (made,) = make_gold(project, lead)
    gold.change_settings(project, lead, gold_every=1)
    assert finish(annotator, project) == "gold"
    assert gold.remove(made, lead) is False
    other = MembershipFactory(project=project, role=Role.ANNOTATOR).user
    assert finish(other, project) == "work"
    assert quality.per_annotator(project)[0]["overall"].n == 3
    gold.restore(made, lead)
    assert finish(other, project) == "gold"


def test_hidden_texts_give_no_pair_no_progress_and_no_count_of_levels(project, lead, annotator):
    project.overlap = 1
    project.save()
    ItemFactory.create_batch(12, project=project, overlap=1)
    make_gold(project, lead, 4)
    gold.change_settings(project, lead, gold_every=3, repeat_every=4, repeat_after=1)
    while finish(annotator, project):
        pass
    assert Annotation.objects.filter(kind="gold").exists() and Annotation.objects.filter(kind="repeat").exists()
    assert projects.progress([project.pk])[project.pk] == {
        "items": 12,
        "complete": 12,
        "finished_annotations": 12,
        "needed_annotations": 12,
    }
    assert Pair.objects.count() == 12 and not Pair.objects.exclude(item__kind="work").exists()
    with pytest.raises(ValidationError, match="give no pairs"):
        pairs.propose_early(Item.objects.filter(kind="gold").first())
    assert projects.level_counts(project)[0]["total"] == 12


def test_settings_that_make_no_sense_are_refused_by_field(project, lead):
    with pytest.raises(ValidationError) as refused:
        gold.change_settings(project, lead, pass_mark=0, gold_every=20_000)
    assert set(refused.value.message_dict) == {"pass_mark", "gold_every"}
    with pytest.raises(ValidationError) as refused:
        gold.change_settings(project, lead, practice=True)
    assert "no practice texts yet" in refused.value.message_dict["practice"][0]


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({}, "one dimension at least"),
        ({"bias": []}, "list of accepted levels"),
        ({"bias": "high"}, "list of accepted levels"),
        ({"bias": ["purple"]}, "no level of bias"),
        ({"colour": ["red"]}, "no dimension"),
        ({"bias": ["high", "high"]}, "twice"),
        ({"bias": ["none", "slight", "high"]}, "nobody could be wrong"),
        ("high", "map each dimension"),
    ],
)
def test_known_answers_that_break_a_rule_are_refused(project, lead, labels, reason):
    with pytest.raises(ValidationError, match=reason):
        gold.create(project, lead, kind="gold", text="A text.", labels=labels)
    assert not Item.objects.exists()


def test_a_level_that_a_known_answer_names_cannot_go(project, lead):
    make_gold(project, lead, labels={"bias": ["slight"]})
    wanted = [{"key": d.key, "name": d.name, "levels": d.levels} for d in project.dimensions.all()]
    wanted[0]["levels"] = ["none", "high"]
    with pytest.raises(ValidationError, match="1 known answer"):
        projects.change(project, dimensions=wanted)


# Nothing tells


def test_the_lead_is_warned_of_hidden_texts_that_lack_what_the_work_has(project, lead, client):
    client.force_login(lead)
    url = reverse("annotation:gold", args=[project.pk])
    ItemFactory.create_batch(2, project=project, language="en", source="forum", content_kinds=["slurs"])
    ItemFactory.create_batch(2, project=project, language="en", source="", content_kinds=[])
    first, _ = make_gold(project, lead, 2)
    gold.create(project, lead, kind="practice", text="A practice text.", labels=KNOWN)
    assert gold.standing_out(project) == {"language": 2}
    page = client.get(url).content.decode()
    assert "a language; 2 hidden texts have none" in page and page.count("no language") == 2
    gold.change(first, lead, language="en")
    assert "a language; 1 hidden text has none" in client.get(url).content.decode()
    ItemFactory(project=project, language="en", source="forum", content_kinds=["slurs"])
    assert gold.standing_out(project) == {"language": 1, "source": 2, "content_kinds": 2}
    Item.objects.filter(project=project, kind="gold").update(language="en", source="news", content_kinds=["slurs"])
    assert gold.standing_out(project) == {} and "could tell hidden gold" not in client.get(url).content.decode()


def normalised(text: str) -> str:
    """What an annotator fetched, without what differs from text to text anyway."""
    text = re.sub(r"csrfmiddlewaretoken\" value=\"\w+", "", text)
    text = re.sub(r"X-CSRFToken\": \"\w+", "", text)
    text = re.sub(r"\d+ finished today", "", text)
    text = re.sub(r"A (gold )?text, number \d+\.", "TEXT", text)
    text = re.sub(
        r"(January|February|March|April|May|June|July|August|September|October|November|December) \d+, [\d:]+", "", text
    )
    return re.sub(r"\d+", "0", text)


@pytest.fixture
def mixed(project, lead, annotator, client):
    """Finished texts of every kind, as one annotator's browser and script saw them: kind -> list of what was seen."""
    # A pause is offered after severe texts of any kind, which are at other places for every annotator.
    Project.objects.filter(pk=project.pk).update(pause_after=0)
    ItemFactory.create_batch(14, project=project, text="A text, number 1.", overlap=1)
    make_gold(project, lead, 5)
    gold.change_settings(project, lead, gold_every=3, repeat_every=4, repeat_after=2, seed=5)
    client.force_login(annotator)
    seen: dict[str, list[dict[str, str]]] = {}
    body = {"labels": LABELS, "rewrite": "Kinder."}
    form = {f"label-{key}": level for key, level in LABELS.items()} | {"rewrite": "Kinder."}
    for turn in range(20):
        shown = client.get(reverse("annotation:annotate", args=[project.pk])).content.decode()
        held = Assignment.objects.filter(annotator=annotator, state="held").first()
        if held is None:
            break
        fetched = {"page": shown}
        fetched["next"] = client.post(
            "/api/assignments/next/", {"project": project.pk}, content_type="application/json"
        ).content.decode()
        fetched["draft"] = client.put(
            f"/api/assignments/{held.pk}/draft/", body, content_type="application/json"
        ).content.decode()
        if turn % 2:
            fetched["submit"] = client.post(
                f"/api/assignments/{held.pk}/submit/", body, content_type="application/json"
            ).content.decode()
        else:
            client.post(reverse("annotation:submit", args=[held.pk]), form)
        done = Annotation.objects.get(assignment=held)
        fetched["assignment"] = client.get(f"/api/assignments/{held.pk}/").content.decode()
        fetched["own"] = client.get(f"/api/annotations/{done.pk}/").content.decode()
        fetched["back"] = client.get(reverse("annotation:revise", args=[done.pk])).content.decode()
        fetched["project"] = client.get(reverse("annotation:project", args=[project.pk])).content.decode()
        fetched["progress"] = client.get(f"/api/projects/{project.pk}/progress/").content.decode()
        fetched["refused"] = client.get(f"/api/items/{held.item_id}/").content.decode()
        seen.setdefault(Item.objects.get(pk=held.item_id).kind, []).append(fetched)
    return seen


def test_pages_and_api_are_the_same_for_work_gold_and_repeats(mixed):
    assert set(mixed) == {"work", "gold", "repeat"}
    for name in ("page", "next", "draft", "submit", "assignment", "own", "back", "project", "progress", "refused"):
        versions = {kind: {normalised(one[name]) for one in fetched if name in one} for kind, fetched in mixed.items()}
        assert versions["gold"] <= versions["work"], name
        assert versions["repeat"] <= versions["work"], name
        assert versions["gold"] and versions["repeat"]


def test_no_id_of_an_item_and_no_word_about_kinds_reaches_an_annotator(mixed, client, project, annotator):
    item_keys = set(Item.objects.values_list("external_id", flat=True))
    for fetched in mixed.values():
        for one in fetched:
            for name in ("page", "next", "draft", "assignment", "own", "back"):
                assert not any(key in one[name] for key in item_keys), name
                assert "repeat_of" not in one[name] and '"kind"' not in one[name], name
            for name in ("next", "draft", "assignment"):
                assert set(json.loads(one[name])["item"]) == {"text", "source", "language", "content_kinds"}
            assert "item" not in json.loads(one["own"])
    # Asking for one's annotations by an item's id would tell which item each is.
    item = Item.objects.filter(kind="gold", finished__gt=0).first()
    assert client.get("/api/annotations/", {"item": item.pk}).json()["results"] == []
    assert client.get("/api/annotations/", {"project": project.pk}).json()["results"]


def test_every_submit_moves_what_an_annotator_can_count_by_one(mixed, project):
    """Progress, the day's count and the list of one's own work grow by one each time, whatever the text was."""
    flat = [
        (json.loads(one["progress"])["finished_annotations"], kind, json.loads(one["progress"]))
        for kind, fetched in mixed.items()
        for one in fetched
    ]
    flat.sort(key=lambda row: row[0])
    finished = [number for number, *_ in flat]
    assert finished[:14] == list(range(1, 15))
    for _, _, progress in flat:
        assert progress["complete"] is None
        assert (progress["items"], progress["needed_annotations"]) == (14, 14)


def test_what_the_lead_settles_closes_hidden_texts_with_the_work_before_them(project, lead, annotator, client):
    ItemFactory.create_batch(6, project=project, overlap=1)
    make_gold(project, lead, 3)
    gold.change_settings(project, lead, gold_every=2, seed=1)
    while finish(annotator, project):
        pass
    mine = list(Annotation.objects.filter(annotator=annotator).order_by("pk"))
    hidden = next(one for one in mine[1:] if one.kind == "gold")
    assert not controls.settled(hidden)
    for pair in Pair.objects.all():
        pairs.approve(pair, lead, version=pair.version, rewrite="Kinder.", labels=LABELS)
    assert controls.settled(hidden)
    with pytest.raises(ValidationError, match="settled"):
        work.revise(annotator, hidden.pk, {"labels": LABELS, "rewrite": "New."}, 1)


def test_asking_again_and_again_for_nothing_does_not_move_the_places(project, lead, annotator):
    gold.change_settings(project, lead, gold_every=4)
    for _ in range(5):
        assert work.next_assignment(annotator, project) is None
    assert ControlPlan.objects.get().handed == 0


def test_changed_settings_draw_new_places_from_where_the_person_is(project, lead, annotator):
    ItemFactory.create_batch(30, project=project)
    make_gold(project, lead, 10)
    gold.change_settings(project, lead, gold_every=1000, seed=2)
    assert [finish(annotator, project) for _ in range(6)] == ["work"] * 6
    gold.change_settings(project, lead, gold_every=2)
    kinds = [finish(annotator, project) for _ in range(10)]
    assert 4 <= kinds.count("gold") <= 6


@pytest.mark.django_db(transaction=True)
def test_one_person_in_six_tabs_gets_one_hidden_text_and_one_repeat():
    lead = UserFactory()
    project = ProjectFactory(lead=lead, overlap=3)
    user = MembershipFactory(project=project, role=Role.ANNOTATOR).user
    ItemFactory.create_batch(12, project=project)
    make_gold(project, lead, 5)
    gold.change_settings(project, lead, gold_every=2, repeat_every=2, repeat_after=1)
    for _ in range(8):
        got = []
        in_threads(lambda _, got=got: got.append(work.next_assignment(user, project).pk), range(6))
        assert len(set(got)) == 1
        work.submit(user, got[0], {"labels": LABELS})
    assert Assignment.objects.count() == ControlPlan.objects.get().handed == 8
    assert Control.objects.count() == Item.objects.exclude(kind="work").filter(taken__gt=0).count()
    assert Item.objects.filter(kind="repeat").count() == Control.objects.filter(kind="repeat").count()


@pytest.mark.django_db(transaction=True)
def test_eight_people_at_once_get_gold_and_the_overlap_still_holds():
    lead = UserFactory()
    project = ProjectFactory(lead=lead, overlap=3)
    people = [MembershipFactory(project=project, role=Role.ANNOTATOR).user for _ in range(8)]
    ItemFactory.create_batch(30, project=project)
    made = make_gold(project, lead, 2)
    gold.change_settings(project, lead, gold_every=3, repeat_every=4, repeat_after=2)

    def until_nothing_is_left(user):
        while finish(user, project):
            pass

    in_threads(until_nothing_is_left, people)
    assert set(Item.objects.filter(kind="work").values_list("finished", flat=True)) == {3}
    for one in made:
        one.item.refresh_from_db()
        assert one.item.finished == one.item.taken == Annotation.objects.filter(item=one.item).count() <= 8
    twice = Annotation.objects.filter(kind="gold").values_list("item", "annotator")
    assert len(twice) == len(set(twice)) > 4


def test_handing_out_looks_at_no_more_rows_when_a_person_has_done_much(project, lead, annotator):
    """The plans of every query that handing out makes, with 30 and with 3,000 texts behind the person."""
    gold.change_settings(project, lead, gold_every=2, repeat_every=3, repeat_after=5)
    make_gold(project, lead, 3)

    def behind(number):
        items = ItemFactory.build_batch(number, project=project, overlap=1)
        items = Item.objects.bulk_create(items)
        now = timezone.now() - timedelta(days=1)
        held = Assignment.objects.bulk_create(
            Assignment(project=project, item=item, annotator=annotator, state="finished", lease_until=now)
            for item in items
        )
        Annotation.objects.bulk_create(
            Annotation(project=project, item=one.item, annotator=annotator, assignment=one, labels=LABELS)
            for one in held
        )
        ItemFactory.create_batch(5, project=project)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")

    def rows_read():
        with CaptureQueriesContext(connection) as queries:
            controls._repeatable_items(annotator, project, gold.settings_of(project)).count()
            list(controls._gold_items(annotator, project, gold.settings_of(project)).values_list("pk"))
        found = 0
        for query in queries.captured_queries:
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query['sql']}")
                found += total_rows(cursor.fetchone()[0][0]["Plan"])
        return found

    def total_rows(plan):
        own = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
        return own + sum(total_rows(part) for part in plan.get("Plans", []))

    behind(600)
    few = rows_read()
    behind(3_000)
    assert rows_read() <= few * 1.5 + 50


def test_annotators_api_and_pages_do_not_offer_a_filter_by_kind(project, lead, annotator):
    client = Client()
    client.force_login(annotator)
    ItemFactory(project=project)
    finish(annotator, project)
    everything = client.get("/api/annotations/").json()["results"]
    assert client.get("/api/annotations/", {"kind": "gold"}).json()["results"] == everything


def test_hidden_texts_are_left_out_of_the_export_of_annotations(project, lead, annotator, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    ItemFactory.create_batch(4, project=project)
    make_gold(project, lead, 2)
    gold.change_settings(project, lead, gold_every=2)
    while finish(annotator, project):
        pass
    export = exports.create(project, lead, kind="annotations", file_format="jsonl")
    jobs.execute(Export.objects, export.pk, exports.run)
    export.refresh_from_db()
    with export.file.open("rt") as file:
        texts = [json.loads(line)["text"] for line in file]
    assert Annotation.objects.count() == 6 and len(texts) == 4 and not any("gold" in text for text in texts)
