"""Asking models for suggestions, against a real server of this machine that speaks the protocol."""

import json
import logging
import re
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import connections

from annotation import endpoints, events, jobs, suggestion_prompts, suggestions, work
from annotation.jobs import JobStatus
from annotation.models import Endpoint, Event, Item, ItemKind, Suggestion, SuggestionJob, SuggestionPrompt
from config.processes import wait_until
from tests.annotation import chat_server
from tests.annotation.chat_server import GOOD, answer, error, first, late
from tests.factories import EndpointFactory, ItemFactory, ProjectFactory, UserFactory, set_up_suggestions

KEY = "sk-very-secret-key-93847"


@pytest.fixture
def server():
    with chat_server.running() as running:
        yield running


@pytest.fixture(autouse=True)
def _quick_backoff(monkeypatch):
    monkeypatch.setattr(endpoints, "FIRST_PAUSE", 0.05)


@pytest.fixture
def lead(db):
    return UserFactory(username="lea")


@pytest.fixture
def project(lead):
    return ProjectFactory(lead=lead, annotator=lead, overlap=2)


def make_endpoint(server, **values) -> Endpoint:
    return EndpointFactory(base_url=server.url, **({"name": "Local", "timeout_seconds": 5} | values))


def set_up(project, lead, server, *, endpoint=None, **values):
    return set_up_suggestions(project, lead, endpoint or make_endpoint(server), **values)


def ask(project, lead, scope="missing") -> SuggestionJob:
    job = suggestions.start(project, lead, scope)
    jobs.execute(SuggestionJob.objects, job.pk, suggestions.run)
    job.refresh_from_db()
    return job


def only(project) -> Suggestion:
    return Suggestion.objects.get(project=project)


def item(project, text="They are all lazy, said one.", **values) -> Item:
    return ItemFactory(project=project, text=text, **values)


# Asking


def test_every_open_text_is_asked_for_once_and_the_answer_is_kept_with_what_it_cost(project, lead, server):
    items = [item(project, f"They are all lazy, said neighbour {number}.") for number in range(12)]
    set_up(project, lead, server)
    job = ask(project, lead)
    assert (job.status, job.done, job.total, job.error) == (JobStatus.FINISHED, 12, 12, "")
    assert job.message == "12 usable, 0 malformed, 0 failed."
    assert set(server.counts().values()) == {1} and len(server.asked) == 12
    one = Suggestion.objects.get(item=items[3])
    assert (one.status, one.model, one.requests) == ("ok", "tiny-1", 1)
    assert one.labels == GOOD["labels"] and one.rewrite == GOOD["rewrite"]
    assert one.spans == [{"start": 13, "end": 17}] and items[3].text[13:17] == "lazy"
    assert json.loads(one.answer) == GOOD
    assert (one.input_tokens, one.output_tokens, one.usage_known) == (100, 50, True)
    assert one.cost == Decimal("0.0002")  # (100 at 1 + 50 at 2) for a million
    assert one.seconds > 0
    sent = next(body for body in server.bodies if items[3].text in body["messages"][0]["content"])
    assert sent["messages"][0]["content"] == suggestion_prompts.render(one.prompt, items[3].text)
    assert (sent["model"], sent["max_tokens"], sent["temperature"]) == ("tiny", 1000, 0)
    with pytest.raises(ValidationError, match="no text to ask for"):
        suggestions.start(project, lead)
    item(project, "One more.")
    assert ask(project, lead).done == 1
    assert len(server.asked) == 13


def test_settled_retired_and_practice_texts_are_not_asked_for_but_hidden_gold_is(project, lead, server):
    item(project, "open")
    Item.objects.filter(pk=item(project, "full").pk).update(taken=2)
    item(project, "retired", retired_at="2026-01-01T00:00Z")
    item(project, "practice", kind=ItemKind.PRACTICE)
    item(project, "gold", kind=ItemKind.GOLD)
    item(project, "settled", settled=True)
    set_up(project, lead, server)
    ask(project, lead)
    assert sorted(server.asked) == ["gold", "open"]


