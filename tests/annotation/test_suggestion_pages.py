"""Leads set suggestions up, ask for them and read about them, in pages and through the API."""

import json
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from annotation import exports, jobs, suggestion_prompts, suggestion_reports, suggestions, work
from annotation.jobs import JobStatus
from annotation.models import Event, Export, SuggestionJob, SuggestionReport, SuggestionSettings
from tests.factories import (
    EndpointFactory,
    ItemFactory,
    ProjectFactory,
    SuggestionFactory,
    UserFactory,
    set_up_suggestions,
)

pytestmark = pytest.mark.django_db
LABELS = {"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"}
MARKUP = "<script>alert(1)</script> שלום"


@pytest.fixture
def lead(client):
    person = UserFactory(username="lea")
    client.force_login(person)
    return person


@pytest.fixture
def project(lead):
    return ProjectFactory(lead=lead, annotator=lead, overlap=1)


def url(name, row):
    return reverse(f"annotation:{name}", args=[row.pk])


def form_values(endpoint, **values):
    return {
        **{"source": f"endpoint:{endpoint.pk}", "with_labels": "on", "with_rewrite": "on", "answer_format": "json"},
        **{"max_tokens": "800", "template": suggestion_prompts.default_template(), "is_on": "on"},
        **{"withheld_percent": "25", "rate_per_minute": "30", "budget": "2.5", "budget_tokens": ""},
        **values,
    }


def test_before_anything_is_set_up_the_page_says_what_it_is_for(client, project):
    page = client.get(url("suggestions", project)).content.decode()
    assert "No model is asked yet" in page and "There is no source yet" in page
    assert "There is no source yet" in client.get(url("suggestion-settings", project)).content.decode()


def test_a_lead_sets_up_previews_and_changes(client, project, lead):
    endpoint = EndpointFactory(name="Ours <b>", base_url="http://inner.example:1/v1", key_variable="OURS_API_KEY")
    EndpointFactory(name="Hidden", is_active=False)
    item = ItemFactory(project=project, text=MARKUP)
    settings_url = url("suggestion-settings", project)
    form = client.get(settings_url).content.decode()
    assert "Ours &lt;b&gt; (tiny)" in form and "Hidden" not in form
    assert "inner.example" not in form and "OURS_API_KEY" not in form
    preview = client.post(settings_url, form_values(endpoint, preview="yes"))
    shown = preview.content.decode()
    assert preview.status_code == 200 and "&lt;script&gt;alert(1)" in shown and "<script>alert" not in shown
    assert "- bias: none, slight, high" in shown and item.external_id in shown
    assert not SuggestionSettings.objects.exists()
    assert client.post(settings_url, form_values(endpoint)).url == url("suggestions", project)
    row = SuggestionSettings.objects.get()
    assert (row.withheld_percent, row.budget, row.rate_per_minute, row.automatic) == (25, Decimal("2.5"), 30, False)
    assert (row.prompt.number, row.prompt.max_tokens, row.prompt.created_by) == (1, 800, lead)
    page = client.get(url("suggestions", project)).content.decode()
    assert "all but 25 %, drawn at random" in page and "2.5 USD" in page and "version 1" in page
    assert client.get(settings_url).content.decode().count("selected") >= 1


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"template": "keep what I typed"}, "exactly once"),
        ({"source": "endpoint:999"}, "Select a valid choice"),
        ({"source": "run:1"}, "Select a valid choice"),
        ({"budget": ""}, "Give a budget in money or in tokens"),
        ({"withheld_percent": "101"}, "less than or equal to 100"),
        ({"max_tokens": "99999"}, "at most 32,000 tokens"),
        ({"answer_format": "text"}, "holds no labels"),
        ({"rate_per_minute": "x"}, "Enter a whole number"),
        ({"template": "nowhere", "budget": ""}, "Give a budget in money or in tokens"),
    ],
)
def test_a_form_that_makes_no_sense_comes_back_with_everything_typed(client, project, values, sentence):
    answer = client.post(url("suggestion-settings", project), form_values(EndpointFactory(), **values))
    page = answer.content.decode()
    assert answer.status_code == 422 and sentence in page
    assert (values.get("template", "") in page and 'value="25"' in page) or "withheld_percent" in values
    assert not SuggestionSettings.objects.exists()


