"""What starting a study makes: which texts, which pages for whom, in which order, and what is written down."""

import json
from collections import Counter

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from annotation.models import Item, Pair, PairStatus
from evaluation import protocol, protocol_text, reviewing, starting, studies
from evaluation.models import (
    Layout,
    Output,
    Protocol,
    ReviewTask,
    Slot,
    SlotOutput,
    Study,
    StudyItem,
    StudyMembership,
    System,
    SystemKind,
    TaskKind,
)
from tests.evaluation.factories import (
    OutputFactory,
    SystemFactory,
    answers,
    make_study,
    rate_everything,
    running_study,
    start,
)
from tests.factories import ItemFactory, ProjectFactory, UserFactory
from tests.training.factories import make_dataset

pytestmark = pytest.mark.django_db


def seen(study, kind=TaskKind.RATING):
    """(reviewer, item, system) of every output on pages of a kind."""
    rows = SlotOutput.objects.filter(slot__task__study=study, slot__task__kind=kind)
    return list(rows.values_list("slot__task__reviewer", "output__item", "output__system"))


@pytest.mark.parametrize(
    ("layout", "systems", "per_page", "ratings", "reviewers"),
    [
        (Layout.RATE, 3, 1, 2, 4),
        (Layout.SIDE_BY_SIDE, 4, 2, 2, 4),
        (Layout.PAIRWISE, 3, 2, 2, 3),
        (Layout.BEST_WORST, 6, 3, 2, 4),
    ],
)
def test_each_output_is_seen_as_often_as_planned_and_by_nobody_twice(layout, systems, per_page, ratings, reviewers):
    study = running_study(
        items=12, systems=systems, reviewers=reviewers, layout=layout, per_page=per_page, ratings_per_output=ratings
    )
    rows = seen(study)
    assert len(set(rows)) == len(rows) == 12 * systems * ratings
    assert set(Counter((item, system) for _, item, system in rows).values()) == {ratings}
    by_reviewer = Counter((reviewer, system) for reviewer, _, system in rows)
    assert max(by_reviewer.values()) - min(by_reviewer.values()) <= 1
    for task in study.tasks.all():
        assert task.slots.count() == per_page


def test_the_untouched_original_and_the_approved_rewrite_can_be_hidden_among_the_systems():
    study = make_study(items=4, systems=2, controls=["original", "rewrite"])
    study.refresh_from_db()
    assert sorted(study.systems.values_list("kind", flat=True)) == ["original", "rewrite", "upload", "upload"]
    ready = starting.readiness(study)
    assert (ready.complete, ready.incomplete) == (0, 4)
    assert any("4 texts without an approved rewrite" in problem for problem in ready.problems)
    for item in study.project.items.all():
        Pair.objects.create(project=study.project, item=item, rewrite=f"Kinder: {item.pk}", status=PairStatus.APPROVED)
    study = start(study)
    for task in study.tasks.all():
        texts = {slot.outputs.get().system.kind: slot.text for slot in task.slots.all() if slot.outputs.count() == 1}
        assert texts[SystemKind.ORIGINAL] == task.item.text.strip()
        assert texts[SystemKind.REWRITE] == f"Kinder: {task.item_id}"


def test_a_hidden_system_serves_every_study_of_the_project_and_shows_the_newest_approved_rewrite():
    first = make_study(items=2, systems=1, controls=["rewrite"], reference=None)
    for item in first.project.items.all():
        Pair.objects.create(project=first.project, item=item, rewrite="As it was.", status=PairStatus.APPROVED)
    second = studies.create(
        first.project, first.created_by, systems=[first.systems.get(kind="upload")], controls=["rewrite"], name="Again"
    )
    StudyMembership.objects.create(study=second, user=UserFactory())
    assert System.objects.filter(project=first.project, kind=SystemKind.REWRITE).count() == 1
    assert first.reference == second.reference == System.objects.get(kind=SystemKind.REWRITE)
    start(first)
    Pair.objects.update(rewrite="As it is now.")
    start(second)
    # What a study has shown stays as it was shown.
    assert set(Output.objects.filter(system=first.reference).values_list("text", flat=True)) == {"As it was."}


