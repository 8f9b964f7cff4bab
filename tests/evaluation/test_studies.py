import threading
import uuid

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from evaluation import planning, review_drafts, reviewing, starting, studies
from evaluation.models import (
    Output,
    PowerAnalysis,
    Rating,
    Report,
    ReviewTask,
    Slot,
    Study,
    StudyMembership,
    StudyStatus,
    System,
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

pytestmark = pytest.mark.django_db


def messages(error):
    return " ".join(error.value.messages)


# Setting up


def test_a_new_study_asks_the_three_questions_in_order():
    study = make_study()
    assert [criterion.question for criterion in study.criteria.all()] == [
        "Is the bias gone?",
        "Is the meaning kept?",
        "Does it read well?",
    ]
    assert study.status == StudyStatus.DRAFT


@pytest.mark.parametrize("number", [0, 1, 13])
def test_a_study_compares_two_to_twelve_systems(number):
    project = ProjectFactory()
    systems = SystemFactory.create_batch(number, project=project)
    reference = systems[0] if systems else None
    with pytest.raises(ValidationError, match=f"you chose {number}"):
        studies.create(project, project.created_by, systems=systems, name="x", reference=reference)
    assert not Study.objects.exists()


def test_the_reference_is_one_of_the_systems():
    project = ProjectFactory()
    systems = SystemFactory.create_batch(2, project=project)
    with pytest.raises(ValidationError, match="reference must be one"):
        studies.create(project, project.created_by, systems=systems, name="x", reference=SystemFactory(project=project))


def test_systems_of_another_project_are_refused():
    project = ProjectFactory()
    systems = [SystemFactory(project=project), SystemFactory()]
    with pytest.raises(ValidationError, match="of this project"):
        studies.create(project, project.created_by, systems=systems, name="x", reference=systems[0])


def test_reviewers_are_invited_by_user_name_or_address_once():
    study = make_study(reviewers=0)
    ada, ben = UserFactory(username="ada"), UserFactory(email="Ben@example.org")
    studies.invite(study, study.created_by, " ada ")
    studies.invite(study, study.created_by, "ben@example.org")
    assert {member.user for member in study.reviewers.all()} == {ada, ben}
    with pytest.raises(ValidationError, match="already"):
        studies.invite(study, study.created_by, "ada")


# Starting


def test_starting_gives_every_reviewer_every_text_with_every_system_once():
    study = running_study(items=4, systems=3, reviewers=2)
    assert study.status == StudyStatus.RUNNING
    assert ReviewTask.objects.count() == 8
    for task in ReviewTask.objects.all():
        slots = list(task.slots.prefetch_related("outputs"))
        assert {slot.outputs.get().system_id for slot in slots} == set(study.systems.values_list("pk", flat=True))
        assert all(slot.outputs.get().item_id == task.item_id for slot in slots)
        assert [slot.position for slot in slots] == [1, 2, 3]
        assert all(slot.pk.version == 4 for slot in slots)
    for member in study.reviewers.all():
        positions = ReviewTask.objects.filter(reviewer=member.user).values_list("position", flat=True)
        assert sorted(positions) == [1, 2, 3, 4]


def test_every_system_comes_first_about_as_often():
    study = running_study(items=90, systems=3, reviewers=1)
    first = Slot.objects.filter(position=1)
    counts = [first.filter(outputs__system=system).count() for system in study.systems.all()]
    assert sum(counts) == 90
    assert all(15 <= count <= 45 for count in counts)  # 30 expected; beyond is under one in a thousand


def test_reviewers_see_the_texts_in_different_orders():
    study = running_study(items=20, reviewers=2)
    orders = [
        list(ReviewTask.objects.filter(reviewer=member.user).values_list("item_id", flat=True))
        for member in study.reviewers.all()
    ]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != sorted(orders[0])


def test_the_same_seed_draws_the_same_texts_and_orders():
    project = ProjectFactory()
    systems = SystemFactory.create_batch(2, project=project)
    for item in ItemFactory.create_batch(12, project=project):
        for system in systems:
            OutputFactory(system=system, item=item)
    seen, reviewer = [], UserFactory()
    for seed in (7, 7, 8):
        study = studies.create(
            project,
            project.created_by,
            systems=systems,
            name="x",
            reference=systems[0],
            seed=seed,
            number_of_items=5,
        )
        StudyMembership.objects.create(study=study, user=reviewer)
        start(study)
        rows = Slot.objects.filter(task__study=study).order_by("task__position", "position")
        seen.append(list(rows.values_list("task__item_id", "outputs__system_id")))
    assert seen[0] == seen[1] != seen[2]
    assert len(seen[0]) == 10


def test_slots_keep_the_text_without_white_space_around_it():
    study = make_study(items=1)
    Output.objects.update(text=" \n Here  it\tis.\n\n")
    start(study)
    assert set(Slot.objects.values_list("text", flat=True)) == {"Here  it\tis."}
    Output.objects.update(text="changed")
    assert set(Slot.objects.values_list("text", flat=True)) == {"Here  it\tis."}


def test_starting_says_which_system_lacks_how_many_outputs_and_where():
    study = make_study(items=8, number_of_items=8)
    system = study.systems.get(pk=study.reference_id)
    gone = list(Output.objects.filter(system=system).order_by("item__external_id")[:6])
    names = [output.item.external_id for output in gone]
    Output.objects.filter(pk__in=[output.pk for output in gone]).delete()
    with pytest.raises(ValidationError) as error:
        start(study)
    assert f"{system.name} lacks an output for 6 texts: {', '.join(names[:5])} and 1 more." in messages(error)
    assert not ReviewTask.objects.exists()
    study.refresh_from_db()
    assert study.is_draft


def test_an_empty_output_counts_as_missing():
    study = make_study(items=2, number_of_items=2)
    Output.objects.filter(pk=Output.objects.first().pk).update(text="")
    with pytest.raises(ValidationError, match="lacks an output for 1 text"):
        start(study)


def test_without_a_number_all_complete_texts_are_rated_and_the_others_counted():
    study = make_study(items=4)
    Output.objects.first().delete()
    ready = starting.readiness(study)
    assert (ready.complete, ready.incomplete, ready.problems) == (3, 1, [])
    assert ready.missing[0][1] == 1
    start(study)
    assert ReviewTask.objects.count() == 3


def test_chosen_texts_are_rated_and_no_others():
    study = make_study(items=4)
    chosen = list(study.project.items.values_list("external_id", flat=True)[:2])
    Study.objects.filter(pk=study.pk).update(chosen_ids=f"{chosen[0]}\r\n\n {chosen[1]} \n{chosen[0]}")
    study.refresh_from_db()
    start(study)
    assert set(ReviewTask.objects.values_list("item__external_id", flat=True)) == set(chosen)


def test_a_chosen_text_that_does_not_exist_is_named():
    study = make_study(chosen_ids="nonsense-1\nnonsense-2")
    with pytest.raises(ValidationError) as error:
        start(study)
    assert "2 chosen texts not in the project: nonsense-1, nonsense-2" in messages(error)


def test_a_chosen_text_without_an_output_stops_the_start():
    study = make_study(items=3)
    output = Output.objects.first()
    study.chosen_ids = "\n".join(study.project.items.values_list("external_id", flat=True))
    study.save()
    output.delete()
    with pytest.raises(ValidationError) as error:
        start(study)
    assert output.item.external_id in messages(error)


def test_a_study_needs_a_reviewer():
    with pytest.raises(ValidationError, match="Nobody reviews yet"):
        start(make_study(reviewers=0))


def test_systems_without_any_output_say_so():
    study = make_study(items=0)
    with pytest.raises(ValidationError, match="no outputs yet"):
        start(study)


def test_a_study_that_would_be_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(starting, "MAX_SLOTS", 5)
    with pytest.raises(ValidationError, match="6 outputs to rate"):
        start(make_study(items=3))


def test_nothing_changes_after_the_start():
    study = running_study()
    systems = list(study.systems.all())
    for change in (
        lambda: start(study),
        lambda: studies.invite(study, study.created_by, UserFactory().username),
        lambda: studies.remove_reviewer(study, study.reviewers.get()),
        lambda: studies.change(study, systems=systems, name="other"),
    ):
        with pytest.raises(ValidationError, match="has started"):
            change()


# Rating


def test_a_task_is_finished_with_every_answer_in_place():
    study = running_study()
    task = study.tasks.first()
    done = reviewing.submit(task.reviewer, task.token, answers(task, 4))
    assert done.done_at and done.tie and done.active_seconds == 12
    assert list(Rating.objects.values_list("value", flat=True)) == [4] * 6


def test_the_same_submit_arriving_twice_counts_once():
    study = running_study()
    task = study.tasks.first()
    first = reviewing.submit(task.reviewer, task.token, answers(task))
    second = reviewing.submit(task.reviewer, task.token, answers(task))
    assert Rating.objects.count() == 6
    assert second.done_at == first.done_at


def test_a_submit_names_every_answer_that_is_missing():
    task = running_study().tasks.first()
    content = answers(task)
    slots = list(task.slots.all())
    del content["ratings"][str(slots[0].pk)]["bias_gone"]
    del content["ratings"][str(slots[1].pk)]
    content["preferred"] = ""
    with pytest.raises(ValidationError) as error:
        reviewing.submit(task.reviewer, task.token, content)
    assert error.value.messages == [
        "Output A: Is the bias gone?",
        "Output B: Is the bias gone?",
        "Output B: Is the meaning kept?",
        "Output B: Does it read well?",
        "Overall, which is the better safe rewrite?",
    ]
    assert not Rating.objects.exists()


@pytest.mark.parametrize("value", [0, 6, -1, 2.5, "3", True, None, [3]])
def test_values_off_the_scale_are_refused(value):
    task = running_study().tasks.first()
    with pytest.raises(ValidationError, match="Choose 1 to 5"):
        reviewing.submit(task.reviewer, task.token, answers(task, value))
    assert not Rating.objects.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ratings": {"x": {"bias_gone": 3}}}, "not part of this task"),
        ({"ratings": []}, "Ratings must map"),
        ({"ratings": {"x": 3}}, "Ratings must map"),
        ({"preferred": str(uuid.uuid4())}, "not part of this task"),
        ({"preferred": ["x"]}, "not part of this task"),
        ({"comment": 7}, "must be text"),
        ({"comment": "x\x00"}, "null byte"),
        ({"comment": "x" * 5001}, "5,001"),
    ],
)
def test_drafts_and_submits_refuse_what_makes_no_sense(change, words):
    task = running_study().tasks.first()
    for save in (reviewing.save_draft, reviewing.submit):
        with pytest.raises(ValidationError, match=words):
            save(task.reviewer, task.token, answers(task) | change)


