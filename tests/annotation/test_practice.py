"""The practice round: nobody gets a real text before passing, answers are shown after each text, leads decide."""

import re

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from annotation import gold, practice, projects, work
from annotation.models import (
    Annotation,
    Assignment,
    Event,
    Gold,
    Item,
    PracticeAnswer,
    PracticeRound,
    QualitySettings,
    Role,
    RoundState,
    Scale,
)
from tests.annotation.test_handout_concurrency import in_threads
from tests.factories import ItemFactory, MembershipFactory, ProjectFactory, UserFactory

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}
RIGHT = {"bias": "high", "toxicity": "mild", "harm": "low", "sentiment": "neutral"}
WRONG = {"bias": "none", "toxicity": "none", "harm": "high", "sentiment": "positive"}
KNOWN = {"bias": ["high"], "toxicity": ["mild", "severe"]}
HOSTILE = "<script>alert(1)</script> هؤلاء كسالى 👩‍👩‍👧"


@pytest.fixture
def lead():
    return UserFactory(username="the-lead")


@pytest.fixture
def project(lead):
    """A project that practises on three texts, with a mark of 75 % and one retry, and two real texts."""
    project = ProjectFactory(lead=lead, overlap=2)
    for number in range(3):
        gold.create(
            project,
            lead,
            kind="practice",
            text=f"Practice {number}: {HOSTILE}",
            labels=KNOWN,
            spans=[{"start": 0, "end": 8}],
            rewrite="A kinder way.",
            explanation=f"Because of {HOSTILE}",
        )
    gold.change_settings(project, lead, practice=True, pass_mark=75, practice_retries=1)
    ItemFactory.create_batch(2, project=project)
    return project


@pytest.fixture
def annotator(project, client):
    user = MembershipFactory(project=project, role=Role.ANNOTATOR, user__username="anna").user
    client.force_login(user)
    return user


def play(user, project, labels=RIGHT):
    """A whole round with the same labels everywhere."""
    practice.begin(user, project)
    while answer := practice.current(user, project):
        practice.submit(user, answer.pk, {"labels": labels})
    return PracticeRound.objects.filter(project=project, annotator=user).first()


def form(labels):
    return {f"label-{key}": level for key, level in labels.items()} | {"rewrite": "Mine.", "spans": "[]"}


def test_nothing_real_is_handed_out_before_the_practice_is_passed(client, project, annotator):
    with pytest.raises(practice.PracticeNeeded):
        work.next_assignment(annotator, project)
    answer = client.get(reverse("annotation:annotate", args=[project.pk]))
    assert (answer.status_code, answer.url) == (302, reverse("annotation:practice", args=[project.pk]))
    fragment = client.get(reverse("annotation:annotate", args=[project.pk]), headers=HTMX)
    assert fragment.headers["HX-Redirect"] == reverse("annotation:practice", args=[project.pk])
    said = client.post("/api/assignments/next/", {"project": project.pk}, content_type="application/json")
    assert (said.status_code, said.json()["code"]) == (409, "practice_needed")
    assert "practice" in said.json()["detail"]
    assert not Assignment.objects.exists()
    assert play(annotator, project).state == RoundState.PASSED
    assert work.next_assignment(annotator, project) is not None


def test_practice_switched_on_in_mid_work_takes_people_there_with_their_draft_kept(client, lead):
    project = ProjectFactory(lead=lead, overlap=1)
    user = MembershipFactory(project=project, role=Role.ANNOTATOR).user
    client.force_login(user)
    ItemFactory.create_batch(2, project=project)
    held = work.next_assignment(user, project)
    work.save_draft(user, held.pk, {"rewrite": "half a sent"})
    gold.create(project, lead, kind="practice", text="Known.", labels=KNOWN)
    gold.change_settings(project, lead, practice=True)
    answer = client.post(reverse("annotation:submit", args=[held.pk]), form(RIGHT), headers=HTMX)
    assert answer.headers["HX-Redirect"] == reverse("annotation:practice", args=[project.pk])
    assert Annotation.objects.count() == 1, "what was held is finished, nothing new is given"
    client.post(reverse("annotation:skip", args=[held.pk]), headers=HTMX)
    assert client.get(reverse("annotation:back", args=[project.pk]), headers=HTMX).status_code == 200