def test_outputs_that_read_the_same_are_one_slot_and_count_for_each_system():
    study = make_study(items=2, systems=3)
    first, second, third = study.systems.order_by("pk")
    item = study.project.items.first()
    Output.objects.filter(system=first, item=item).update(text="The very same.")
    Output.objects.filter(system=second, item=item).update(text="\n The very same.  ")
    study = start(study)
    task = study.tasks.get(item=item)
    assert sorted(slot.outputs.count() for slot in task.slots.all()) == [1, 2]
    assert [slot.position for slot in task.slots.all()] == [1, 2]
    shared = next(slot for slot in task.slots.all() if slot.outputs.count() == 2)
    assert {output.system for output in shared.outputs.all()} == {first, second}
    reviewing.submit(task.reviewer, task.token, answers(task, 4))
    assert {rating.value for rating in shared.ratings.all()} == {4}
    assert third in {output.system for slot in task.slots.all() for output in slot.outputs.all()}


def test_outputs_are_shown_in_the_form_that_the_protocol_names():
    study = make_study(items=2, systems=2, normalisation=["preambles", "quotes"])
    item = study.project.items.first()
    first, second = Output.objects.filter(item=item).order_by("pk")
    Output.objects.filter(pk=first.pk).update(text='Sure, here is the rewritten text:\n\n"They work less."')
    Output.objects.filter(pk=second.pk).update(text="They  work less.\u200b")
    study = start(study)
    slot = study.tasks.get(item=item).slots.get()
    assert slot.text in ("They work less.", "They  work less.") and slot.outputs.count() == 2
    words = " ".join(json.loads(study.protocol.text)["shown_as"])
    assert "An announcement before the text" in words and "quotation marks" in words


def test_a_pairwise_page_of_like_outputs_is_a_tie_that_nobody_is_shown():
    study = make_study(items=3, systems=2, layout=Layout.PAIRWISE)
    item = study.project.items.first()
    Output.objects.filter(item=item).update(text="Alike.")
    study = start(study)
    task = study.tasks.get(item=item)
    assert task.kind == TaskKind.SAME and task.tie and task.done_at
    counts = reviewing.counts_of(task.reviewer, study)
    assert (counts["total"], counts["done"]) == (2, 0)
    assert [row.position for row in ReviewTask.objects.of(task.reviewer)] == [1, 2]
    with pytest.raises(ReviewTask.DoesNotExist):
        reviewing.submit(task.reviewer, task.token, answers(task))


def test_practice_checks_and_repeats_come_in_among_the_pages():
    study = make_study(items=25, systems=2, reviewers=2, number_of_items=15, practice=2, checks=3, repeats=2, guesses=3)
    study = start(study)
    drawn = set(StudyItem.objects.filter(study=study, spare=False).values_list("item", flat=True))
    spare = set(StudyItem.objects.filter(study=study, spare=True).values_list("item", flat=True))
    assert (len(drawn), len(spare)) == (15, 5) and not drawn & spare
    for member in study.reviewers.all():
        tasks = list(ReviewTask.objects.of(member.user).order_by("position"))
        assert Counter(task.kind for task in tasks) == {"practice": 2, "rating": 15, "check": 3, "repeat": 2}
        assert [task.position for task in tasks] == list(range(1, 23))
        assert [task.kind for task in tasks[:2]] == ["practice", "practice"]
        assert tasks[-1].kind != "check"
        assert sum(task.guess_wanted for task in tasks) == 3
        for task in tasks:
            assert task.item_id in (drawn if task.kind in ("rating", "repeat") else spare)
            if task.kind == "repeat":
                again, before = task.slots.all(), task.repeats.slots.all()
                assert [slot.text for slot in again] == [slot.text for slot in before][::-1]
                assert task.position - task.repeats.position >= 10
                assert not {slot.pk for slot in again} & {slot.pk for slot in before}
    practised = [[slot.text for slot in task.slots.all()] for task in study.tasks.filter(kind="practice")]
    assert sorted(practised[:2]) == sorted(practised[2:])  # the same for everybody


@pytest.mark.parametrize("layout", [Layout.RATE, Layout.SIDE_BY_SIDE, Layout.PAIRWISE, Layout.BEST_WORST])
def test_an_attention_check_says_in_one_output_what_to_choose_and_knows_the_answer(layout):
    systems = 2 if layout == Layout.PAIRWISE else 3
    study = running_study(items=12, systems=systems, reviewers=1, number_of_items=10, checks=2, layout=layout)
    for task in study.tasks.filter(kind="check"):
        told = task.slots.get(outputs=None)
        assert task.expected["slot"] == str(told.pk)
        assert told.text.startswith("This is a check")
        if study.asks_criteria:
            assert f"level {task.expected['level']} " in told.text
        else:
            assert task.expected["preferred"] is True
        others = task.slots.exclude(pk=told.pk)
        assert others.count() == studies.per_page(study, systems) - 1