def test_a_default_prompt_follows_what_is_asked_for(client, project):
    endpoint = EndpointFactory()
    values = form_values(endpoint)
    del values["with_labels"]
    client.post(url("suggestion-settings", project), values)
    prompt = SuggestionSettings.objects.get().prompt
    assert prompt.template == suggestion_prompts.default_template(with_labels=False)
    assert '"labels"' not in suggestion_prompts.render(prompt, "x")


def test_a_lead_asks_stops_and_switches_off(client, project, lead):
    set_up_suggestions(project, lead)
    client.post(url("suggestion-start", project))
    page = client.get(url("suggestions", project)).content.decode()
    assert "There is no text to ask for" in page
    ItemFactory.create_batch(3, project=project)
    client.post(url("suggestion-start", project), {"scope": "missing"})
    job = SuggestionJob.objects.get()
    page = client.get(url("suggestions", project)).content.decode()
    assert url("suggestion-job-progress", job) in page and "Waiting" in page
    client.post(url("suggestion-start", project))
    assert "being asked for already" in client.get(url("suggestions", project)).content.decode()
    client.post(url("suggestion-job-cancel", job))
    job.refresh_from_db()
    assert job.status == JobStatus.CANCELLED
    assert client.get(url("suggestion-job-progress", job))["HX-Refresh"] == "true"
    client.post(url("suggestion-switch", project), {"on": "no"})
    assert not SuggestionSettings.objects.get().is_on
    assert "Show suggestions again" in client.get(url("suggestions", project)).content.decode()
    actions = list(Event.objects.order_by("pk").values_list("action", flat=True))
    assert actions == ["suggestions.changed", "suggestions.started", "suggestions.changed"]
    assert "asked for suggestions" in client.get(url("log", project)).content.decode()


def test_answers_are_listed_with_their_reasons_and_as_text(client, project):
    for number in range(25):
        values = {"status": "malformed", "reason": "The answer is not JSON.", "answer": MARKUP, "labels": {}}
        SuggestionFactory(item=ItemFactory(project=project), model=f"m{number}", **(values if number % 2 else {}))
    page = client.get(url("suggestions", project)).content.decode()
    assert "&lt;script&gt;alert(1)" in page and "<script>alert" not in page
    assert page.count("The answer is not JSON.") == 3
    first = client.get(url("suggestion-answers", project), {"status": "malformed"}).content.decode()
    assert first.count("The answer is not JSON.") == 12 and ">m24<" not in first
    everything = client.get(url("suggestion-answers", project)).content.decode()
    assert everything.count('class="badge') >= 20 and "Next page" in everything
    assert client.get(url("suggestion-answers", project), {"status": "'", "after": "x"}).status_code == 200


def test_the_pages_cost_the_same_for_many_answers(client, project):
    counts = []
    for _ in range(2):
        for _ in range(5):
            SuggestionFactory(item=ItemFactory(project=project), status="malformed")
        row = []
        for name in ("suggestions", "suggestion-answers"):
            with CaptureQueriesContext(connection) as queries:
                client.get(url(name, project))
            row.append(len(queries))
        counts.append(row)
    assert counts[0] == counts[1]


def test_a_source_that_is_gone_is_named_and_suggestions_can_still_be_switched_off(client, project, lead):
    endpoint = EndpointFactory(name="Gone")
    set_up_suggestions(project, lead, endpoint)
    endpoint.is_active = False
    endpoint.save()
    assert "can no longer be used" in client.get(url("suggestions", project)).content.decode()
    client.post(url("suggestion-switch", project), {"on": "no"})
    assert not SuggestionSettings.objects.get().is_on


def some_annotations(project, lead):
    for _ in range(6):
        SuggestionFactory(item=ItemFactory(project=project))
        assignment = work.next_assignment(lead, project)
        work.submit(lead, assignment.pk, {"labels": LABELS, "rewrite": "Some of them rest.", "active_seconds": 30})


def test_the_report_is_computed_on_request_and_shown(client, project, lead):
    client.post(url("suggestion-report", project))
    assert "Nobody has annotated" in client.get(url("suggestions", project)).content.decode()
    set_up_suggestions(project, lead, withheld_percent=50)
    some_annotations(project, lead)
    assert client.post(url("suggestion-report", project), {"prompt": "1"}).url.endswith("#effects")
    report = SuggestionReport.objects.get()
    waiting = client.get(url("suggestions", project)).content.decode()
    assert url("suggestion-report-progress", report) in waiting
    jobs.execute(SuggestionReport.objects, report.pk, suggestion_reports.run)
    page = client.get(url("suggestions", project)).content.decode()
    assert "Bias: label as suggested" in page and "<svg" in page and "automation bias" in page
    assert "over 6 annotations" in page
    figure = client.get(url("suggestion-report-figure", report))
    assert figure["Content-Type"] == "image/svg+xml" and b"<svg" in figure.content
    some_annotations(project, lead)
    assert "6 more came since" in client.get(url("suggestions", project)).content.decode()