def test_the_page_is_the_annotators_page_and_shows_the_right_answer_only_afterwards(client, project, annotator):
    url = reverse("annotation:practice", args=[project.pk])
    assert "Practice first" in client.get(url).content.decode()
    html = client.post(reverse("annotation:practice-begin", args=[project.pk]), headers=HTMX).content.decode()
    assert "<html" not in html and 'id="annotation"' in html and "Text 1 of 3" in html
    assert "&lt;script&gt;alert(1)" in html and "<script>alert" not in html
    for hidden in ("Because of", "A kinder way."):
        assert hidden not in html
    answer = practice.current(annotator, project)
    assert f'data-draft-url="{reverse("annotation:practice-draft", args=[answer.pk])}"' in html
    assert "skip" not in html.replace("skip-link", "") and 'id="back"' not in html
    shown = client.post(reverse("annotation:practice-submit", args=[answer.pk]), form(WRONG), headers=HTMX)
    text = shown.content.decode()
    assert "Because of &lt;script&gt;" in text and "A kinder way." in text.replace("<ins>", "").replace("</ins>", "")
    assert "not right" in text and "Mild" not in text and "mild</span> or <span" in text
    assert "not judged" in text  # harm and sentiment
    assert "Next text" in text
    again = client.get(url + f"?answer={answer.pk}").content.decode()
    assert "<html" in again and "not right" in again


def test_a_refused_answer_keeps_what_was_typed(client, project, annotator):
    practice.begin(annotator, project)
    answer = practice.current(annotator, project)
    sent = {"label-bias": "high", "rewrite": "My <b>careful</b> words"}
    refused = client.post(reverse("annotation:practice-submit", args=[answer.pk]), sent, headers=HTMX)
    assert refused.status_code == 422
    assert "Choose a level for toxicity, harm, sentiment." in refused.content.decode()
    assert "My &lt;b&gt;careful&lt;/b&gt; words" in refused.content.decode()
    answer.refresh_from_db()
    assert answer.answered_at is None


def test_a_draft_is_kept_and_shown_again(client, project, annotator):
    practice.begin(annotator, project)
    answer = practice.current(annotator, project)
    url = reverse("annotation:practice-draft", args=[answer.pk])
    body = {"labels": {"bias": "slight"}, "rewrite": "half a sent", "spans": []}
    assert client.post(url, body, content_type="application/json").status_code == 204
    html = client.get(reverse("annotation:practice", args=[project.pk])).content.decode()
    assert "half a sent" in html and 'value="slight" checked' in html and "draft restored" in html
    assert client.post(url, "no json", content_type="application/json").status_code == 400
    bad = client.post(url, {"labels": {"bias": "purple"}}, content_type="application/json")
    assert (bad.status_code, "no level of bias" in bad.content.decode()) == (400, True)


def test_failing_twice_uses_up_one_retry_and_only_the_lead_helps(client, project, annotator, lead):
    failed = play(annotator, project, WRONG)
    assert (failed.state, failed.score) == (RoundState.FAILED, 0)
    assert failed.scores == {"bias": {"right": 0, "known": 3}, "toxicity": {"right": 0, "known": 3}}
    page = client.get(reverse("annotation:practice", args=[project.pk])).content.decode()
    assert "Not passed yet" in page and "Try again" in page and "<strong>1</strong> try left" in page
    play(annotator, project, WRONG)
    with pytest.raises(practice.NoTriesLeft):
        practice.begin(annotator, project)
    page = client.get(reverse("annotation:practice", args=[project.pk])).content.decode()
    assert "used all your tries" in page and "Try again" not in page
    said = client.post("/api/practice/next/", {"project": project.pk}, content_type="application/json")
    assert (said.status_code, said.json()["code"]) == (409, "no_tries_left")
    practice.reset(project, annotator, lead)
    assert practice.standing(annotator, project)["left"] == 2
    assert play(annotator, project).state == RoundState.PASSED
    assert PracticeRound.objects.filter(annotator=annotator).count() == 3, "earlier rounds stay"