def test_a_slot_of_another_task_cannot_be_rated():
    study = running_study(items=2)
    task, other = study.tasks.all()
    content = answers(task)
    content["ratings"][str(other.slots.first().pk)] = {"bias_gone": 5}
    with pytest.raises(ValidationError, match="not part of this task"):
        reviewing.submit(task.reviewer, task.token, content)


def test_somebody_elses_task_does_not_exist():
    task = running_study().tasks.first()
    for save in (reviewing.save_draft, reviewing.submit):
        with pytest.raises(ReviewTask.DoesNotExist):
            save(UserFactory(), task.token, answers(task))


def test_a_draft_may_be_incomplete_and_comes_back():
    task = running_study().tasks.first()
    slot = str(task.slots.first().pk)
    reviewing.save_draft(task.reviewer, task.token, {"ratings": {slot: {"bias_gone": 2}}, "comment": "hm"})
    task.refresh_from_db()
    content = review_drafts.content_of(task)
    assert (content["ratings"], content["comment"]) == ({slot: {"bias_gone": 2}}, "hm")
    assert not Rating.objects.exists()


def test_a_finished_task_can_be_changed_until_closing():
    study = running_study()
    task = study.tasks.first()
    system = study.systems.first()
    reviewing.submit(task.reviewer, task.token, answers(task, 2))
    reviewing.submit(task.reviewer, task.token, answers(task, 5, preferred=system))
    task.refresh_from_db()
    assert task.preferred.outputs.get().system == system and not task.tie
    assert set(Rating.objects.values_list("value", flat=True)) == {5}
    assert review_drafts.content_of(task)["preferred"] == str(task.preferred_id)
    studies.close(study, study.created_by)
    for save in (reviewing.save_draft, reviewing.submit):
        with pytest.raises(reviewing.StudyClosed):
            save(task.reviewer, task.token, answers(task, 1))
    assert set(Rating.objects.values_list("value", flat=True)) == {5}