def test_an_attention_check_leaves_something_to_choose_where_all_outputs_read_alike():
    study = make_study(items=12, systems=2, number_of_items=10, checks=2, layout=Layout.PAIRWISE)
    Output.objects.update(text="Alike.")
    study = start(study)
    for task in study.tasks.filter(kind="check"):
        assert task.slots.count() == 2
        told = task.expected["slot"]
        reviewing.submit(task.reviewer, task.token, {"preferred": told})


def test_too_few_spare_texts_for_practice_and_checks_are_said_before_the_start():
    study = make_study(items=4, practice=3, checks=2)
    with pytest.raises(ValidationError) as error:
        start(study)
    assert "need 5 texts outside the study" in " ".join(error.value.messages)
    assert not ReviewTask.objects.exists()


def test_sizes_that_do_not_come_out_even_are_explained_with_those_that_do():
    study = make_study(items=6, systems=4, reviewers=2, layout=Layout.SIDE_BY_SIDE, per_page=3, ratings_per_output=2)
    ready = starting.readiness(study)
    assert "do not fill whole pages of 3" in ready.problems[0]
    assert (4, 2) in {(option.per_page, option.ratings_per_output) for option in ready.options}


def test_texts_are_drawn_by_strata():
    study = make_study(items=0, systems=2, reviewers=1)
    for group, number in (("women", 20), ("", 60), ("migrants", 20)):
        for item in ItemFactory.create_batch(number, project=study.project, target_group=group):
            for system in study.systems.all():
                OutputFactory(system=system, item=item)
    study = studies.change(study, number_of_items=10, strata="target_group")
    assert {row["stratum"]: row["n"] for row in starting.strata_of(study).largest} == {
        "women": 20,
        "": 60,
        "migrants": 20,
    }
    study = start(study)
    assert Counter(study.drawn.values_list("stratum", flat=True)) == {"women": 2, "": 6, "migrants": 2}


def test_texts_come_from_one_part_of_a_dataset_only():
    dataset = make_dataset()
    project = dataset.project
    systems = SystemFactory.create_batch(2, project=project)
    for item in Item.objects.filter(project=project):
        for system in systems:
            OutputFactory(system=system, item=item)
    study = studies.create(
        project, project.created_by, systems=systems, reference=systems[0], name="x", dataset=dataset, part="test"
    )
    StudyMembership.objects.create(study=study, user=UserFactory())
    study = start(study)
    wanted = set(dataset.rows.filter(split="test").values_list("item", flat=True))
    assert wanted and set(study.tasks.values_list("item", flat=True)) == wanted


def test_another_dataset_than_the_projects_is_refused():
    with pytest.raises(ValidationError, match="dataset of this project"):
        make_study(dataset=make_dataset())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"layout": "pairwise", "per_page": 3}, "shows 2 outputs"),
        ({"layout": "rate", "per_page": 2}, "shows 1 output,"),
        ({"layout": "side_by_side", "per_page": 4}, "the study has 2 systems"),
        ({"layout": "best_worst"}, "3 to 4 outputs"),
        ({"layout": "grid"}, "A layout is one of"),
    ],
)
def test_a_layout_that_cannot_hold_the_systems_is_refused(values, words):
    with pytest.raises(ValidationError, match=words):
        make_study(systems=2, **values)


def test_starting_writes_what_was_planned_and_nobody_changes_it():
    study = running_study(items=5, systems=2, reviewers=2, hypotheses="The tuned one is fairer.")
    written = study.protocol
    content = json.loads(written.text)
    assert content["hypotheses"] == "The tuned one is fairer."
    assert content["sizes"]["texts"] == 5 and len(content["items"]) == 5
    assert {row["criterion"]: row["hypothesis"] for row in content["planned_tests"]} == {
        "bias_gone": "superiority",
        "meaning_kept": "noninferiority",
    }
    assert protocol.is_intact(study)
    with pytest.raises(IntegrityError), transaction.atomic():
        Protocol.objects.filter(pk=written.pk).update(text="{}")
    with pytest.raises(IntegrityError), transaction.atomic():
        protocol.change(study, study.created_by, "Clearer words.", instructions="Read twice.")
        study.amendments.update(reason="Another.")


