"""A closed study as preference data: majority of the reviewers, one row for each output that lost."""

import pytest
from django.core.exceptions import ValidationError
from django.urls import reverse

from annotation.models import Role
from evaluation import exclusions, preferences, ratings, reviewing, studies
from evaluation.models import Layout, Output, Study, StudyMembership
from tests.evaluation.factories import (
    OutputFactory,
    SystemFactory,
    answers,
    make_study,
    running_study,
    start,
)
from tests.factories import MembershipFactory, PairFactory, ProjectFactory, UserFactory
from training.models import Preference

pytestmark = pytest.mark.django_db


def rate(study, choice):
    """`choice(task)` is the system that this reviewer prefers on this item; None for a tie."""
    for task in study.tasks.select_related("reviewer", "study").order_by("item_id", "reviewer_id"):
        reviewing.submit(task.reviewer, task.token, answers(task, preferred=choice(task)))
    return studies.close(study, study.created_by)


def test_the_output_that_most_reviewers_preferred_stands_against_each_other_one():
    study = running_study(items=4, systems=3, reviewers=3)
    first, second, third = study.systems.order_by("pk")
    items = list(study.tasks.order_by("item_id").values_list("item", flat=True).distinct())
    reviewers = list(study.reviewers.order_by("user_id").values_list("user_id", flat=True))
    choices = {  # by item: what each of the three prefers
        items[0]: [first, first, first],
        items[1]: [second, second, None],
        items[2]: [first, second, third],
        items[3]: [first, None, None],
    }
    study = rate(study, lambda task: choices[task.item_id][reviewers.index(task.reviewer_id)])
    made = preferences.from_study(study, study.created_by)
    assert (made.made, made.present, made.unusable) == (4, 0, 0)
    found = {
        (row.item_id, row.origin["chosen"], row.origin["rejected"]): (row.votes, row.voters)
        for row in Preference.objects.all()
    }

    def output(item, system):
        return Output.objects.get(item_id=item, system=system).pk

    assert found == {
        (items[0], output(items[0], first), output(items[0], second)): (3, 3),
        (items[0], output(items[0], first), output(items[0], third)): (3, 3),
        (items[1], output(items[1], second), output(items[1], first)): (2, 3),
        (items[1], output(items[1], second), output(items[1], third)): (2, 3),
    }
    row = Preference.objects.get(item=items[0], origin__rejected=output(items[0], second))
    assert (row.text, row.chosen) == (row.item.text, Output.objects.get(pk=row.origin["chosen"]).text.strip())
    assert row.origin["study"] == study.pk
    again = preferences.from_study(study, study.created_by)
    assert (again.made, again.present) == (0, 4)


def test_only_a_closed_study_with_a_majority_gives_preferences():
    study = running_study(items=1, systems=2, reviewers=2)
    with pytest.raises(ValidationError, match="Close the study first"):
        preferences.from_study(study, study.created_by)
    study = rate(study, lambda task: None)
    with pytest.raises(ValidationError, match="preferred by more than half"):
        preferences.from_study(study, study.created_by)


def test_outputs_that_read_the_same_give_no_preference():
    study = running_study(items=2, systems=2, reviewers=1)
    item = study.tasks.first().item
    for task in study.tasks.filter(item=item):
        task.slots.update(text="The same.")
    system = study.systems.first()
    study = rate(study, lambda task: system)
    made = preferences.from_study(study, study.created_by)
    assert (made.made, made.unusable) == (1, 0)


