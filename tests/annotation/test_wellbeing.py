"""What keeps annotators well: kinds of content and opt-outs, blur, pauses, limits, and what they have read."""

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from annotation import gold, mine, pairs, practice, projects, queueing, votes, wellbeing, work
from annotation.models import (
    Annotation,
    AnnotatorChoices,
    Assignment,
    AssignmentState,
    ImportedAnnotation,
    Item,
    ItemImport,
    Pause,
    PracticeAnswer,
    RewriteVote,
    Role,
)
from tests.factories import ItemFactory, MembershipFactory, ProjectFactory, UserFactory

pytestmark = pytest.mark.django_db

MILD = {"bias": "none", "toxicity": "mild", "harm": "low", "sentiment": "negative"}
SEVERE = MILD | {"toxicity": "severe"}
KINDS = [{"name": "slurs", "warning": "names for groups"}, {"name": "violence", "warning": ""}]
HTMX = {"HX-Request": "true"}


@pytest.fixture
def lead():
    return UserFactory(username="lea")


@pytest.fixture
def ann():
    return UserFactory(username="ann")


@pytest.fixture
def project(lead, ann):
    return ProjectFactory(lead=lead, annotator=ann, overlap=2, content_kinds=KINDS, pause_after=3)


def finish(user, project, labels=MILD, seconds=0):
    assignment = work.next_assignment(user, project)
    return work.submit(user, assignment.pk, {"labels": labels, "rewrite": "Kinder.", "active_seconds": seconds})


def days_ago(annotation, days):
    Annotation.objects.filter(pk=annotation.pk).update(created_at=timezone.now() - timedelta(days=days))


def text(response):
    return " ".join(response.content.decode().split())


# Kinds of content


def test_a_warning_names_what_a_text_contains_in_the_projects_words(client, project, ann):
    ItemFactory(project=project, content_kinds=["slurs"])
    client.force_login(ann)
    page = text(client.get(reverse("annotation:annotate", args=[project.pk])))
    assert "This text contains</strong> <bdi>slurs</bdi> (<bdi>names for groups</bdi>)" in page


def test_a_declined_kind_is_never_handed_out_and_comes_when_it_is_no_longer_declined(project, ann):
    ItemFactory.create_batch(3, project=project, content_kinds=["violence", "slurs"])
    usual = ItemFactory(project=project)
    wellbeing.choose(ann, project, declined_kinds=["slurs"])
    assert finish(ann, project).item == usual
    assert work.next_assignment(ann, project) is None
    wellbeing.choose(ann, project, declined_kinds=[])
    assert "slurs" in work.next_assignment(ann, project).item.content_kinds