def test_a_repeat_is_no_new_text_to_ask_for(project, lead, server):
    original = item(project, "filtered")
    server.default = error(400, "The content filter was triggered")
    set_up(project, lead, server, automatic=True)
    ask(project, lead)  # without an answer, so it would be asked for again
    item(project, "filtered", kind=ItemKind.REPEAT, repeat_of=original, repeat_for=lead)
    assert suggestions.start_for_new_texts() == 0
    item(project, "new")
    assert suggestions.start_for_new_texts() == 1


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (answer("I'd rather not."), "not JSON"),
        (answer("[1, 2]"), "not an object"),
        (answer(""), "empty"),
        (answer(None), "empty"),
        (answer("[" * 100_000), "nested too deeply|not JSON"),
        (answer({**GOOD, "labels": {**GOOD["labels"], "bias": "extreme"}}), "'extreme' is no level of bias"),
        (answer({**GOOD, "labels": {"bias": "high"}}), "no label for toxicity, harm, sentiment"),
        (answer({**GOOD, "labels": {**GOOD["labels"], "mood": "high"}}), "no dimension 'mood'"),
        (answer({**GOOD, "labels": {**GOOD["labels"], "bias": 3}}), "not the name of a level"),
        (answer({**GOOD, "labels": ["high"]}), "no object “labels”"),
        (answer({**GOOD, "rewrite": " \n"}), "rewrite in the answer is empty"),
        (answer({**GOOD, "rewrite": None}), "no text “rewrite”"),
        (answer({**GOOD, "rewrite": "a\x00b"}), "null byte"),
        (answer({**GOOD, "biased_words": "lazy"}), "not a list of words"),
        (answer({**GOOD, "spans": [{"start": 5, "end": 900}]}), "outside the text"),
        (answer(GOOD, choice={"finish_reason": "length"}), "cut off at the limit of 1,000 tokens"),
        (answer(None, choice={"message": {"content": None, "refusal": "I cannot help."}}), "not JSON"),
    ],
)
def test_a_malformed_answer_is_kept_and_counted_and_never_becomes_labels(project, lead, server, reply, reason):
    item(project)
    server.default = reply
    set_up(project, lead, server)
    job = ask(project, lead)
    assert job.message == "0 usable, 1 malformed, 0 failed."
    one = only(project)
    assert one.status == "malformed"
    assert re.search(reason, one.reason), one.reason
    assert (one.labels, one.rewrite, one.spans) == ({}, "", [])
    assert one.cost == Decimal("0.0002")
    assignment = work.next_assignment(lead, project)
    assert (assignment.suggestion, assignment.suggestion_shown) == (None, False)
    assert suggestions.counts(project.pk)["malformed"] == 1


@pytest.mark.parametrize(
    "text",
    [
        "```json\n" + json.dumps(GOOD) + "\n```",
        "```\n" + json.dumps(GOOD, indent=2) + "```",
        "<think>Is lazy {bad}?</think>\n\n" + json.dumps(GOOD),
        json.dumps({**GOOD, "labels": {key: f" {level.upper()} " for key, level in GOOD["labels"].items()}}),
        json.dumps({**GOOD, "comment": "extra"}),
    ],
)
def test_a_good_answer_is_understood_however_it_is_wrapped(project, lead, server, text):
    item(project)
    server.default = answer(text)
    set_up(project, lead, server)
    ask(project, lead)
    one = only(project)
    assert (one.status, one.reason, one.labels) == ("ok", "", GOOD["labels"])
    assert one.answer == text


def test_markup_and_odd_characters_in_an_answer_stay_text(project, lead, server):
    item(project, "Sie sind 👩‍👩‍👧 faul, ja faul!")
    rewrite = "<script>alert(1)</script> שלום 👍"
    server.default = answer({**GOOD, "rewrite": rewrite, "biased_words": ["faul", "nicht da"]})
    set_up(project, lead, server)
    ask(project, lead)
    one = only(project)
    assert one.rewrite == rewrite
    assert [one.item.text[span["start"] : span["end"]] for span in one.spans] == ["faul", "faul"]


def test_only_malformed_answers_are_asked_for_again_where_a_lead_says_so(project, lead, server):
    item(project, "good")
    item(project, "odd")
    server.replies["odd"] = first(answer("what?"), answer(GOOD))
    set_up(project, lead, server)
    ask(project, lead)
    with pytest.raises(ValidationError, match="no text to ask for"):
        suggestions.start(project, lead)
    ask(project, lead, "retry")
    assert server.counts() == {"good": 1, "odd": 2}
    assert [suggestions.counts(project.pk)[status] for status in ("ok", "malformed")] == [2, 1]
    set_up(
        project, lead, server, endpoint=Endpoint.objects.get(), template="Say {answer} of {dimensions} Text:\n{text}"
    )
    ask(project, lead, "again")
    assert server.counts() == {"good": 2, "odd": 3}
    assert list(SuggestionPrompt.objects.values_list("number", flat=True)) == [2, 1]