def test_rounds_are_reshuffled_and_reproducible(project, annotator, lead):
    for number in range(12):
        gold.create(project, lead, kind="practice", text=f"More {number}.", labels=KNOWN)
    gold.change_settings(project, lead, practice_retries=0, seed=11, practice_items=10)
    orders = []
    for _ in range(2):
        one = play(annotator, project, WRONG)
        orders.append(list(one.answers.order_by("position").values_list("item", flat=True)))
    assert orders[0] != orders[1] and len(orders[0]) == 10
    PracticeRound.objects.all().delete()
    again = play(annotator, project, WRONG)
    assert list(again.answers.order_by("position").values_list("item", flat=True)) == orders[0]


@pytest.mark.parametrize(
    ("labels", "known", "near", "worth"),
    [
        ({"bias": "high"}, ["high"], False, 1),
        ({"bias": "slight"}, ["high"], False, 0),
        ({"bias": "slight"}, ["high"], True, 0.5),
        ({"bias": "none"}, ["high"], True, 0),
        ({"bias": "slight"}, ["none", "high"], True, 0.5),
        ({"bias": "none"}, ["none", "high"], True, 1),
        ({}, ["high"], True, 0),
    ],
)
def test_points_of_one_dimension(project, labels, known, near, worth):
    dimensions = list(project.dimensions.all())
    assert practice.points(labels, {"bias": known}, dimensions, near_misses=near) == {"bias": worth}


def test_a_near_miss_counts_nothing_without_an_order_or_with_two_levels(project):
    dimension = project.dimensions.get(key="bias")
    dimension.scale = Scale.NOMINAL
    assert practice.points({"bias": "slight"}, {"bias": ["high"]}, [dimension], near_misses=True) == {"bias": 0}
    dimension.scale, dimension.levels = Scale.ORDINAL, ["no", "yes"]
    assert practice.points({"bias": "no"}, {"bias": ["yes"]}, [dimension], near_misses=True) == {"bias": 0}


def test_the_pass_mark_is_met_exactly_at_the_mark(project, annotator):
    """Three texts with two known labels each: 6 labels; 5 right are 83 %, and a mark of 75 % needs 4.5."""
    practice.begin(annotator, project)
    for labels in (RIGHT, RIGHT, RIGHT | {"bias": "none"}):
        practice.submit(annotator, practice.current(annotator, project).pk, {"labels": labels})
    one = PracticeRound.objects.get()
    assert (one.state, round(one.score, 1)) == (RoundState.PASSED, 83.3)
    one.state, one.pass_mark = RoundState.RUNNING, 84
    practice._end(one)
    assert one.state == RoundState.FAILED


def test_practising_again_after_passing_takes_nothing_away(project, annotator):
    play(annotator, project)
    again = play(annotator, project, WRONG)
    assert (again.voluntary, again.state) == (True, RoundState.FAILED)
    assert work.next_assignment(annotator, project) is not None