def test_later_changes_are_amendments_in_a_chain():
    study = running_study(items=2, reviewers=2)
    lead = study.created_by
    first = protocol.change(study, lead, "A word was unclear.", instructions="Read twice.")
    rate_everything(study)
    second = protocol.change(study, lead, "Faster than reading.", min_seconds=5)
    assert (first.number, second.number) == (1, 2)
    assert first.changes == {"instructions": ["", "Read twice."]}
    assert (first.tasks_done, second.tasks_done) == (0, 4) and second.blind
    studies.close(study, lead)
    study.refresh_from_db()
    note = protocol.change(study, lead, "Two reviewers knew each other.")
    assert note.number == 3 and not note.blind and note.changes == {}
    assert protocol.is_intact(study)
    with pytest.raises(ValidationError, match="nothing of it changes"):
        protocol.change(study, lead, "Too late.", min_seconds=9)


@pytest.mark.parametrize(
    ("reason", "values", "words"),
    [
        ("", {"min_seconds": 5}, "Say why"),
        ("So.", {"seed": 8}, "fixed when the study started"),
        ("So.", {"min_seconds": 0}, "Nothing would change"),
        ("So.", {"min_seconds": 900}, "less than or equal to 600"),
        ("x" * 2001, {"min_seconds": 5}, "2,001"),
    ],
)
def test_an_amendment_without_sense_changes_nothing(reason, values, words):
    study = running_study()
    with pytest.raises(ValidationError, match=words):
        protocol.change(study, study.created_by, reason, **values)
    study.refresh_from_db()
    assert study.min_seconds == 0 and not study.amendments.exists()


def test_closing_early_is_an_amendment_and_seals_the_answers():
    study = running_study(items=3)
    task = study.tasks.first()
    reviewing.submit(task.reviewer, task.token, answers(task, 4))
    study = studies.close(study, study.created_by, "No more time.")
    assert study.amendments.get().reason == "Closed with 1 of 3 pages finished. No more time."
    assert study.unblinded_by == study.created_by and study.unblinded_at
    assert study.ratings_hash == studies.hash_of_answers(study)
    Slot.objects.first().ratings.update(value=1)
    assert study.ratings_hash != studies.hash_of_answers(study)


def test_a_reviewer_taken_off_opens_nothing_more_and_stays_blind():
    study = running_study(items=2, reviewers=2)
    member = study.reviewers.first()
    task = study.tasks.filter(reviewer=member.user).first()
    reviewing.submit(task.reviewer, task.token, answers(task))
    studies.revoke(study, member, study.created_by, "Knew the systems.")
    with pytest.raises(reviewing.TakenOff):
        reviewing.submit(task.reviewer, task.token, answers(task))
    assert not list(studies.reviewed_by(member.user)) and studies.is_blind(member.user, study)
    assert task.slots.first().ratings.exists()
    assert study.amendments.get().reason == "Knew the systems."
    with pytest.raises(ValidationError, match="already"):
        studies.revoke(study, member, study.created_by, "Again.")


def test_criteria_of_ones_own_replace_the_usual_ones():
    project = ProjectFactory()
    systems = SystemFactory.create_batch(2, project=project)
    study = studies.create(
        project,
        project.created_by,
        systems=systems,
        reference=systems[0],
        name="x",
        criteria=[
            {"name": "Faithful", "question": "Is it faithful?", "anchors": ["no", " yes "], "hypothesis": "difference"}
        ],
    )
    made = study.criteria.get()
    assert (made.key, made.levels, made.high) == ("faithful", 2, "yes")
    wrong = [
        ({"anchors": ["one"]}, "Faithful, anchors: Give 2 to 7 levels; there are 1"),
        ({"hypothesis": "noninferiority"}, "Faithful, margin: Give a margin"),
        ({"hypothesis": "noninferiority", "margin": 1.0}, "Faithful, margin: Give a margin"),
    ]
    for values, words in wrong:
        with pytest.raises(ValidationError) as error:
            studies.change(study, criteria=[{"name": "Faithful", "question": "?", "anchors": ["no", "yes"]} | values])
        assert words in str(error.value)
    assert study.criteria.get() == made


# Two studies with one seed


def placed(study):
    """Of each page, by reviewer and text: its place in the order, and which system stands where on it."""
    rows = Slot.objects.filter(task__study=study).order_by("task__reviewer_id", "task__item_id", "position")
    return list(
        rows.values_list("task__reviewer_id", "task__item_id", "task__position", "position", "outputs__system_id")
    )


def twin(study, **values):
    """A study of the same systems, texts and reviewers with the same seed."""
    made = studies.create(
        study.project,
        study.created_by,
        systems=study.systems.all(),
        reference=study.reference,
        name="Twin",
        seed=study.seed,
        **values,
    )
    for person in study.reviewers.all():
        StudyMembership.objects.create(study=made, user=person.user)
    return made