# Servers in trouble


def test_a_server_that_asks_to_wait_is_waited_for(project, lead, server):
    item(project, "busy")
    server.replies["busy"] = first(error(429, Retry_After="1"), answer(GOOD))
    set_up(project, lead, server)
    assert ask(project, lead).message == "1 usable, 0 malformed, 0 failed."
    assert server.times[1] - server.times[0] >= 1
    assert only(project).requests == 2


@pytest.mark.parametrize("status", [500, 502, 503, 408, 409])
def test_a_server_that_stumbles_is_asked_again(project, lead, server, status):
    item(project, "once")
    server.default = first(error(status), answer(GOOD), times=2)
    set_up(project, lead, server)
    ask(project, lead)
    assert (only(project).status, only(project).requests) == ("ok", 3)
    assert only(project).cost == Decimal("0.0002")


def test_a_server_that_wants_too_much_patience_ends_the_job(project, lead, server):
    item(project)
    server.default = error(429, Retry_After="7200")
    set_up(project, lead, server)
    job = ask(project, lead)
    assert job.status == JobStatus.FAILED and "wait for 120 minutes" in job.error


def test_a_timeout_counts_as_paid_for_and_is_tried_again(project, lead, server):
    item(project, "slow")
    server.replies["slow"] = lambda number: late(3, answer(GOOD))(number) if number == 1 else answer(GOOD)
    set_up(project, lead, server, endpoint=make_endpoint(server, timeout_seconds=1))
    ask(project, lead)
    one = only(project)
    prompt = suggestion_prompts.render(one.prompt, one.item.text)
    most = len(prompt.encode()) + suggestions.OVERHEAD_TOKENS
    assert (one.status, one.requests, one.usage_known) == ("ok", 2, False)
    assert (one.input_tokens, one.output_tokens) == (most + 100, 1000 + 50)
    assert one.cost == Decimal(most + 2000) / 1_000_000 + Decimal("0.0002")


@pytest.mark.django_db(transaction=True)
def test_what_a_second_request_can_cost_is_saved_before_it_is_sent(project, lead, server):
    item(project, "slow")
    saved = []

    def reply(number):
        if number == 1:
            return late(3, answer(GOOD))(number)
        saved.append(Suggestion.objects.values_list("input_tokens", "output_tokens", "cost").get())
        connections.close_all()
        return answer(GOOD)

    server.replies["slow"] = reply
    set_up(project, lead, server, endpoint=make_endpoint(server, timeout_seconds=1))
    ask(project, lead)
    one = only(project)
    most = len(suggestion_prompts.render(one.prompt, one.item.text).encode()) + suggestions.OVERHEAD_TOKENS
    assert saved == [(2 * most, 2000, 2 * Decimal(most + 2000) / 1_000_000)]
    assert (one.input_tokens, one.output_tokens) == (most + 100, 1000 + 50)


def test_a_text_that_the_server_refuses_fails_alone(project, lead, server):
    for text in ("one", "filtered", "three"):
        item(project, text)
    server.replies["filtered"] = error(400, "The content filter was triggered")
    set_up(project, lead, server)
    assert ask(project, lead).message == "2 usable, 0 malformed, 1 failed."
    failed = Suggestion.objects.get(status="failed")
    assert failed.reason == "The endpoint answered 400: The content filter was triggered"
    assert failed.cost == 0


def test_a_server_that_is_down_ends_the_job_and_says_why(project, lead, server):
    for number in range(20):
        item(project, f"text {number}")
    server.default = error(500, "out of order")
    set_up(project, lead, server, endpoint=make_endpoint(server, concurrency=2))
    job = ask(project, lead)
    assert job.status == JobStatus.FAILED
    assert "5 texts in a row got no answer" in job.error and "out of order" in job.error
    assert len(server.counts()) < 10
    server.default = answer(GOOD)
    assert ask(project, lead).message == "20 usable, 0 malformed, 0 failed."


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (error(401, "Incorrect API key provided"), "401: Incorrect API key provided. Check the key."),
        (error(404, "no such model"), "Check its URL and model"),
        (error(302, Location="http://127.0.0.1:1/steal"), "a redirect, which is not followed"),
    ],
)
def test_what_no_text_can_change_ends_the_job_at_once(project, lead, server, reply, sentence):
    for number in range(9):
        item(project, f"text {number}")
    server.default = reply
    set_up(project, lead, server, endpoint=make_endpoint(server, concurrency=1))
    job = ask(project, lead)
    assert job.status == JobStatus.FAILED and sentence in job.error
    assert len(server.asked) == 1


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"{}", b'{"choices": []}', b'{"choices": [{"message": 3}]}'])
def test_what_is_no_completion_fails(project, lead, server, body):
    item(project)
    server.default = (200, {}, body)
    set_up(project, lead, server)
    ask(project, lead)
    assert only(project).reason == "The endpoint's answer is not a chat completion."