def test_a_trainer_uses_a_closed_study_in_the_page_and_by_the_api(client):
    study = running_study(items=2, systems=2, reviewers=1)
    system = study.systems.first()
    client.force_login(MembershipFactory(project=study.project, role=Role.TRAINER).user)
    api, url = f"/api/studies/{study.pk}/preferences/", reverse("evaluation:preferences", args=[study.pk])
    assert client.post(api).status_code == client.get(api).status_code == 400
    assert client.get(url).url == study.get_absolute_url(), "there is nothing yet"
    rate(study, lambda task: system)
    for page in (study.get_absolute_url(), reverse("evaluation:report", args=[study.pk])):
        assert url in client.get(page).content.decode()
    shown = client.get(url).content.decode()
    assert "<strong>2 pairs</strong> of 2 texts." in shown and "Make 2 preferences" in shown
    assert "No pair of outputs meets this" in client.get(url, {"least_votes": 2}).content.decode()
    refused = client.get(url, {"by": "nonsense"})
    assert refused.status_code == 422 and "nonsense" in refused.content.decode()
    none = client.post(url, {"by": "all", "distance": 3})
    assert none.status_code == 422 and "that far apart" in none.content.decode()
    made = client.post(url, {"by": "choice", "use_rewrite": "yes", "least_votes": ""}, follow=True)
    assert "2 preferences made." in made.content.decode()
    assert "2 are there already" in client.get(url).content.decode()
    assert client.post(api).json() == {"made": 0, "present": 2, "unusable": 0}
    assert client.get(api).json() == {"pairs": 2, "texts": 2, "present": 2}
    assert client.get(api, {"least_share": 101}).status_code == 400
    assert client.post(api, {"by": "all", "distance": 3}, content_type="application/json").status_code == 400
    client.force_login(MembershipFactory(project=study.project, role=Role.LEAD).user)
    assert client.post(api).status_code == client.get(api).status_code == client.get(url).status_code == 403
    assert "Use as preferences" not in client.get(reverse("evaluation:report", args=[study.pk])).content.decode()
    assert "Use as preferences" not in client.get(study.get_absolute_url()).content.decode()


def test_an_output_leads_to_the_preferences_that_were_made_of_it(client):
    study = running_study(items=1, systems=2, reviewers=1)
    first, second = study.systems.order_by("pk")
    study = rate(study, lambda task: first)
    preferences.from_study(study, study.created_by)
    won, lost = (system.outputs.get() for system in (first, second))
    client.force_login(MembershipFactory(project=study.project, role=Role.LEAD).user)
    page = client.get(reverse("evaluation:output-lineage", args=[won.pk])).content.decode()
    assert "1 of 1 reviewer found it better than" in page and study.get_absolute_url() in page
    assert reverse("evaluation:output-lineage", args=[lost.pk]) in page
    told = client.get(f"/api/outputs/{lost.pk}/lineage/").json()["preferences"]
    preference = Preference.objects.get()
    assert told == [{"id": preference.pk, "study": study.pk, "chosen": False, "other": won.pk, "votes": 1, "voters": 1}]


# Every layout, and what the options do


def choose(study, best, worst=None):
    """`best(task)` and `worst(task)` are systems; None is a tie, or a reason why nothing was chosen."""
    for task in study.tasks.exclude(kind="same").select_related("reviewer", "study").order_by("item_id", "reviewer_id"):
        slots = list(task.slots.prefetch_related("outputs__system"))

        def slot_of(system, slots=slots):
            if isinstance(system, str):
                return system
            if system is None:
                return reviewing.TIE
            return next((str(s.pk) for s in slots if any(o.system == system for o in s.outputs.all())), reviewing.TIE)

        content = {"preferred": slot_of(best(task)), "active_seconds": 12}
        if worst and content["preferred"] != reviewing.TIE:
            content["worst"] = slot_of(worst(task))
        reviewing.submit(task.reviewer, task.token, content)
    return studies.close(study, study.created_by)


def pairs_of(study):
    """{(item, chosen system's name, rejected system's name): (votes, voters)}"""
    names = dict(Output.objects.filter(project=study.project).values_list("pk", "system__name"))
    return {
        (row.item_id, names[row.origin["chosen"]], names[row.origin["rejected"]]): (row.votes, row.voters)
        for row in Preference.objects.filter(origin__study=study.pk)
    }


def test_pairwise_counts_only_those_who_saw_both():
    study = running_study(items=3, systems=3, reviewers=6, ratings_per_output=4, layout=Layout.PAIRWISE)
    first = study.systems.order_by("pk").first()
    study = choose(study, lambda task: first)
    preferences.from_study(study, study.created_by)
    found = pairs_of(study)
    assert len(found) == 6 and {chosen for _, chosen, _ in found} == {first.name}
    assert all(votes == voters == 2 for votes, voters in found.values()), "of six reviewers two saw each pair"


def test_best_and_worst_make_one_pair_of_a_page():
    study = running_study(items=2, systems=4, reviewers=3, layout=Layout.BEST_WORST)
    a, b, c, _ = study.systems.order_by("pk")
    third = study.reviewers.order_by("user_id").last().user_id
    study = choose(study, lambda task: a, lambda task: c if task.reviewer_id == third else b)
    assert preferences.find(study) == preferences.Found(pairs=2, texts=2, present=0)
    preferences.from_study(study, study.created_by)
    assert set(pairs_of(study).values()) == {(2, 3)}
    assert {(chosen, rejected) for _, chosen, rejected in pairs_of(study)} == {(a.name, b.name)}