def test_a_lead_lets_somebody_pass_and_sees_who_passed_when(client, project, annotator, lead):
    other = MembershipFactory(project=project, role=Role.ANNOTATOR, user__username="Berta").user
    play(other, project)
    client.force_login(lead)
    page = client.get(reverse("annotation:quality", args=[project.pk])).content.decode()
    assert page.index("anna") < page.index("Berta") and "not begun" in page and "100 %" in page
    url = reverse("annotation:practice-standing", args=[project.pk, annotator.pk])
    client.post(url, {"action": "pass"})
    assert work.next_assignment(annotator, project) is not None
    page = client.get(reverse("annotation:quality", args=[project.pk])).content.decode()
    assert "let pass by <bdi>the-lead</bdi>" in page
    client.post(url, {"action": "reset"})
    assert practice.needed(annotator, project)
    actions = list(Event.objects.filter(project=project).values_list("action", "subject")[:2])
    assert actions == [("practice.reset", "anna"), ("practice.let_pass", "anna")]
    rows = client.get(f"/api/projects/{project.pk}/practice-results/").json()
    assert [row["username"] for row in rows] == ["anna", "Berta"]
    assert rows[1]["passed_at"] and rows[1]["last_score"] == 100
    said = client.post(
        f"/api/projects/{project.pk}/practice-results/{annotator.pk}/",
        {"action": "pass"},
        content_type="application/json",
    )
    assert said.json()["passed_at"]


def test_practice_by_script(client, project, annotator):
    def post(url, body):
        return client.post(url, body, content_type="application/json")

    for position in range(1, 4):
        one = post("/api/practice/next/", {"project": project.pk}).json()
        assert (one["position"], one["result"], one["explanation"], one["rewrite"]) == (position, None, None, None)
        draft = client.put(f"/api/practice/{one['id']}/draft/", {"rewrite": "so far"}, content_type="application/json")
        assert draft.json()["draft"]["rewrite"] == "so far"
        done = post(f"/api/practice/{one['id']}/submit/", {"labels": RIGHT}).json()
        assert done["result"]["bias"] == {"chosen": "high", "accepted": ["high"], "worth": 1}
        assert done["result"]["harm"]["worth"] is None
        assert done["explanation"].startswith("Because")
    (ended,) = client.get("/api/practice-rounds/").json()["results"]
    assert (ended["state"], ended["score"], ended["annotator"]) == ("passed", 100, "anna")
    assert post("/api/assignments/next/", {"project": project.pk}).status_code == 200


def test_a_submit_that_arrives_twice_counts_once_and_nobody_elses_answer_opens(client, project, annotator):
    practice.begin(annotator, project)
    answer = practice.current(annotator, project)
    first = practice.submit(annotator, answer.pk, {"labels": RIGHT})
    second = practice.submit(annotator, answer.pk, {"labels": WRONG})
    assert first.content == second.content and second.points == {"bias": 1, "toxicity": 1}
    stranger = MembershipFactory(project=project, role=Role.ANNOTATOR).user
    client.force_login(stranger)
    for name in ("practice-draft", "practice-submit"):
        assert client.post(reverse(f"annotation:{name}", args=[answer.pk]), {}).status_code == 404
    assert client.get(f"/api/practice/{answer.pk}/").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_beginning_in_six_tabs_makes_one_round_and_six_submits_one_answer():
    lead = UserFactory()
    project = ProjectFactory(lead=lead)
    user = MembershipFactory(project=project, role=Role.ANNOTATOR).user
    gold.create(project, lead, kind="practice", text="Known.", labels=KNOWN)
    gold.change_settings(project, lead, practice=True)
    got = []
    in_threads(lambda _: got.append(practice.begin(user, project).pk), range(6))
    assert len(set(got)) == 1 and PracticeRound.objects.count() == 1
    answer = PracticeAnswer.objects.get()
    in_threads(lambda _: practice.submit(user, answer.pk, {"labels": RIGHT}), range(6))
    one = PracticeRound.objects.get()
    assert (one.state, one.scores["bias"]) == (RoundState.PASSED, {"right": 1, "known": 1})


def test_the_last_practice_text_stays_while_annotators_must_practise(project, lead):
    first, second, third = Gold.objects.filter(project=project)
    assert gold.remove(first, lead) and gold.remove(second, lead)
    with pytest.raises(ValidationError, match="last practice text"):
        gold.remove(third, lead)
    with pytest.raises(ValidationError, match="last practice text"):
        gold.change(third, lead, kind="gold")
    gold.change_settings(project, lead, practice=False)
    assert gold.remove(third, lead)