def test_a_lead_does_the_same_through_the_api(client, project, lead):
    def call(method, path, **data):
        return getattr(client, method)(f"/api/{path}", data, content_type="application/json")

    endpoint = EndpointFactory(name="Ours", base_url="http://inner.example/v1", key_variable="OURS_API_KEY")
    settings_path = f"suggestion-settings/{project.pk}/"
    assert call("get", settings_path).status_code == 404
    sources = client.get(f"/api/{settings_path}sources/").json()
    assert [(row["kind"], row["id"]) for row in sources] == [("endpoint", endpoint.pk)]
    assert "inner.example" not in json.dumps(sources)
    refused = call("patch", settings_path, source_kind="endpoint", source_id=endpoint.pk)
    assert refused.status_code == 400 and "Give a budget" in refused.json()["budget"][0]
    assert call("patch", settings_path, source_kind="endpoint").json() == {
        "source_id": "Give source_kind and source_id together."
    }
    made = call(
        "patch", settings_path, source_kind="endpoint", source_id=endpoint.pk, budget="5", withheld_percent=10
    ).json()
    assert (made["budget"], made["withheld_percent"], made["prompt"]["number"]) == ("5.00000000", 10, 1)
    assert made["counts"]["ok"] == 0
    assert call("patch", settings_path, template="{text}").json()["template"][0].startswith("The prompt template must")
    item = ItemFactory(project=project, text="Hello {text}.")
    preview = client.get(f"/api/{settings_path}preview/", {"item": item.pk}).json()
    assert preview.endswith("Text:\nHello {text}.")
    job = call("post", "suggestion-jobs/", project=project.pk)
    assert (job.status_code, job.json()["scope"]) == (201, "missing")
    assert call("post", f"suggestion-jobs/{job.json()['id']}/cancel/").json()["status"] == "cancelled"
    given = SuggestionFactory(item=item, prompt=SuggestionSettings.objects.get().prompt)
    listed = client.get("/api/suggestions/", {"project": project.pk, "status": "ok"}).json()["results"]
    assert [row["id"] for row in listed] == [given.pk] and listed[0]["labels"] == LABELS
    assert client.get("/api/suggestions/", {"status": "malformed"}).json()["results"] == []
    assert call("post", "suggestion-reports/", project=project.pk).status_code == 400
    some_annotations(project, lead)
    report = call("post", "suggestion-reports/", project=project.pk).json()
    jobs.execute(SuggestionReport.objects, report["id"], suggestion_reports.run)
    results = client.get(f"/api/suggestion-reports/{report['id']}/").json()["results"]
    assert results["counts"]["annotations"] >= 6 and results["rows"][0]["key"] == "accepted:bias"
    assert suggestions.settings_of(project).seed == made["seed"]


def test_every_answer_is_exported_without_a_trace_of_the_key(client, project, lead):
    endpoint = EndpointFactory(base_url="http://inner.example/v1", key_variable="OURS_API_KEY")
    set_up_suggestions(project, lead, endpoint)
    good = SuggestionFactory(item=ItemFactory(project=project, text=MARKUP), cost=Decimal("0.0002"))
    SuggestionFactory(item=ItemFactory(project=project), status="malformed", reason="=1+1", labels={}, answer="@x")
    rows = {}
    for file_format in ("csv", "jsonl"):
        export = exports.create(project, lead, kind="suggestions", file_format=file_format)
        jobs.execute(Export.objects, export.pk, exports.run)
        answer = client.get(url("export-download", export))
        rows[file_format] = b"".join(answer.streaming_content).decode()
    first, second = map(json.loads, rows["jsonl"].splitlines())
    assert (first["id"], first["bias"], first["text"], first["cost"]) == (good.pk, "high", MARKUP, 0.0002)
    assert (second["status"], second["reason"], second["bias"]) == ("malformed", "=1+1", "")
    assert "'=1+1" in rows["csv"] and "'@x" in rows["csv"]
    assert "inner.example" not in str(rows) and "OURS_API_KEY" not in str(rows)