def test_next_and_back_walk_this_reviewers_tasks():
    study = running_study(items=3, reviewers=2)
    person = study.reviewers.first().user
    first = reviewing.next_task(person, study)
    assert first.position == 1 and reviewing.task_before(person, study, 1) is None
    reviewing.submit(person, first.token, answers(first))
    second = reviewing.next_task(person, study)
    assert second.position == 2
    assert reviewing.task_before(person, study, 2) == first
    assert reviewing.task_before(person, study, None) == first
    assert reviewing.counts_of(person, study) == {"total": 3, "done": 1, "practice": 0, "practice_done": 0}
    rate_everything(study)
    assert reviewing.next_task(person, study) is None


def test_progress_counts_without_telling_answers():
    study = running_study(items=3, reviewers=2)
    task = study.tasks.first()
    reviewing.submit(task.reviewer, task.token, answers(task))
    rows = {row.user: row for row in studies.progress(study)}
    assert (rows[task.reviewer].done, rows[task.reviewer].total) == (1, 3)
    assert sum(row.done for row in rows.values()) == 1


# Closing


def test_closing_queues_the_report():
    study = running_study()
    closed = studies.close(study, study.created_by)
    assert closed.closed_by == study.created_by and closed.closed_at
    assert Report.objects.get().study == study
    with pytest.raises(ValidationError, match="Only a running study"):
        studies.close(study, study.created_by)