def test_rated_outputs_are_paired_by_the_distance_of_the_same_peoples_means():
    study = running_study(items=2, systems=3, reviewers=2, layout=Layout.RATE)
    a, b, c = study.systems.order_by("pk")
    levels = {a: 5, b: 4, c: 2}
    for task in study.tasks.select_related("reviewer", "study"):
        content = answers(task, value=levels)
        system = next(system for system in levels if task.slots.get().outputs.filter(system=system).exists())
        slot = str(task.slots.get().pk)
        if system == a:  # as safe as b, and better otherwise
            content["ratings"][slot]["bias_gone"] = 4
        reviewing.submit(task.reviewer, task.token, content | {"preferred": ""})
    study = studies.close(study, study.created_by)
    assert preferences.bases(study)[0][0] == "all"
    near = preferences.Options(distance=0.1)
    assert preferences.find(study, near).pairs == 6, "a over b by two thirds of a level, both over c"
    assert preferences.find(study, preferences.Options(distance=1)).pairs == 4
    assert preferences.find(study, preferences.Options(by="bias_gone", distance=0)).pairs == 4, "a and b are equal"
    preferences.from_study(study, study.created_by, near)
    row = Preference.objects.get(origin__chosen=a.outputs.first().pk, origin__rejected=b.outputs.first().pk)
    assert (row.votes, row.voters, row.origin["by"], row.origin["distance"]) == (2, 2, "all", 0.6667)
    with pytest.raises(ValidationError, match="that far apart"):
        preferences.from_study(study, study.created_by, preferences.Options(distance=3.5))


def test_what_could_not_be_judged_is_no_vote_and_no_voter():
    study = running_study(items=1, systems=2, reviewers=3)
    first = study.systems.order_by("pk").first()
    keys = list(study.criteria.values_list("key", flat=True))
    choice = iter([first, "context", "context"])
    for task in study.tasks.select_related("reviewer", "study"):
        chosen = next(choice)
        content = answers(task, preferred=None if isinstance(chosen, str) else chosen)
        if isinstance(chosen, str):
            content["preferred"] = chosen
            content["ratings"] = {str(slot.pk): dict.fromkeys(keys, "language") for slot in task.slots.all()}
        reviewing.submit(task.reviewer, task.token, content)
    study = studies.close(study, study.created_by)
    preferences.from_study(study, study.created_by)
    assert set(pairs_of(study).values()) == {(1, 1)}
    assert preferences.find(study, preferences.Options(by="all", distance=0)).pairs == 0, "all levels were the same"


def controlled_study(**values):
    project = ProjectFactory()
    made = SystemFactory.create_batch(2, project=project)
    for pair in PairFactory.create_batch(3, project=project, item__project=project):
        for system in made:
            OutputFactory(system=system, item=pair.item)
    study = studies.create(
        project, project.created_by, systems=made, controls=["original", "rewrite"], name="Hidden", reference=made[0],
        **values,
    )  # fmt: skip
    StudyMembership.objects.create(study=study, user=UserFactory())
    return start(study)


def test_the_original_is_never_preferred_and_the_approved_rewrite_only_where_wanted():
    study = controlled_study(seed=3)
    original, rewrite = (study.systems.get(kind=kind) for kind in ("original", "rewrite"))
    items = list(study.tasks.order_by("item_id").values_list("item", flat=True).distinct())
    other = study.systems.get(pk=study.reference_id)
    by_item = dict(zip(items, [original, rewrite, other], strict=True))
    study = rate(study, lambda task: by_item[task.item_id])
    assert preferences.find(study, preferences.Options(use_rewrite=False)).pairs == 3
    preferences.from_study(study, study.created_by)
    found = {(item, chosen) for item, chosen, _ in pairs_of(study)}
    assert found == {(items[1], rewrite.name), (items[2], other.name)}
    assert (items[2], other.name, original.name) in pairs_of(study), "it may be the rejected one"