def test_without_usage_the_most_it_can_be_is_counted(project, lead, server):
    item(project)
    server.default = answer(GOOD, usage=None)
    set_up(project, lead, server)
    ask(project, lead)
    one = only(project)
    assert one.usage_known is False
    assert one.output_tokens == 1000 and one.input_tokens > 500


# The key


def test_the_key_goes_to_the_server_and_nowhere_else(project, lead, server, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("LOCAL_API_KEY", KEY)
    item(project, "echo")
    item(project, "refuse")
    server.replies["echo"] = answer(f"Your key is {KEY}")
    server.replies["refuse"] = error(400, f"Bad key {KEY}")
    set_up(project, lead, server, endpoint=make_endpoint(server, key_variable="LOCAL_API_KEY"))
    ask(project, lead)
    assert all(headers["Authorization"] == f"Bearer {KEY}" for headers in server.headers)
    stored = [*Suggestion.objects.values_list("answer", "reason"), *Endpoint.objects.values_list()]
    stored += [*Event.objects.values_list("subject", "before", "after"), *SuggestionJob.objects.values_list("error")]
    assert KEY not in str(stored) and "[key]" in str(stored)
    assert KEY not in caplog.text


def test_a_worker_without_the_key_says_which_variable_is_missing(project, lead, server, monkeypatch):
    monkeypatch.delenv("LOCAL_API_KEY", raising=False)
    item(project)
    set_up(project, lead, server, endpoint=make_endpoint(server, key_variable="LOCAL_API_KEY"))
    job = ask(project, lead)
    assert job.status == JobStatus.FAILED and "LOCAL_API_KEY is not set" in job.error
    assert not server.asked


@pytest.mark.parametrize("name", ["SECRET_KEY", "DATABASE_URL", KEY, "x_API_KEY", "_API_KEY"])
def test_no_other_secret_of_the_server_can_be_named_as_a_key(db, name):
    with pytest.raises(ValidationError, match="ends in _API_KEY"):
        Endpoint(name="x", base_url="http://localhost/v1", model="m", key_variable=name).full_clean()


# Limits


@pytest.mark.parametrize("concurrency", [1, 4])
def test_the_budget_is_never_exceeded_and_the_job_says_that_it_stopped_there(project, lead, server, concurrency):
    for number in range(40):
        item(project, f"text {number:02}")
    server.seconds = 0.02
    endpoint = make_endpoint(server, concurrency=concurrency)
    set_up(project, lead, server, endpoint=endpoint, budget=Decimal("0.005"))
    job = ask(project, lead)
    money, _ = suggestions.spent(project.pk)
    assert job.status == JobStatus.FINISHED and job.budget_reached
    assert Decimal("0.002") < money <= Decimal("0.005")
    assert "Stopped at the budget: " in job.message and "texts not asked" in job.message
    assert money == Decimal("0.0002") * len(server.asked)
    # Nothing can be sent for what is left, and raising the budget goes on with the rest.
    asked = len(server.asked)
    again = ask(project, lead)
    assert again.budget_reached and len(server.asked) - asked == 0
    suggestions.change(project, lead, budget=Decimal("1"))
    assert ask(project, lead).done == 40 - asked
    assert set(server.counts().values()) == {1}


def test_a_budget_in_tokens_holds_too(project, lead, server):
    for number in range(30):
        item(project, f"text {number:02}")
    set_up(project, lead, server, budget=None, budget_tokens=4_000)
    job = ask(project, lead)
    _, tokens = suggestions.spent(project.pk)
    assert job.budget_reached and 2_000 < tokens <= 4_000


def test_timeouts_cannot_push_the_costs_over_the_budget(project, lead, server):
    for number in range(4):
        item(project, f"text {number}")
    server.default = late(3, answer(GOOD))
    endpoint = make_endpoint(server, timeout_seconds=1, concurrency=2)
    set_up(project, lead, server, endpoint=endpoint, budget=Decimal("0.012"))
    ask(project, lead)
    money, _ = suggestions.spent(project.pk)
    each = max(Suggestion.objects.values_list("cost", flat=True)) / max(
        Suggestion.objects.values_list("requests", flat=True)
    )
    assert money <= Decimal("0.012")
    assert len(server.asked) * each <= Decimal("0.0125")
    assert "budget does not allow another one" in Suggestion.objects.filter(status="failed").first().reason


def test_a_used_up_budget_starts_nothing(project, lead, server):
    item(project)
    set_up(project, lead, server)
    ask(project, lead)
    suggestions.change(project, lead, budget=Decimal("0.0001"))
    item(project, "one more")
    with pytest.raises(ValidationError, match="used up"):
        suggestions.start(project, lead)


def test_requests_keep_to_the_rate_and_to_the_number_at_once(project, lead, server):
    for number in range(8):
        item(project, f"text {number}")
    server.seconds = 0.5
    set_up(project, lead, server, endpoint=make_endpoint(server, concurrency=3), rate_per_minute=600)
    ask(project, lead)
    gaps = [later - before for before, later in zip(server.times, server.times[1:], strict=False)]
    assert server.most_at_once <= 3
    assert server.times[-1] - server.times[0] >= 0.65  # 7 gaps of 0.1 s
    assert min(gaps) > 0.05


# Stopping and going on


def test_a_stopped_job_keeps_its_answers_and_the_next_asks_for_the_rest_only(project, lead, server):
    for number in range(30):
        item(project, f"text {number}")
    server.seconds = 0.05
    set_up(project, lead, server, endpoint=make_endpoint(server, concurrency=2))
    job = suggestions.start(project, lead)
    seen = []
    tick = suggestions.Asking.tick

    def stop_after_ten(self):
        if self.done >= 10 and not seen:
            seen.append(self.done)
            SuggestionJob.objects.get(pk=job.pk).request_cancel()
        self.reported = 0
        tick(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suggestions.Asking, "tick", stop_after_ten)
        jobs.execute(SuggestionJob.objects, job.pk, suggestions.run)
    job.refresh_from_db()
    assert job.status == JobStatus.CANCELLED
    answered = Suggestion.objects.filter(status="ok").count()
    assert 10 <= answered < 20
    assert answered == len(server.asked), "answers on their way were taken"
    assert not Suggestion.objects.filter(status="asked").exists()
    ask(project, lead)
    assert set(server.counts().values()) == {1} and len(server.asked) == 30


def test_a_job_lets_others_have_their_turn_and_goes_on(project, lead, server, monkeypatch):
    for number in range(20):
        item(project, f"text {number}")
    server.seconds = 0.1
    monkeypatch.setattr(suggestions, "TURN", 0.3)
    sent = []
    monkeypatch.setattr(jobs, "send", lambda task, pk: sent.append(pk))
    set_up(project, lead, server, endpoint=make_endpoint(server, concurrency=2))
    job = suggestions.start(project, lead)
    for _ in range(20):
        jobs.execute(SuggestionJob.objects, job.pk, suggestions.run)
        job.refresh_from_db()
        if job.status == JobStatus.FINISHED:
            break
        assert job.status == JobStatus.QUEUED
    assert job.status == JobStatus.FINISHED and job.attempt > 1
    assert len(sent) == job.attempt - 1
    assert (job.done, job.total) == (20, 20)
    assert set(server.counts().values()) == {1}


def test_a_job_that_was_taken_over_writes_nothing(project, lead, server):
    one = item(project)
    set_up(project, lead, server)
    job = suggestions.start(project, lead)
    old = SuggestionJob.objects.claim(job.pk)
    asking = suggestions.Asking(old)
    request = asking.take()
    SuggestionJob.objects.filter(pk=job.pk).update(attempt=old.attempt + 1)
    with pytest.raises(jobs.LeaseLost):
        asking.store(request, suggestions.Answer(text=json.dumps(GOOD), model="m"))
    assert Suggestion.objects.get(item=one).status == "asked"


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_real_worker_that_is_killed_asks_for_nothing_twice_that_was_answered(server, worker):
    lead = UserFactory(username="lea")
    project = ProjectFactory(lead=lead)
    for number in range(60):
        item(project, f"text {number}")
    server.seconds = 0.3
    env = {"JOB_LEASE_SECONDS": "2", "LOCAL_API_KEY": KEY}
    first_worker = worker("default", env=env)
    endpoint = make_endpoint(server, concurrency=4, key_variable="LOCAL_API_KEY")
    set_up(project, lead, server, endpoint=endpoint)
    job = suggestions.start(project, lead)
    assert wait_until(lambda: Suggestion.objects.filter(status="ok").count() > 10, 90)
    first_worker.kill()
    answered = set(Suggestion.objects.filter(status="ok").values_list("item__text", flat=True))
    open_rows = Suggestion.objects.filter(status="asked")
    assert open_rows.exists() and all(row.cost > 0 for row in open_rows)
    second = worker("default", env=env)
    assert wait_until(jobs.requeue_silent, 15)
    assert wait_until(lambda: not SuggestionJob.objects.get(pk=job.pk).is_active, 90)
    job.refresh_from_db()
    assert (job.status, job.attempt, job.done) == (JobStatus.FINISHED, 2, 60)
    assert Suggestion.objects.filter(status="ok").count() == 60
    assert all(server.counts()[text] == 1 for text in answered)
    assert KEY not in first_worker.log.read_text() + second.log.read_text()


# Setting up


@pytest.mark.parametrize(
    ("values", "field", "sentence"),
    [
        ({"template": "no place for it"}, "template", "exactly once"),
        ({"template": "{text}{text}{dimensions}"}, "template", "exactly once"),
        ({"template": "{text} only"}, "template", "must hold {dimensions}"),
        ({"template": "{text}{dimensions}\x00"}, "template", "null byte"),
        ({"with_labels": False, "with_rewrite": False}, "with_labels", "labels, the rewrite, or both"),
        ({"answer_format": "text"}, "answer_format", "holds no labels"),
        ({"max_tokens": 0}, "max_tokens", "at least 1"),
        ({"withheld_percent": 101}, "withheld_percent", "less than or equal to 100"),
        ({"rate_per_minute": 0}, "rate_per_minute", "greater than or equal to 1"),
        ({"budget": None}, "budget", "Give a budget"),
        ({"budget": Decimal("-1")}, "budget", "greater than or equal to 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(project, lead, server, values, field, sentence):
    with pytest.raises(ValidationError) as refused:
        set_up(project, lead, server, **values)
    assert sentence in str(refused.value.message_dict[field])
    assert not SuggestionPrompt.objects.exists() and not Event.objects.exists()


def test_a_source_that_is_not_offered_cannot_be_chosen(project, lead, server):
    endpoint = make_endpoint(server, is_active=False)
    for source in (("endpoint", endpoint.pk), ("endpoint", 9**9), ("http://inner", 1), ("run", 1)):
        with pytest.raises(ValidationError, match="Choose one of the sources"):
            suggestions.change(project, lead, source=source, budget=Decimal(1))


def test_a_changed_prompt_is_a_new_version_and_other_settings_are_not(project, lead, server):
    row = set_up(project, lead, server)
    assert suggestions.change(project, lead, withheld_percent=50).prompt == row.prompt
    second = suggestions.change(project, lead, max_tokens=500).prompt
    assert (second.number, second.template) == (2, row.prompt.template)
    project.dimensions.filter(key="harm").update(levels=["low", "high"])
    item(project)
    job = suggestions.start(project, lead)
    assert job.prompt.number == 3
    assert "harm: low, high" in suggestion_prompts.render(job.prompt, "x")
    logged = Event.objects.filter(action="suggestions.changed").order_by("pk")
    assert logged[1].before == {"withheld_percent": 0} and logged[1].after == {"withheld_percent": 50}
    assert set(logged.values_list("action", flat=True)) <= events.ACTIONS.keys()


def test_braces_in_a_text_do_not_change_the_prompt(project, lead, server):
    prompt = set_up(project, lead, server).prompt
    rendered = suggestion_prompts.render(prompt, "{dimensions} {text} {answer} \\1 {x}")
    assert rendered.endswith("Text:\n{dimensions} {text} {answer} \\1 {x}")


def test_new_texts_are_asked_for_by_themselves_where_the_project_says_so(project, lead, server):
    item(project)
    set_up(project, lead, server)
    assert suggestions.start_for_new_texts() == 0
    suggestions.change(project, lead, automatic=True)
    assert suggestions.start_for_new_texts() == 1
    assert suggestions.start_for_new_texts() == 0, "it is waiting"
    job = SuggestionJob.objects.get()
    jobs.execute(SuggestionJob.objects, job.pk, suggestions.run)
    assert suggestions.start_for_new_texts() == 0, "nothing came since"
    item(project)
    assert suggestions.start_for_new_texts() == 1
    suggestions.switch(project, lead, False)
    item(project)
    assert suggestions.start_for_new_texts() == 0