def test_there_is_no_report_before_closing():
    with pytest.raises(ValidationError, match="closed study"):
        studies.request_report(running_study(), UserFactory())


def test_systems_are_hidden_only_from_those_who_rate_them_now():
    study = running_study()
    person = study.reviewers.get().user
    other = SystemFactory(project=study.project)
    assert list(System.objects.all().shown_to(person)) == [other]
    assert System.objects.all().shown_to(UserFactory()).count() == 3
    assert studies.is_blind(person, study)
    studies.close(study, study.created_by)
    study.refresh_from_db()
    assert System.objects.all().shown_to(person).count() == 3
    assert not studies.is_blind(person, study)


# What the database enforces


def test_the_database_refuses_a_value_off_the_scale():
    study = running_study()
    slot, criterion = Slot.objects.first(), study.criteria.first()
    for value in (0, 8):
        with pytest.raises(IntegrityError), transaction.atomic():
            Rating.objects.create(slot=slot, criterion=criterion, value=value)
    Rating.objects.create(slot=slot, criterion=criterion, value=5)
    with pytest.raises(IntegrityError), transaction.atomic():
        Rating.objects.create(slot=slot, criterion=criterion, value=5)


def test_the_database_refuses_a_finished_task_without_a_preference():
    task = running_study().tasks.first()
    task.tie = True
    with pytest.raises(IntegrityError), transaction.atomic():
        task.save()


@pytest.mark.django_db(transaction=True)
def test_closing_and_submitting_at_once_never_lose_an_accepted_rating():
    study = running_study(items=10)
    tasks = list(study.tasks.select_related("reviewer", "study"))
    accepted, refused, barrier = [], [], threading.Barrier(len(tasks) + 1)

    def send(task):
        content = answers(task)
        barrier.wait()
        try:
            reviewing.submit(task.reviewer, task.token, content)
            accepted.append(task)
        except reviewing.StudyClosed:
            refused.append(task)
        finally:
            connection.close()

    def close():
        barrier.wait()
        try:
            studies.close(study, study.created_by)
        finally:
            connection.close()

    threads = [threading.Thread(target=send, args=[task]) for task in tasks] + [threading.Thread(target=close)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    study.refresh_from_db()
    assert study.is_closed
    assert len(accepted) + len(refused) == 10
    assert Rating.objects.count() == 6 * len(accepted)
    assert all(
        moment <= study.closed_at
        for moment in study.tasks.filter(done_at__isnull=False).values_list("updated_at", flat=True)
    )


# Two at once


def test_a_change_keeps_what_somebody_else_changed_meanwhile():
    study = make_study(systems=3)
    mine = Study.objects.prefetch_related("systems").get(pk=study.pk)
    list(mine.systems.all())
    fewer = [study.reference, study.systems.exclude(pk=study.reference_id).first()]
    studies.change(study, instructions="Read twice.", systems=fewer)
    changed = studies.change(mine, seed=11)
    assert (changed.instructions, changed.seed, set(changed.systems.all())) == ("Read twice.", 11, set(fewer))


def test_using_the_numbers_of_a_power_analysis_keeps_what_was_changed_meanwhile():
    study = make_study()
    analysis = PowerAnalysis.objects.create(
        project=study.project,
        study=study,
        created_by=study.created_by,
        results={"table": [{"items": 2, "ratings_per_output": 1}]},
    )
    studies.change(Study.objects.get(pk=study.pk), instructions="Read twice.")
    planning.use(analysis, 2, 1)
    study.refresh_from_db()
    assert (study.number_of_items, study.instructions) == (2, "Read twice.")


@pytest.mark.django_db(transaction=True)
def test_two_first_uses_of_a_hidden_system_at_once_make_one():
    project = ProjectFactory()
    made, barrier = [], threading.Barrier(4)

    def use():
        try:
            barrier.wait()
            with transaction.atomic():
                made.append(studies.control(project, "rewrite", project.created_by).pk)
        finally:
            connection.close()

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4 and len(set(made)) == 1


def test_a_hidden_system_takes_a_name_that_is_free():
    project = ProjectFactory()
    for name in ("Approved rewrite", "Approved rewrite (hidden)"):
        SystemFactory(project=project, name=name)
    assert studies.control(project, "rewrite", project.created_by).name == "Approved rewrite (hidden 2)"