def test_a_held_text_of_a_kind_declined_meanwhile_can_be_skipped_and_does_not_come_back(project, ann):
    ItemFactory(project=project, content_kinds=["slurs"])
    held = work.next_assignment(ann, project)
    wellbeing.choose(ann, project, declined_kinds=["slurs"])
    assert work.next_assignment(ann, project) == held
    Assignment.objects.filter(pk=held.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    work.expire_leases(project)
    assert work.next_assignment(ann, project) is None


def test_a_declined_kind_holds_for_reserved_gold_and_practice_texts_too(project, ann, lead):
    reserved = ItemFactory(project=project, content_kinds=["slurs"])
    queueing.reserve(project, lead, Item.objects.filter(pk=reserved.pk), [ann])
    for kind in ("gold", "practice"):
        known = ItemFactory(project=project, content_kinds=["slurs"])
        gold.create(project, lead, kind=kind, item=known, labels={"bias": ["none"]})
    usual = ItemFactory.create_batch(2, project=project)
    gold.change_settings(project, lead, gold_every=1)
    wellbeing.choose(ann, project, declined_kinds=["slurs"])
    assert [finish(ann, project).item for _ in usual] == usual
    assert work.next_assignment(ann, project) is None
    with pytest.raises(ValidationError, match="contains what you do not want"):
        practice.begin(ann, project)


def test_a_text_marked_later_is_not_handed_to_somebody_who_declined_its_kind(project, ann, lead):
    item = ItemFactory(project=project)
    wellbeing.choose(ann, project, declined_kinds=["slurs"])
    queueing.set_content_kinds(project, lead, Item.objects.filter(pk=item.pk), add=["slurs"])
    assert work.next_assignment(ann, project) is None
    queueing.set_content_kinds(project, lead, Item.objects.filter(pk=item.pk), remove=["slurs"])
    assert work.next_assignment(ann, project).item == item


def test_leads_see_how_many_declined_a_kind_and_nowhere_who(client, project, ann, lead):
    wellbeing.choose(ann, project, declined_kinds=["slurs"])
    other = MembershipFactory(project=project, role=Role.ANNOTATOR).user
    wellbeing.choose(other, project, declined_kinds=["slurs", "violence"])
    assert wellbeing.declined_counts(project) == [
        {"name": "slurs", "declined": 2},
        {"name": "violence", "declined": 1},
    ]
    client.force_login(lead)
    page = text(client.get(reverse("annotation:project-exposure", args=[project.pk])))
    assert '<th scope="row" class="plain" dir="auto">slurs</th><td class="num">2</td>' in page
    assert "ann" not in page.split("Kinds that people declined")[1].split("</section>")[0]
    assert client.get(reverse("annotation:wellbeing", args=[project.pk])).status_code == 403


def test_choices_are_saved_in_the_page_and_refused_with_a_reason(client, project, ann):
    client.force_login(ann)
    url = reverse("annotation:wellbeing", args=[project.pk])
    client.post(url, {"declined_kinds": ["violence"], "daily_limit": "20"})
    chosen = AnnotatorChoices.objects.get()
    assert (chosen.declined_kinds, chosen.daily_limit) == (["violence"], 20)
    projects.change(project, daily_limit=10)
    answer = client.post(url, {"declined_kinds": ["slurs"], "daily_limit": "11"})
    assert answer.status_code == 422
    assert "The project&#x27;s limit is 10 a day; yours can only be lower." in answer.content.decode()
    chosen.refresh_from_db()
    assert chosen.declined_kinds == ["violence"]
    client.post(url, {"declined_kinds": [], "daily_limit": ""})
    chosen.refresh_from_db()
    assert (chosen.declined_kinds, chosen.daily_limit) == ([], 0)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"declined_kinds": ["gore"]}, "declined_kinds"),
        ({"declined_kinds": "slurs"}, "declined_kinds"),
        ({"daily_limit": -1}, "daily_limit"),
        ({"daily_limit": True}, "daily_limit"),
        ({"daily_limit": 10**9}, "daily_limit"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused_by_its_field(project, ann, values, field):
    with pytest.raises(ValidationError) as error:
        wellbeing.choose(ann, project, **values)
    assert list(error.value.message_dict) == [field]


# Settings


def test_the_lead_sets_wellbeing_in_the_settings_and_the_log_tells(client, project, lead):
    client.force_login(lead)
    url = reverse("annotation:edit-project", args=[project.pk])
    form = client.get(url).context["form"]
    assert 'name="content_kinds"' in str(form["content_kinds"])
    assert "slurs: names for groups\nviolence" in str(form["content_kinds"])
    body = {name: form[name].value() for name in form.fields}
    body |= {
        "content_kinds": "slurs: names for groups\n\n sexual content : nudity: all of it ",
        "blur_texts": "on",
        "severe_dimensions": ["harm"],
        "pause_after": "5",
        "daily_limit": "40",
        "daily_severe_limit": "10",
    }
    formset = client.get(url).context["formset"]
    for row in [formset.management_form, *formset.forms]:
        body |= {row.add_prefix(name): row[name].value() or "" for name in row.fields if name != "DELETE"}
    answer = client.post(url, body)
    assert answer.status_code == 302, answer.context["form"].errors
    project.refresh_from_db()
    assert project.content_kinds == [
        {"name": "slurs", "warning": "names for groups"},
        {"name": "sexual content", "warning": "nudity: all of it"},
    ]
    assert (project.blur_texts, project.severe_dimensions, project.pause_after) == (True, ["harm"], 5)
    assert (project.daily_limit, project.daily_severe_limit) == (40, 10)
    after = project.events.get(action="project.changed").after
    assert {"content_kinds", "blur_texts", "severe_dimensions", "daily_limit"} <= set(after)


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"severe_dimensions": ["race"]}, "severe_dimensions", "no dimension"),
        ({"severe_dimensions": "harm"}, "severe_dimensions", "list"),
        ({"content_kinds": [{"name": "", "warning": ""}]}, "content_kinds", "1 to 60 characters"),
        ({"content_kinds": [{"name": "a,b", "warning": ""}]}, "content_kinds", "no comma"),
        ({"content_kinds": [{"name": "a", "warning": ""}, {"name": "A", "warning": ""}]}, "content_kinds", "Two kinds"),
        ({"content_kinds": [{"name": "a", "warning": "x" * 201}]}, "content_kinds", "at most 200"),
        ({"content_kinds": [{"name": "a"}]}, "content_kinds", "nothing else"),
        ({"content_kinds": [KINDS[1]]}, "content_kinds", "slurs is said of 1 text"),
        ({"pause_after": 1001}, "pause_after", "1000"),
        ({"daily_limit": -1}, "daily_limit", "greater than or equal to 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_their_field(project, values, field, words):
    ItemFactory(project=project, content_kinds=["slurs"])
    with pytest.raises(ValidationError) as error:
        projects.change(project, **values)
    assert words in str(error.value.message_dict[field])


def test_the_api_sets_wellbeing_too(client, project, lead):
    client.force_login(lead)
    url = reverse("api:project-detail", args=[project.pk])
    body = {"daily_limit": 9, "severe_dimensions": ["bias"], "content_kinds": [{"name": "slurs"}]}
    answer = client.patch(url, body, content_type="application/json").json()
    assert (answer["daily_limit"], answer["severe_dimensions"]) == (9, ["bias"])
    assert answer["content_kinds"] == [{"name": "slurs", "warning": ""}]
    answer = client.patch(url, {"severe_dimensions": ["race"]}, content_type="application/json")
    assert (answer.status_code, list(answer.json())) == (400, ["severe_dimensions"])


def test_a_dimension_that_goes_is_no_longer_severe(project):
    projects.change(
        project,
        severe_dimensions=["harm", "bias"],
        dimensions=[{"key": "bias", "name": "Bias", "levels": ["none", "high"]}],
    )
    project.refresh_from_db()
    assert project.severe_dimensions == ["bias"]


# Blur


def test_texts_are_hidden_from_the_first_byte_where_the_project_says_so(client, project, ann):
    ItemFactory(project=project)
    client.force_login(ann)
    url = reverse("annotation:annotate", args=[project.pk])
    assert "data-starts-blurred" not in text(client.get(url))
    projects.change(project, blur_texts=True)
    page = text(client.get(url))
    assert '<body class="blurred" data-starts-blurred' in page
    assert "The text is hidden." in page


# Limits


def test_nothing_is_handed_out_beyond_the_limit_of_a_day_until_tomorrow(project, ann):
    ItemFactory.create_batch(4, project=project)
    projects.change(project, daily_limit=2)
    project.refresh_from_db()
    first, _ = finish(ann, project), finish(ann, project)
    with pytest.raises(wellbeing.LimitReached, match="You have read 2 texts today"):
        work.next_assignment(ann, project)
    days_ago(first, 1)
    assert work.next_assignment(ann, project) is not None


def test_a_held_text_may_be_finished_when_the_limit_is_reached(project, ann):
    ItemFactory.create_batch(3, project=project)
    finish(ann, project)
    held = work.next_assignment(ann, project)
    projects.change(project, daily_limit=1)
    project.refresh_from_db()
    assert work.next_assignment(ann, project) == held
    assert finish(ann, project).assignment == held
    with pytest.raises(wellbeing.LimitReached):
        work.next_assignment(ann, project)


def test_ones_own_lower_limit_counts_and_the_projects_bounds_it(project, ann):
    ItemFactory.create_batch(3, project=project)
    wellbeing.choose(ann, project, daily_limit=1)
    finish(ann, project)
    with pytest.raises(wellbeing.LimitReached, match="That is your own limit"):
        work.next_assignment(ann, project)
    wellbeing.choose(ann, project, daily_limit=5)
    assert work.next_assignment(ann, project) is not None
    project.daily_limit = 2
    assert wellbeing.daily_limit(project, wellbeing.choices_of(ann, project)) == 2


def test_severe_texts_have_a_limit_of_their_own(project, ann):
    ItemFactory.create_batch(4, project=project)
    projects.change(project, daily_severe_limit=2)
    project.refresh_from_db()
    for labels in (SEVERE, MILD, SEVERE):
        finish(ann, project, labels)
    with pytest.raises(wellbeing.LimitReached, match="2 severe texts today"):
        work.next_assignment(ann, project)
    project.severe_dimensions = ["bias"]
    assert work.next_assignment(ann, project) is not None


def test_the_page_says_kindly_that_it_is_enough_and_the_api_says_it_with_a_code(client, project, ann):
    ItemFactory.create_batch(2, project=project)
    projects.change(project, daily_limit=1)
    client.force_login(ann)
    client.get(reverse("annotation:annotate", args=[project.pk]))
    form = {f"label-{key}": level for key, level in MILD.items()} | {"rewrite": "Kinder.", "spans": "[]"}
    url = reverse("annotation:submit", args=[Assignment.objects.get().pk])
    page = text(client.post(url, form, headers=HTMX))
    assert "That is enough for today" in page and "tomorrow" in page
    answer = client.post(reverse("api:assignment-next"), {"project": project.pk}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (409, "daily_limit")
    assert "limit for a day" in answer.json()["detail"]


def test_a_day_ends_at_midnight_also_where_the_clock_changes(settings, monkeypatch):
    settings.TIME_ZONE = "Europe/Berlin"
    from zoneinfo import ZoneInfo

    berlin = ZoneInfo("Europe/Berlin")
    with timezone.override(berlin):
        monkeypatch.setattr(
            timezone, "now", lambda: timezone.datetime(2026, 10, 25, 12, tzinfo=berlin)
        )  # 25 hours long
        assert wellbeing.midnight().isoformat() == "2026-10-25T00:00:00+02:00"
        assert wellbeing.tomorrow().isoformat() == "2026-10-26T00:00:00+01:00"


# Reading in voting and in practice

YES = {"safe": True, "keeps_meaning": True}


def put_to_the_vote(project, *rewrites, **more):
    """A text that others annotated, with these rewrites to vote on."""
    item = ItemFactory(project=project, overlap=len(rewrites), **more)
    for rewrite in rewrites:
        other = MembershipFactory(project=project, role=Role.ANNOTATOR).user
        held = work.next_assignment(other, project)
        assert held.item == item
        work.submit(other, held.pk, {"labels": MILD, "rewrite": rewrite})
    return item


def vote(user, project):
    return votes.give(user, votes.next_vote(user, project).pk, YES)


def practise(user, project, seconds=0):
    """One text of the running round, or of a new one."""
    practice.begin(user, project)
    content = {"labels": MILD, "rewrite": "Kinder.", "active_seconds": seconds}
    return practice.submit(user, practice.current(user, project).pk, content)


def practice_text(project, lead, **more):
    item = ItemFactory(project=project, **more)
    return gold.create(project, lead, kind="practice", item=item, labels={"bias": ["none"]})


@pytest.fixture
def voting(project, lead):
    projects.change(project, by=lead, votes_per_rewrite=1, voted_rewrites="every")
    project.refresh_from_db()
    return project


def test_texts_read_in_voting_count_towards_the_limit_of_a_day(client, voting, ann):
    for number in range(3):
        put_to_the_vote(voting, f"Way {number}.")
    projects.change(voting, daily_limit=2)
    voting.refresh_from_db()
    first, _ = vote(ann, voting), vote(ann, voting)
    assert (wellbeing.read_today(ann, voting), wellbeing.finished_today(ann, voting)) == (2, 0)
    with pytest.raises(wellbeing.LimitReached, match="You have read 2 texts today"):
        votes.next_vote(ann, voting)
    ItemFactory(project=voting)
    with pytest.raises(wellbeing.LimitReached):
        work.next_assignment(ann, voting)
    client.force_login(ann)
    page = text(client.get(reverse("annotation:votes", args=[voting.pk])))
    assert "No votes for now" in page and "You have read 2 texts today" in page
    assert "No rewrite waits" not in page
    answer = client.post(reverse("api:vote-next"), {"project": voting.pk}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (409, "daily_limit")
    page = text(client.get(reverse("annotation:wellbeing", args=[voting.pk])))
    assert "You have read 2 texts today of at most 2." in page
    assert client.get(reverse("api:project-wellbeing", args=[voting.pk])).json()["read_today"] == 2
    RewriteVote.objects.filter(pk=first.pk).update(given_at=timezone.now() - timedelta(days=1))
    assert votes.next_vote(ann, voting) is not None


def test_several_rewrites_of_one_text_are_one_text_read(voting, ann):
    put_to_the_vote(voting, "One way.", "Another way.")
    vote(ann, voting), vote(ann, voting)
    held = put_to_the_vote(voting, "A third way.")
    assert votes.next_vote(ann, voting).rewrite.item == held  # held is not read yet
    assert wellbeing.read_today(ann, voting) == 1
    [(_, exposure)] = wellbeing.own_exposure(ann)
    assert exposure.voted == wellbeing.Figure(1, 1, 1, 1)


def test_texts_annotated_voted_on_and_practised_make_up_a_day_together(voting, ann, lead):
    put_to_the_vote(voting, "One way.")
    vote(ann, voting)
    practice_text(voting, lead)
    practise(ann, voting)
    practise(ann, voting)  # the same text in another round is read again
    ItemFactory(project=voting)
    finish(ann, voting)
    assert wellbeing.read_today(ann, voting) == 4


def test_practice_counts_and_no_round_begins_beyond_the_limit_but_a_running_one_goes_on(client, project, ann, lead):
    for _ in range(2):
        practice_text(project, lead)
    projects.change(project, daily_limit=1)
    project.refresh_from_db()
    practise(ann, project)
    practise(ann, project)  # the round's second text
    assert wellbeing.read_today(ann, project) == 2
    with pytest.raises(wellbeing.LimitReached, match="You have read 2 texts today"):
        practice.begin(ann, project)
    client.force_login(ann)
    answer = client.post(reverse("annotation:practice-begin", args=[project.pk]))
    assert answer.status_code == 422 and "You have read 2 texts today" in text(answer)
    PracticeAnswer.objects.update(answered_at=timezone.now() - timedelta(days=1))
    assert practice.begin(ann, project).number == 2


def test_reading_in_voting_and_practice_is_part_of_ones_exposure_and_of_the_leads(client, voting, ann, lead):
    put_to_the_vote(voting, "One way.", "Another way.", content_kinds=["slurs"])
    put_to_the_vote(voting, "A third way.")
    given = [vote(ann, voting) for _ in range(3)]
    old = [one.pk for one in given if one.rewrite.item.content_kinds == []]
    RewriteVote.objects.filter(pk__in=old).update(given_at=timezone.now() - timedelta(days=3))
    practice_text(voting, lead, content_kinds=["violence"])
    practise(ann, voting, seconds=120)
    client.force_login(ann)
    page = text(client.get(reverse("annotation:exposure")))
    assert '<th scope="row" class="plain">Texts read in voting</th><td class="num">1</td><td class="num">2</td>' in page
    assert '<th scope="row" class="plain">Texts read in practice</th><td class="num">1</td>' in page
    [(_, own)] = wellbeing.own_exposure(ann)
    together, people = wellbeing.project_exposure(voting)
    theirs = next(exposure for person, exposure in people if person == ann)
    for exposure in (own, theirs):
        assert exposure.texts == exposure.severe == wellbeing.Figure()
        assert exposure.voted == wellbeing.Figure(1, 2, 2, 2)
        assert exposure.practised == wellbeing.Figure(1, 1, 1, 1)
        assert exposure.seconds.total == 120
        assert exposure.kinds == {"slurs": wellbeing.Figure(1, 1, 1, 1), "violence": wellbeing.Figure(1, 1, 1, 1)}
    assert (together.texts.total, together.voted.total, together.practised.total) == (3, 2, 1)
    assert together.kinds["slurs"].total == 3  # two annotated it, one voted on it
    shown = client.get(reverse("api:exposure-list")).json()["results"][0]
    assert (shown["voted"]["week"], shown["practised"]["today"]) == (2, 1)
    client.force_login(lead)
    page = text(client.get(reverse("annotation:project-exposure", args=[voting.pk])))
    assert page.count('<th scope="col" class="num">Voted on</th>') == 3
    assert page.count('<th scope="col" class="num">Practised</th>') == 3
    rows = client.get(reverse("api:project-exposure", args=[voting.pk])).json()["people"]
    mine = next(row for row in rows if row["username"] == "ann")
    assert (mine["voted"]["total"], mine["practised"]["total"]) == (2, 1)


def test_the_limit_costs_the_same_query_however_much_was_read_and_uses_the_indexes(
    voting, ann, django_assert_num_queries
):
    for number in range(3):
        put_to_the_vote(voting, f"Way {number}.")
    for expected in (1, 2, 3):
        vote(ann, voting)
        with django_assert_num_queries(1) as queries:
            assert wellbeing.read_today(ann, voting) == expected
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        # Of three rows every index costs the same once autovacuum has counted them, which it does when it likes.
        for table in ("annotation_rewritevote", "annotation_practiceanswer"):
            cursor.execute("DELETE FROM pg_statistic WHERE starelid = %s::regclass", [table])
            cursor.execute("UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE oid = %s::regclass", [table])
        cursor.execute("EXPLAIN " + queries.captured_queries[0]["sql"])
        plan = "\n".join(row[0] for row in cursor.fetchall())
    for index in ("vote_given", "practice_answered"):
        assert index in plan, plan


# Pauses


def pause_suggested(user, project):
    return wellbeing.pause_suggested(project, wellbeing.so_far(user, project).severe_run)


def test_a_pause_is_suggested_after_a_run_of_severe_texts_and_never_forced(client, project, ann):
    ItemFactory.create_batch(12, project=project)
    suggested = []
    for labels in (SEVERE, SEVERE, MILD, SEVERE, SEVERE, SEVERE, SEVERE):
        finish(ann, project, labels)
        suggested.append(pause_suggested(ann, project))
    assert suggested == [False, False, False, False, False, True, False]
    for _ in range(2):
        finish(ann, project, SEVERE)
    client.force_login(ann)
    page = text(client.get(reverse("annotation:annotate", args=[project.pk])))
    assert "Pause for five minutes" in page and 'id="annotation"' in page


def test_severe_is_what_the_project_says_and_zero_suggests_never(project, ann):
    ItemFactory.create_batch(3, project=project)
    for _ in range(3):
        finish(ann, project, SEVERE)
    assert pause_suggested(ann, project)
    project.pause_after = 0
    assert not pause_suggested(ann, project)
    project.pause_after, project.severe_dimensions = 3, ["bias"]
    assert not pause_suggested(ann, project)
    project.severe_dimensions = []
    assert not pause_suggested(ann, project)


def test_a_pause_begins_a_new_run(project, ann):
    ItemFactory.create_batch(5, project=project)
    for _ in range(3):
        finish(ann, project, SEVERE)
    wellbeing.begin_pause(ann, project)
    wellbeing.end_pause(ann, project)
    assert wellbeing.so_far(ann, project).severe_run == 0
    finish(ann, project, SEVERE)
    assert wellbeing.so_far(ann, project).severe_run == 1


def test_what_came_in_with_an_import_counts_neither_today_nor_in_a_run(project, ann, lead):
    ItemFactory.create_batch(3, project=project)
    done = [finish(ann, project, labels) for labels in (SEVERE, SEVERE, MILD)]
    assert wellbeing.so_far(ann, project) == wellbeing.SoFar(today=3, severe_run=0, sent_back=False)
    job = ItemImport.objects.create(project=project, created_by=lead, file_name="a.csv", file_format="csv")
    for annotation in done[1:]:
        ImportedAnnotation.objects.create(annotation=annotation, item_import=job, row=2, name="ann")
    assert wellbeing.so_far(ann, project) == wellbeing.SoFar(today=1, severe_run=1, sent_back=False)
    days_ago(done[0], 1)
    assert wellbeing.so_far(ann, project) == wellbeing.SoFar(today=0, severe_run=1, sent_back=False)
    assert wellbeing.finished_today(ann, project) == 0
    assert wellbeing.so_far(lead, project) == wellbeing.SoFar(today=0, severe_run=0, sent_back=False)


def test_a_pause_is_a_quiet_page_that_ends_when_the_person_says_so(client, project, ann):
    client.force_login(ann)
    url = reverse("annotation:pause", args=[project.pk])
    assert "Take a pause?" in text(client.get(url))
    page = text(client.post(url, {"action": "begin"}, follow=True))
    assert "Back to work" in page and "Five minutes, until you say otherwise." in page
    client.post(url, {"action": "begin"})
    assert Pause.objects.count() == 1  # a second click begins no second pause
    answer = client.post(url, {"action": "end"})
    assert answer.url == reverse("annotation:annotate", args=[project.pk])
    assert Pause.objects.get().ended_at is not None


def test_a_pause_that_nobody_ended_lasted_as_long_as_it_was_meant_to(project, ann):
    began = timezone.now() - timedelta(hours=2)
    Pause.objects.create(project=project, annotator=ann, started_at=began)
    wellbeing.begin_pause(ann, project)
    assert Pause.objects.earliest("pk").ended_at == began + Pause.PLANNED
    assert Pause.objects.count() == 2


# Exposure


def test_people_see_what_they_have_read_by_time_kind_and_level(client, project, ann):
    ItemFactory.create_batch(4, project=project, content_kinds=["slurs"])
    ItemFactory.create_batch(2, project=project)
    for days, labels in ((0, SEVERE), (3, SEVERE | {"bias": "high"}), (20, MILD), (100, SEVERE), (0, MILD)):
        days_ago(finish(ann, project, labels, seconds=90), days)
    wellbeing.begin_pause(ann, project)
    [(_, exposure)] = wellbeing.own_exposure(ann)
    assert exposure.texts == wellbeing.Figure(2, 3, 4, 5)
    assert exposure.severe == wellbeing.Figure(1, 2, 2, 3)
    assert exposure.seconds == wellbeing.Figure(180, 270, 360, 450)
    assert exposure.kinds == {"slurs": wellbeing.Figure(1, 2, 3, 4)}
    assert exposure.highest["bias"] == ("Bias", "high", wellbeing.Figure(0, 1, 1, 1))
    assert exposure.highest["toxicity"] == ("Toxicity", "severe", wellbeing.Figure(1, 2, 2, 3))
    assert exposure.pauses.total == 1
    client.force_login(ann)
    page = text(client.get(reverse("annotation:exposure")))
    assert '<th scope="row" class="plain">Severe texts</th><td class="num">1</td><td class="num">2</td>' in page
    shown = client.get(reverse("api:exposure-list")).json()["results"]
    assert [(row["project"], row["severe"]["total"]) for row in shown] == [(project.pk, 3)]


def test_exposure_needs_the_same_queries_for_one_project_and_for_three(client, project, ann):
    client.force_login(ann)
    counts = []
    for other in (project, ProjectFactory(annotator=ann), ProjectFactory(annotator=ann)):
        ItemFactory(project=other, content_kinds=["slurs"])
        finish(ann, other)
        with CaptureQueriesContext(connection) as queries:
            page = text(client.get(reverse("annotation:exposure")))
        counts.append(len(queries))
    assert len(set(counts)) == 1
    assert "All projects" in page


def test_nobody_sees_anybody_elses_exposure(client, project, ann, lead):
    ItemFactory(project=project)
    finish(ann, project)
    client.force_login(lead)
    assert "Nothing yet" in text(client.get(reverse("annotation:exposure")))
    client.force_login(ann)
    assert client.get(reverse("annotation:project-exposure", args=[project.pk])).status_code == 403


def test_leads_see_people_by_name_whatever_they_read_and_pauses_of_nobody(client, project, ann, lead):
    ItemFactory.create_batch(5, project=project)
    zoe = MembershipFactory(project=project, role=Role.ANNOTATOR, user=UserFactory(username="zoe")).user
    for user, number in ((zoe, 4), (ann, 1)):
        for _ in range(number):
            finish(user, project, SEVERE)
        wellbeing.begin_pause(user, project)
    together, people = wellbeing.project_exposure(project)
    assert [(person.username, exposure.texts.total) for person, exposure in people] == [("ann", 1), ("zoe", 4)]
    assert (together.texts.total, together.severe.today, together.pauses.total) == (5, 5, 2)
    assert all(exposure.pauses.total == 0 for _, exposure in people)
    client.force_login(lead)
    page = text(client.get(reverse("annotation:project-exposure", args=[project.pk])))
    assert page.index(">ann<") < page.index(">zoe<")
    assert "sort" not in page.lower()
    shown = client.get(reverse("api:project-exposure", args=[project.pk])).json()
    assert [row["username"] for row in shown["people"]] == ["ann", "zoe"]
    assert "pauses" not in shown["people"][0]


def test_skips_are_counted_for_nobody(client, project, ann, lead):
    ItemFactory.create_batch(3, project=project)
    for _ in range(2):
        work.skip(ann, work.next_assignment(ann, project).pk)
    client.force_login(lead)
    page = text(client.get(reverse("annotation:project", args=[project.pk])))
    assert "2 times a text was skipped." in page
    assert "Skipped</th>" not in page
    members = client.get(reverse("api:project-members", args=[project.pk])).json()
    assert not any("skip" in key for row in members for key in row)


# My work


@pytest.fixture
def lost(project, ann):
    """A draft of ann's whose text others have finished."""
    item = ItemFactory(project=project, overlap=1, text="They are all lazy <b>neighbours</b>.")
    held = work.next_assignment(ann, project)
    work.save_draft(ann, held.pk, {"rewrite": "Half a sentence", "labels": {"bias": "high"}})
    Assignment.objects.filter(pk=held.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    other = MembershipFactory(project=project, role=Role.ANNOTATOR).user
    work.submit(other, work.next_assignment(other, project).pk, {"labels": MILD, "rewrite": "Kinder."})
    held.refresh_from_db()
    assert (held.item, held.state) == (item, AssignmentState.EXPIRED)
    return held


def test_a_kept_draft_of_a_text_that_became_full_can_be_opened_and_read(client, project, ann, lost):
    client.force_login(ann)
    listed = text(client.get(reverse("annotation:mine", args=[project.pk]), {"show": "drafts"}))
    assert "Half a sentence" in listed and "<b>neighbours" not in listed
    page = text(client.get(reverse("annotation:kept", args=[lost.pk])))
    assert "Others have finished this text" in page
    assert "Half a sentence" in page and "Bias: high" in page
    assert "Take it up again" not in page
    answer = client.post(reverse("annotation:take-up", args=[lost.pk]), follow=True)
    assert "Others have finished this text" in text(answer)


def test_a_skipped_text_can_be_taken_up_again_with_its_draft(client, project, ann):
    ItemFactory(project=project)
    held = work.next_assignment(ann, project)
    work.save_draft(ann, held.pk, {"rewrite": "Half a sentence"})
    work.skip(ann, held.pk)
    client.force_login(ann)
    assert "Half a sentence" in text(client.get(reverse("annotation:mine", args=[project.pk]), {"show": "skipped"}))
    assert "Take it up again" in text(client.get(reverse("annotation:kept", args=[held.pk])))
    page = text(client.post(reverse("annotation:take-up", args=[held.pk]), follow=True))
    assert "Half a sentence" in page and 'id="annotation"' in page
    held.refresh_from_db()
    assert (held.state, held.item.taken) == (AssignmentState.HELD, 1)


def test_a_text_cannot_be_taken_up_beside_another_or_beyond_the_limit(project, ann):
    ItemFactory.create_batch(2, project=project)
    first = work.next_assignment(ann, project)
    work.skip(ann, first.pk)
    second = work.next_assignment(ann, project)
    with pytest.raises(ValidationError, match="You hold another text now"):
        mine.take_up(ann, first.pk)
    work.submit(ann, second.pk, {"labels": MILD, "rewrite": "Kinder."})
    wellbeing.choose(ann, project, daily_limit=1)
    with pytest.raises(wellbeing.LimitReached):
        mine.take_up(ann, first.pk)
    with pytest.raises(ValidationError, match="You have finished this text"):
        mine.take_up(ann, second.pk)


def test_a_settled_text_cannot_be_taken_up(project, ann, lead):
    item = ItemFactory(project=project)
    held = work.next_assignment(ann, project)
    work.skip(ann, held.pk)
    other = MembershipFactory(project=project, role=Role.ANNOTATOR).user
    finish(other, project)
    pair = pairs.propose_early(item)
    pairs.approve(pair, lead, version=pair.version, rewrite="Kinder.", labels=MILD)
    assert mine.why_not(ann, held) == "The lead has settled this text."


def test_ones_work_is_searched_in_text_and_in_ones_own_words(client, project, ann):
    for words in ("about apples", "about pears"):
        ItemFactory(project=project, text=f"A text {words}.")
        work.submit(ann, work.next_assignment(ann, project).pk, {"labels": MILD, "rewrite": f"Kinder {words.upper()}."})
    client.force_login(ann)
    url = reverse("annotation:mine", args=[project.pk])
    for query, shown, hidden in (("apples", "apples", "pears"), ("kinder about pears", "pears", "apples")):
        page = text(client.get(url, {"q": query}))
        assert f"A text about {shown}." in page and f"A text about {hidden}." not in page
    assert "Nothing of yours matches" in text(client.get(url, {"q": "plums"}))
    results = client.get(reverse("api:assignment-list"), {"q": "plums"}).json()["results"]
    assert results == []


def test_my_work_is_paged_and_needs_the_same_queries_for_few_and_many(client, project, ann):
    client.force_login(ann)
    url = reverse("annotation:mine", args=[project.pk])
    counts = []
    for number in (2, 60):
        ItemFactory.create_batch(number, project=project)
        for _ in range(number):
            finish(ann, project)
        with CaptureQueriesContext(connection) as queries:
            page = text(client.get(url))
        counts.append(len(queries))
    assert counts[0] == counts[1]
    assert "Next page" in page


def test_nobody_opens_somebody_elses_kept_draft(client, project, lead, lost):
    other = MembershipFactory(project=project, role=Role.ANNOTATOR).user
    for user in (other, lead):
        client.force_login(user)
        assert client.get(reverse("annotation:kept", args=[lost.pk])).status_code == 404
        assert client.post(reverse("annotation:take-up", args=[lost.pk])).status_code == 404


def test_the_api_lists_kept_drafts_and_takes_a_text_up(client, project, ann, lost):
    client.force_login(ann)
    rows = client.get(reverse("api:assignment-list"), {"state": "expired", "has_draft": True}).json()["results"]
    assert [row["draft"]["rewrite"] for row in rows] == ["Half a sentence"]
    answer = client.post(reverse("api:assignment-take-up", args=[lost.pk]))
    assert answer.status_code == 400
    ItemFactory(project=project)
    skipped = work.next_assignment(ann, project)
    work.skip(ann, skipped.pk)
    assert client.post(reverse("api:assignment-take-up", args=[skipped.pk])).json()["state"] == "held"


def test_the_api_keeps_ones_choices_and_pauses(client, project, ann):
    client.force_login(ann)
    url = reverse("api:project-wellbeing", args=[project.pk])
    body = {"declined_kinds": ["slurs"], "daily_limit": 3}
    assert client.patch(url, body, content_type="application/json").json()["limit"] == 3
    assert client.get(url).json() == {
        "project": project.pk, "declined_kinds": ["slurs"], "daily_limit": 3, "limit": 3,
        "finished_today": 0, "read_today": 0,
    }  # fmt: skip
    answer = client.patch(url, {"declined_kinds": ["gore"]}, content_type="application/json")
    assert (answer.status_code, list(answer.json())) == (400, ["declined_kinds"])
    pause = reverse("api:project-pause", args=[project.pk])
    assert client.post(pause).json()["ended_at"] is None
    assert client.delete(pause).status_code == 204
    assert Pause.objects.get().ended_at is not None