def test_the_kind_of_an_answered_text_stays(project, annotator, lead):
    play(annotator, project)
    made = Gold.objects.filter(project=project).first()
    with pytest.raises(ValidationError, match="Somebody has answered"):
        gold.change(made, lead, kind="gold")


def test_a_round_goes_on_when_a_text_is_taken_out_of_use(project, annotator, lead):
    practice.begin(annotator, project)
    answer = practice.current(annotator, project)
    gold.remove(answer.item.gold, lead)
    assert practice.current(annotator, project) == answer, "what was begun is not torn away"
    assert play(annotator, project).state == RoundState.PASSED


# Known answers on pages


def test_a_lead_makes_changes_and_removes_a_known_answer_by_page(client, project, lead):
    client.force_login(lead)
    url = reverse("annotation:new-gold", args=[project.pk])
    text = f"They are lazy. {HOSTILE}"
    sent = {"kind": "gold", "text": text, "label-bias": ["high", "slight"], "marks": "lazy", "explanation": "Why."}
    client.post(url, sent)
    made = Gold.objects.first()
    assert (made.item.kind, made.labels, made.item.text) == ("gold", {"bias": ["high", "slight"]}, text)
    assert [made.item.text[span["start"] : span["end"]] for span in made.spans] == ["lazy"]
    listed = client.get(reverse("annotation:gold", args=[project.pk])).content.decode()
    assert "high or slight" in listed and "<script>alert" not in listed
    own = reverse("annotation:gold-item", args=[made.pk])
    assert "lazy" in client.get(own).content.decode()
    client.post(own, {"kind": "gold", "label-toxicity": ["mild"], "marks": ""})
    made.refresh_from_db()
    assert (made.labels, made.spans) == ({"toxicity": ["mild"]}, [])
    key = made.item.external_id
    client.post(own, {"remove": "yes"})
    assert not Gold.objects.filter(pk=made.pk).exists() and not Item.objects.filter(text=text).exists()
    done = set(Event.objects.filter(project=project, subject=key).values_list("action", flat=True))
    assert done == {"gold.made", "gold.changed", "gold.removed"}


def test_what_was_typed_comes_back_with_the_reason_when_a_known_answer_is_refused(client, project, lead):
    client.force_login(lead)
    sent = {"kind": "gold", "text": "A text.", "marks": "absent words", "explanation": "My long reasons."}
    answer = client.post(reverse("annotation:new-gold", args=[project.pk]), sent)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "“absent words” does not stand in the text." in page and "My long reasons." in page
    answer = client.post(reverse("annotation:new-gold", args=[project.pk]), sent | {"marks": ""})
    assert "Say for one dimension at least" in answer.content.decode()


def test_a_text_of_the_project_becomes_a_known_answer_by_page(client, project, lead):
    client.force_login(lead)
    item = Item.objects.filter(kind="work").first()
    page = client.get(reverse("annotation:item", args=[item.pk])).content.decode()
    url = f"{reverse('annotation:new-gold', args=[project.pk])}?item={item.pk}"
    assert url in page.replace("&amp;", "&")
    assert "leaves the work" in client.get(url).content.decode()
    client.post(url, {"kind": "practice", "label-bias": ["none"]})
    item.refresh_from_db()
    assert item.kind == "practice"


KINDS = [{"name": "slurs", "warning": ""}, {"name": "violence", "warning": ""}]
FACTS = {"language": "de", "source": "forum", "target_group": "women", "content_kinds": ["slurs", "violence"]}


def facts(item):
    return {name: getattr(item, name) for name in FACTS}