def test_an_output_that_left_the_text_as_it_was_is_the_original():
    study = controlled_study(seed=3)
    original = study.systems.get(kind="original")
    copied = study.systems.get(pk=study.reference_id)
    for task in study.tasks.all():  # as if the model had copied the text: one slot stands for both
        slot = task.slots.get(outputs__system=original)
        own = task.slots.get(outputs__system=copied)
        own.slot_outputs.update(slot=slot)
        own.delete()
    study = rate(study, lambda task: copied)
    with pytest.raises(ValidationError, match="preferred by more than half"):
        preferences.from_study(study, study.created_by)


def test_pages_that_do_not_count_and_people_whom_the_rules_leave_out_make_no_preference():
    study = make_study(
        items=18, systems=2, reviewers=2, number_of_items=14, practice=1, checks=2, repeats=1,
        on_failure="exclude", min_passed=100,
    )  # fmt: skip
    study = start(study)
    first, second = study.systems.order_by("pk")
    careless = study.reviewers.order_by("user_id").first().user
    for task in study.tasks.select_related("reviewer", "study"):
        if task.kind == "rating":
            content = answers(task, preferred=first if task.reviewer == careless else second)
        else:
            content = answers(task, preferred=first)
        if task.kind == "check" and task.reviewer != careless:
            slot = task.expected["slot"]
            content["ratings"][slot] = dict.fromkeys(content["ratings"][slot], task.expected["level"])
        reviewing.submit(task.reviewer, task.token, content)
    study = studies.close(study, study.created_by)
    preferences.from_study(study, study.created_by)
    found = pairs_of(study)
    assert len(found) == 14 and set(found.values()) == {(1, 1)}
    assert {chosen for _, chosen, _ in found} == {second.name}


def test_more_votes_or_a_larger_share_can_be_asked_for():
    study = running_study(items=2, systems=2, reviewers=3)
    first, second = study.systems.order_by("pk")
    items = list(study.tasks.order_by("item_id").values_list("item", flat=True).distinct())
    people = list(study.reviewers.order_by("user_id").values_list("user_id", flat=True))
    split = {items[0]: [first, first, first], items[1]: [first, first, second]}
    study = rate(study, lambda task: split[task.item_id][people.index(task.reviewer_id)])
    options = preferences.Options
    assert preferences.find(study).pairs == 2
    assert preferences.find(study, options(least_share=67)).pairs == 1
    assert preferences.find(study, options(least_share=66)).pairs == 2
    assert preferences.find(study, options(least_votes=3)).pairs == 1
    preferences.from_study(study, study.created_by, options(least_votes=3))
    assert preferences.find(study) == preferences.Found(pairs=2, texts=2, present=1)
    assert preferences.find(study).new == 1


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"by": "nonsense"}, "by"),
        ({"least_votes": 0}, "least_votes"),
        ({"least_share": 101}, "least_share"),
        ({"distance": -1}, "distance"),
    ],
)
def test_options_that_make_no_sense_are_refused(values, field):
    study = rate(running_study(items=1, systems=2, reviewers=1), lambda task: None)
    with pytest.raises(ValidationError) as refused:
        preferences.find(study, preferences.Options(**values))
    assert list(refused.value.message_dict) == [field]


def test_preferences_and_exported_ratings_leave_out_the_pages_that_the_main_analysis_does():
    study = running_study(
        items=14, systems=2, reviewers=2, checks=1, practice=1, repeats=1, min_seconds=10, number_of_items=12
    )
    first = study.systems.order_by("pk").first()
    hasty = study.reviewers.order_by("user_id").first().user
    for task in study.tasks.select_related("reviewer", "study"):
        seconds = 3 if task.reviewer == hasty else 12
        reviewing.submit(task.reviewer, task.token, answers(task, preferred=first) | {"active_seconds": seconds})
    study = studies.close(study, study.created_by)
    counted = exclusions.pages(study)
    assert counted.count() == 12
    rows = list(ratings.rows_of(Study.objects.filter(pk=study.pk)))
    kept = {row["reviewer"] for row in rows if row["page_kind"] == "rating" and not row["excluded"]}
    assert kept == {task.reviewer.username for task in counted}
    assert {row["excluded"] for row in rows if row["reviewer"] == hasty.username and row["page_kind"] == "rating"} == {
        "too_fast"
    }
    preferences.from_study(study, study.created_by)
    assert [(row.votes, row.voters) for row in Preference.objects.all()] == [(1, 1)] * 12
