"""A closed study as preference data: majority of the reviewers, one row for each output that lost."""

import pytest
from django.core.exceptions import ValidationError
from django.urls import reverse

from annotation.models import Role
from evaluation import preferences, reviewing, studies
from evaluation.models import Output
from tests.evaluation.factories import answers, running_study
from tests.factories import MembershipFactory
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
    assert (made.made, made.unusable) == (1, 1)


def test_a_trainer_uses_a_closed_study_in_the_page_and_by_the_api(client):
    study = running_study(items=2, systems=2, reviewers=1)
    system = study.systems.first()
    client.force_login(MembershipFactory(project=study.project, role=Role.TRAINER).user)
    assert client.post(f"/api/studies/{study.pk}/preferences/").status_code == 400
    rate(study, lambda task: system)
    report = client.get(reverse("evaluation:report", args=[study.pk])).content.decode()
    assert "Use as preferences" in report
    page = client.post(reverse("evaluation:preferences", args=[study.pk]), follow=True)
    assert "2 preferences made." in page.content.decode()
    assert client.post(f"/api/studies/{study.pk}/preferences/").json() == {"made": 0, "present": 2, "unusable": 0}
    client.force_login(MembershipFactory(project=study.project, role=Role.LEAD).user)
    assert client.post(f"/api/studies/{study.pk}/preferences/").status_code == 403
    assert "Use as preferences" not in client.get(reverse("evaluation:report", args=[study.pk])).content.decode()