def test_what_is_known_of_a_text_is_said_with_its_known_answer_by_page(client, project, lead):
    projects.change(project, by=lead, content_kinds=KINDS)
    client.force_login(lead)
    sent = {"kind": "gold", "label-bias": ["high"]}
    client.post(reverse("annotation:new-gold", args=[project.pk]), sent | {"text": "A text."} | FACTS)
    made = Gold.objects.first()
    assert facts(made.item) == FACTS
    own = reverse("annotation:gold-item", args=[made.pk])
    page = client.get(own).content.decode()
    assert 'value="forum"' in page and 'value="de"' in page
    assert len(re.findall('name="content_kinds"[^>]* checked', page)) == 2
    client.post(own, sent | FACTS | {"language": "fr", "content_kinds": ["violence"]})
    made.item.refresh_from_db()
    assert facts(made.item) == FACTS | {"language": "fr", "content_kinds": ["violence"]}
    change = Event.objects.get(project=project, action="gold.changed")
    assert change.after == {"language": "fr", "content_kinds": ["violence"]}
    item = Item.objects.filter(kind="work").first()
    Item.objects.filter(pk=item.pk).update(**FACTS)
    page = client.get(f"{reverse('annotation:new-gold', args=[project.pk])}?item={item.pk}").content.decode()
    assert 'name="language"' not in page and 'name="content_kinds"' not in page


def test_a_copied_text_keeps_what_is_known_of_it(project, lead):
    item = ItemFactory(project=project, **FACTS)
    now = timezone.now()
    Assignment.objects.create(project=project, item=item, annotator=UserFactory(), lease_until=now)
    made = gold.create(project, lead, kind="gold", item=item, labels=KNOWN)
    assert made.copied_from == item and facts(made.item) == FACTS


def test_what_is_known_of_a_text_is_said_with_its_known_answer_by_script(client, project, lead):
    projects.change(project, by=lead, content_kinds=KINDS)
    client.force_login(lead)
    body = {"project": project.pk, "kind": "gold", "labels": {"bias": ["high"]}}
    made = client.post("/api/gold/", body | {"text": "A text."} | FACTS, content_type="application/json").json()
    assert {name: made[name] for name in FACTS} == FACTS
    url = f"/api/gold/{made['id']}/"
    changed = client.patch(url, {"source": "news"}, content_type="application/json").json()
    assert {name: changed[name] for name in FACTS} == FACTS | {"source": "news"}
    for wrong, words in (
        ({"content_kinds": ["spiders"]}, "is no kind of content of this project"),
        ({"language": "x" * 36}, "The language is text of at most 35 characters."),
        ({"source": "a\x00b"}, "ull"),
    ):
        answer = client.patch(url, wrong, content_type="application/json")
        assert (answer.status_code, [*answer.json()]) == (400, [*wrong]) and words in answer.content.decode()
    item = Item.objects.filter(kind="work").first()
    own = client.post("/api/gold/", body | {"item": item.pk, "language": "de"}, content_type="application/json")
    assert own.status_code == 400 and "The text has its own language" in own.json()["language"][0]


CSV = """text,bias,toxicity,explanation,kind,safe_rewrite
"They, all of them, are lazy.",high|slight,,Generalising.,practice,Some rest.
Fine.,none,none,,,
"""


def test_known_answers_are_imported_from_a_csv(client, project, lead):
    client.force_login(lead)
    url = reverse("annotation:import-gold", args=[project.pk])
    before = Gold.objects.count()
    client.post(url, {"file": SimpleUploadedFile("gold.csv", CSV.encode()), "kind": "gold"})
    second, first = Gold.objects.all()[:2]
    assert Gold.objects.count() == before + 2
    assert (first.item.kind, first.labels, first.rewrite) == ("practice", {"bias": ["high", "slight"]}, "Some rest.")
    assert (second.item.kind, second.labels) == ("gold", {"bias": ["none"], "toxicity": ["none"]})