def test_the_same_seed_and_the_same_plan_give_the_same_study():
    study = running_study(items=6, systems=3, reviewers=2)
    assert placed(start(twin(study))) == placed(study)


def test_one_study_does_not_tell_the_places_of_another_with_the_same_seed():
    study = running_study(items=6, systems=3, reviewers=2, number_of_items=5)
    items = study.drawn.values_list("item__external_id", flat=True)
    again = twin(study, chosen_ids="\n".join(items))
    StudyMembership.objects.create(study=again, user=UserFactory())
    other = placed(start(again))
    people = {row[0] for row in placed(study)}
    assert [row for row in other if row[0] in people] != placed(study)
    same_sizes = running_study(items=6, systems=3, reviewers=2, number_of_items=5)

    def places(of):  # with systems, reviewers and texts by their rank alone
        columns = list(zip(*placed(of), strict=True))
        return [tuple(sorted(set(column)).index(value) for value in column) for column in columns]

    assert places(same_sizes) != places(study)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"per_page": 4}, "A page of this layout shows 2 to 4 outputs, and the study has 2 systems."),
        ({"layout": "grid"}, "A layout is one of"),
        ({"normalisation": {"quotes": True}}, "Give a list of any of"),
        ({"normalisation": ["shouting"]}, "Give a list of any of"),
    ],
)
def test_a_design_that_was_broken_by_hand_is_named_before_the_start(values, words):
    study = make_study()
    Study.objects.filter(pk=study.pk).update(**values)
    study.refresh_from_db()
    assert any(words in problem for problem in starting.readiness(study).problems)
    with pytest.raises(ValidationError, match=words):
        start(study)


def test_a_draft_names_the_largest_kinds_of_text_and_counts_the_others(monkeypatch, client):
    monkeypatch.setattr(starting, "MAX_STRATA", 2)
    study = make_study(items=0, lead=UserFactory())
    for group, number in (("women", 3), ("migrants", 2), ("roma", 1), ("", 1)):
        for item in ItemFactory.create_batch(number, project=study.project, target_group=group):
            for system in study.systems.all():
                OutputFactory(system=system, item=item)
    study = studies.change(study, strata="target_group")
    kinds = starting.strata_of(study)
    assert kinds.largest == [{"stratum": "women", "n": 3}, {"stratum": "migrants", "n": 2}]
    assert (kinds.total, kinds.more) == (4, 2)
    client.force_login(study.created_by)
    page = client.get(study.get_absolute_url()).content.decode()
    assert "4 kinds of text" in page and "and 2 smaller ones" in page and "roma" not in page


def test_an_older_hidden_rewrite_is_warned_of_and_noted_in_the_protocol():
    first = make_study(items=2, systems=1, controls=["rewrite"], reference=None)
    for item in first.project.items.all():
        Pair.objects.create(project=first.project, item=item, rewrite="As it was.", status=PairStatus.APPROVED)
    second = studies.create(
        first.project, first.created_by, systems=[first.systems.get(kind="upload")], controls=["rewrite"], name="Again"
    )
    StudyMembership.objects.create(study=second, user=UserFactory())
    start(first)
    assert json.loads(first.protocol.text)["control_notes"] == []
    changed = Pair.objects.first()
    Pair.objects.filter(pk=changed.pk).update(rewrite="As it is now.")
    words = "Approved rewrite shows an older rewrite for 1 text"
    assert any(warning.startswith(words) for warning in starting.readiness(second).warnings)
    start(second)
    content = json.loads(second.protocol.text)
    assert content["control_notes"][0].startswith(words)
    assert words in protocol_text.markdown(second)
    blind = protocol_text.content_of(second.protocol, blind=True)
    assert words not in str(blind) and "rewrite" not in str(protocol_text.sections(blind)[1])


def test_a_hidden_rewrite_is_never_one_that_is_not_approved():
    study = make_study(items=2, systems=1, controls=["rewrite"], reference=None)
    items = list(study.project.items.all())
    for item, status in zip(items, (PairStatus.APPROVED, PairStatus.PROPOSED), strict=True):
        Pair.objects.create(project=study.project, item=item, rewrite="A rewrite.", status=status)
    with pytest.raises(ValidationError, match="lost its approval"):
        starting._write_controls(study, list(study.systems.all()), [item.pk for item in items])
    assert list(Output.objects.filter(system=study.reference).values_list("item", flat=True)) == [items[0].pk]