def test_what_is_known_of_texts_is_imported_with_known_answers(client, project, lead):
    projects.change(project, by=lead, content_kinds=KINDS)
    client.force_login(lead)
    rows = "text,bias,language,source,target_group,content_kinds\nA text.,high,de,forum,women,Violence; slurs\n"
    url = reverse("annotation:import-gold", args=[project.pk])
    assert "slurs; violence" in client.get(url).content.decode()
    client.post(url, {"file": SimpleUploadedFile("gold.csv", rows.encode()), "kind": "gold"})
    assert facts(Gold.objects.first().item) == FACTS


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "The file is empty."),
        ("text,bias,content_kinds\nGood.,high,spiders\n", "Row 2, content_kinds: &#x27;spiders&#x27; is no kind"),
        ("text,bias\n", "no rows below it"),
        ("words\nx\n", "There is no column"),
        ("text,bias\nGood.,high\nBad.,purple\n,high\n", "Row 3, labels: &#x27;purple&#x27; is no level of bias"),
        ("text,bias\nGood.,high\n,high\n", "Row 3, text: The text is empty."),
        ("text,bias\nGood.,\n", "Row 2, labels: Say for one dimension"),
        ("text,bias,kind\nGood.,high,silver\n", "Row 2, kind: Choose practice or gold."),
    ],
)
def test_a_bad_file_imports_nothing_and_names_every_problem(client, project, lead, content, reason):
    client.force_login(lead)
    before = Item.objects.count()
    url = reverse("annotation:import-gold", args=[project.pk])
    answer = client.post(url, {"file": SimpleUploadedFile("gold.csv", content.encode()), "kind": "gold"})
    assert answer.status_code == 422
    assert reason in answer.content.decode()
    assert Item.objects.count() == before
    said = client.post(
        "/api/gold/import/", {"project": project.pk, "file": SimpleUploadedFile("g.csv", content.encode())}
    )
    assert said.status_code == 400 and said.json()["file"]


def test_known_answers_by_script(client, project, lead):
    client.force_login(lead)
    body = {"project": project.pk, "kind": "gold", "text": "A new one.", "labels": {"bias": ["high"]}}
    made = client.post("/api/gold/", body, content_type="application/json")
    assert made.status_code == 201
    url = f"/api/gold/{made.json()['id']}/"
    changed = client.patch(url, {"labels": {"bias": ["none"]}}, content_type="application/json").json()
    assert (changed["labels"], changed["text"]) == ({"bias": ["none"]}, "A new one.")
    bad = client.patch(url, {"labels": {"bias": ["purple"]}}, content_type="application/json")
    assert (bad.status_code, "no level of bias" in bad.content.decode()) == (400, True)
    assert client.delete(url).status_code == 204
    assert client.get(url).status_code == 404
    settings = f"/api/projects/{project.pk}/quality-settings/"
    assert client.get(settings).json()["pass_mark"] == 75
    assert client.patch(settings, {"gold_every": 9}, content_type="application/json").json()["gold_every"] == 9
    assert client.patch(settings, {"pass_mark": 101}, content_type="application/json").status_code == 400


def test_the_quality_page_needs_no_more_queries_for_more_people(client, project, lead, annotator):
    client.force_login(lead)

    def queries():
        with CaptureQueriesContext(connection) as found:
            client.get(reverse("annotation:quality", args=[project.pk]))
        return len(found)

    play(annotator, project)
    few = queries()
    for _ in range(6):
        play(MembershipFactory(project=project, role=Role.ANNOTATOR).user, project, WRONG)
    assert queries() <= few


def test_the_settings_page_says_what_is_wrong_beside_the_field(client, project, lead):
    client.force_login(lead)
    url = reverse("annotation:quality-settings", args=[project.pk])
    assert 'name="pass_mark" value="75"' in client.get(url).content.decode()
    sent = {"pass_mark": "0", "practice_items": "10", "practice_retries": "0", "gold_every": "5"}
    sent |= {"repeat_every": "0", "repeat_after": "20", "seed": "1"}
    answer = client.post(url, sent)
    assert answer.status_code == 422 and "greater than or equal to 1" in answer.content.decode()
    assert client.post(url, sent | {"pass_mark": "60"}).status_code == 302
    assert QualitySettings.objects.get(project=project).gold_every == 5
