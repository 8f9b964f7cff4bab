"""The lead's pages: what they show, who may open them, and that nothing typed is lost."""

import html
import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from annotation import imports, jobs, pairs, projects, work
from annotation.models import Annotation, Export, Item, ItemImport, Pair, PairStatus, Project, RejectedRow, Role
from tests.factories import ItemFactory, MembershipFactory, PairFactory, ProjectFactory, UserFactory

pytestmark = pytest.mark.django_db

LABELS = {"bias": "high", "toxicity": "mild", "harm": "medium", "sentiment": "negative"}
HOSTILE = [
    "<script>alert(1)</script></textarea>\"'><img src=x onerror=alert(2)>",
    "هؤلاء كسالى \u202e abc",
    "👩‍👩‍👧 {% now %} {{ x }} 🙃",
    "long " * 20_000,
]


@pytest.fixture(autouse=True)
def _media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def lead(client):
    user = UserFactory(username="lea")
    client.force_login(user)
    return user


@pytest.fixture
def project(lead):
    return ProjectFactory(lead=lead, overlap=2)


def url(name, *args):
    return reverse(f"annotation:{name}", args=args)


def page(client, name, *args, **query):
    answer = client.get(url(name, *args), query)
    assert answer.status_code == 200
    return answer.content.decode()


def annotate(item, rewrite="Kinder.", **labels):
    user = MembershipFactory(project=item.project, role=Role.ANNOTATOR).user
    assignment = work.next_assignment(user, item.project)
    assert assignment.item == item
    content = {"labels": LABELS | labels, "rewrite": rewrite, "spans": [{"start": 0, "end": 2}], "comment": "Hm & so"}
    return work.submit(user, assignment.pk, content)


def proposed(project, **labels):
    """A pair that two annotators made."""
    item = ItemFactory(project=project)
    annotate(item, "One <b>way</b>.")
    annotate(item, "Another way.", **labels)
    return item.pair


def visible(markup):
    return html.unescape(re.sub(r"<[^>]+>", "", markup))


# Home and overview


def test_home_lists_ones_projects_with_roles_and_progress(client, project):
    ItemFactory.create_batch(2, project=project)
    ProjectFactory(name="Not mine")
    text = page(client, "home")
    assert project.name in text and "Not mine" not in text
    assert "0 of 4 annotations (0 %) on 2 texts, 0 complete" in visible(text)


def test_a_person_without_projects_is_told_what_to_do(client):
    client.force_login(UserFactory(username="ada"))
    assert "adds you by your username, ada" in visible(page(client, "home"))


def test_only_those_who_may_create_projects_see_the_button(client, lead):
    assert "New project" not in page(client, "home")
    assert client.get(url("new-project")).status_code == 403
    admin = UserFactory(is_superuser=True, is_staff=True)
    client.force_login(admin)
    assert url("new-project") in page(client, "home")


def test_the_overview_shows_each_role_its_own(client, project):
    annotate(ItemFactory(project=project))
    annotator = project.memberships.get(role=Role.ANNOTATOR).user
    text = page(client, "project", project.pk)
    assert annotator.username in text and url("members", project.pk) in text
    client.force_login(annotator)
    text = page(client, "project", project.pk)
    for name in ("members", "imports", "exports", "edit-project", "pairs", "items"):
        assert url(name, project.pk) not in text
    assert url("annotate", project.pk) in text and "Shown to leads only" not in text


def test_guidelines_are_rendered_safely(client, project):
    project.guidelines = "# Kind\n\n<img src=x onerror=alert(1)>\n\n[a](javascript:alert(1)) | b"
    project.save()
    text = page(client, "project", project.pk)
    assert "<h1>Kind</h1>" in text
    assert "<img src=x" not in text and 'href="javascript' not in text


# Settings


def settings_form(project=None, **values):
    rows = list(project.dimensions.values("key", "name", "levels")) if project else []
    form = {
        "name": "Round 3",
        "guidelines": "",
        "content_warning": "",
        "overlap": "2",
        "lease_minutes": "60",
        **{"content_kinds": "", "pause_after": "10", "daily_limit": "0", "daily_severe_limit": "0"},
        "votes_per_rewrite": "2",
        "voted_rewrites": "proposed",
        "dimensions-TOTAL_FORMS": str(len(rows) + 1),
        "dimensions-INITIAL_FORMS": str(len(rows)),
        f"dimensions-{len(rows)}-name": "",
        f"dimensions-{len(rows)}-levels": "",
    }
    for number, row in enumerate(rows):
        form |= {
            f"dimensions-{number}-key": row["key"],
            f"dimensions-{number}-name": row["name"],
            f"dimensions-{number}-levels": ", ".join(row["levels"]),
        }
    return form | values


def test_a_project_is_made_from_the_form_as_it_comes(client):
    client.force_login(UserFactory(is_superuser=True))
    text = page(client, "new-project")
    fields = re.findall(r'<input[^>]* name="([^"]+)"(?:[^>]* value="([^"]*)")?', text)
    fields += re.findall(r'<select[^>]* name="([^"]+)".*?<option value="([^"]*)" selected', text, re.DOTALL)
    form = {name: html.unescape(value) for name, value in fields if "DELETE" not in name} | {"name": "First"}
    answer = client.post(url("new-project"), form)
    project = Project.objects.get()
    assert answer.url == url("project", project.pk)
    assert project.dimensions.get(key="bias").levels == ["none", "slight", "high"]


def test_settings_are_changed_and_a_dimension_added_and_removed(client, project):
    form = settings_form(project) | {
        "dimensions-1-DELETE": "on",
        "dimensions-4-name": "Tone",
        "dimensions-4-levels": " calm,loud , ",
    }
    assert client.post(url("edit-project", project.pk), form).url == url("project", project.pk)
    project.refresh_from_db()
    assert project.name == "Round 3"
    keys = [dimension.key for dimension in project.dimensions.all()]
    assert keys == ["bias", "harm", "sentiment", "tone"]
    assert project.dimensions.get(key="tone").levels == ["calm", "loud"]


def test_refused_settings_come_back_as_typed_with_every_reason(client, project):
    annotate(ItemFactory(project=project))
    form = settings_form(project) | {
        "name": "<i>New name",
        "guidelines": "typed </textarea> text",
        "dimensions-0-levels": "none, slight, extreme",
    }
    answer = client.post(url("edit-project", project.pk), form)
    text = answer.content.decode()
    assert answer.status_code == 422
    assert "Bias: the level 'high' is in use by 1 annotation and 0 pairs" in html.unescape(text)
    for typed in ("<i>New name", "typed </textarea> text", "none, slight, extreme"):
        assert html.escape(typed) in text
    form = settings_form(project, overlap="0", name="")
    text = client.post(url("edit-project", project.pk), form).content.decode()
    assert "greater than or equal to 1" in text and "This field is required" in text


# People


def test_people_are_added_changed_and_removed(client, project, lead):
    user = UserFactory(username="ben")
    client.post(url("members", project.pk), {"person": "ben", "roles": ["annotator", "trainer"]})
    assert set(project.memberships.filter(user=user).values_list("role", flat=True)) == {"annotator", "trainer"}
    client.post(url("member", project.pk, user.pk), {"roles": ["trainer"]})
    assert project.memberships.get(user=user).role == "trainer"
    text = client.post(url("member", project.pk, user.pk), {}, follow=True).content.decode()
    assert "Choose at least one role" in text
    client.post(url("member", project.pk, user.pk), {"remove": "yes"})
    assert not project.memberships.filter(user=user).exists()
    text = client.post(url("member", project.pk, lead.pk), {"remove": "yes"}, follow=True).content.decode()
    assert "last lead" in html.unescape(text)
    assert client.post(url("member", project.pk, UserFactory().pk), {"remove": "yes"}).status_code == 404


def test_a_refused_person_is_shown_as_typed(client, project):
    answer = client.post(url("members", project.pk), {"person": "<b>who", "roles": ["annotator"]})
    assert answer.status_code == 422
    assert 'value="&lt;b&gt;who"' in answer.content.decode()


# Imports


def upload(client, project, content=b"text\nfirst\n,\n", name="texts.csv", **values):
    form = {"file": SimpleUploadedFile(name, content), "with_pairs": "on"} | values
    return client.post(url("imports", project.pk), form)


def test_an_upload_becomes_a_job_whose_page_ends_with_counts_and_rejected_rows(client, project):
    answer = upload(client, project, b"text,note\nfirst,x\n,<script>y\n")
    job = ItemImport.objects.get()
    assert answer.url == url("import", job.pk)
    text = page(client, "import", job.pk)
    assert "hx-get" in text and "Waiting" in text
    progress = client.get(url("import-progress", job.pk))
    assert "HX-Refresh" not in progress.headers and "<html" not in progress.content.decode()
    jobs.execute(ItemImport.objects, job.pk, imports.run)
    assert client.get(url("import-progress", job.pk)).headers["HX-Refresh"] == "true"
    text = page(client, "import", job.pk)
    assert "hx-get" not in text
    assert "1 text imported, 1 row rejected." in text
    assert "The text is empty." in text and "<script>y" not in text
    rows = b"".join(client.get(url("import-rejected", job.pk)).streaming_content).decode()
    assert rows.splitlines()[:2] == ["row,field,reason,excerpt", "3,text,The text is empty.,<script>y"]


def test_rejected_rows_are_paged_and_their_download_is_safe(client, project):
    job = ItemImport.objects.create(project=project, created_by=project.created_by, file_name="a", file_format="csv")
    RejectedRow.objects.bulk_create(
        RejectedRow(item_import=job, row=number, reason=f"Reason {number}.", excerpt="=1+1") for number in range(150)
    )
    text = page(client, "import", job.pk)
    assert "Reason 99." in text and "Reason 100." not in text
    after = re.search(r"\?after=(\d+)", text)[1]
    assert "Reason 149." in page(client, "import", job.pk, after=after)
    rows = b"".join(client.get(url("import-rejected", job.pk)).streaming_content).decode()
    assert rows.count("\r\n") == 151 and ",'=1+1\r\n" in rows


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"", "a.csv", "The file is empty."),
        (b"text\nx\n", "a.xlsx", "choose the format yourself"),
        (b"text\nx\n" * 300, "a.csv", "The file is larger than 0 MB."),
    ],
)
def test_an_upload_that_cannot_be_taken_is_refused_at_once(client, project, settings, content, name, words):
    settings.MAX_UPLOAD_BYTES = 1_000
    answer = upload(client, project, content, name)
    assert (answer.status_code, words in html.unescape(answer.content.decode())) == (422, True)
    assert not ItemImport.objects.exists()


PAST = (
    b"id,body,annotator,offensive,<b>topic\n"
    b"1,They lie.,ada,2,work\n1,They lie.,7,x,work\n2,Fine.,ada,0,<script>alert(1)</script>\n"
)


def test_a_file_with_annotations_shows_its_columns_and_imports_when_they_are_confirmed(client, project):
    member = MembershipFactory(project=project, user=UserFactory(username="ada")).user
    upload(client, project, PAST, "past.csv")
    job = ItemImport.objects.get()
    jobs.execute(ItemImport.objects, job.pk, imports.run)
    text = page(client, "import", job.pk)
    assert "Waits for you" in text and "hx-get" not in text and "Stop</button>" in text
    assert "&lt;b&gt;topic" in text and "<script>alert" not in text
    form = {
        **{"column-0": "external_id", "column-1": "text", "column-2": "annotator", "column-3": "label:toxicity"},
        **{"column-4": "metadata", "person-0": "ada", "person-1": "", "incomplete": "take"},
    }
    answer = client.post(url("import", job.pk), form)  # its values were not shown before
    assert "say which level each of its values means" in answer.content.decode()
    assert not project.items.exists()
    shown = {"shown-3": "label:toxicity", "value-3-0": "severe", "value-3-1": "", "value-3-2": "none"}
    bad = client.post(url("import", job.pk), form | shown | {"column-4": "text"})
    assert bad.status_code == 422 and "cannot both be" in html.unescape(bad.content.decode())
    assert client.post(url("import", job.pk), form | shown | {"column-4": "nonsense"}).status_code == 422
    answer = client.post(url("import", job.pk), form | shown)
    assert answer.url == url("import", job.pk)
    jobs.execute(ItemImport.objects, job.pk, imports.run)
    assert [one.labels for one in Annotation.objects.filter(annotator=member).order_by("pk")] == [
        {"toxicity": "severe"},
        {"toxicity": "none"},
    ]
    text = html.unescape(page(client, "import", job.pk))
    assert "2 texts imported, 3 annotations by 2 annotators, 0 rows rejected." in text
    assert "3 annotations without a label for every dimension." in text
    assert "Values of offensive that are no level, kept beside the annotations: “x” (1)." in text
    assert Annotation.objects.get(labels={}).imported.values["offensive"] == "x"
    again = client.post(url("import", job.pk), form | shown, follow=True).content.decode()
    assert "does not wait for an answer" in again


def test_a_waiting_import_can_be_stopped(client, project):
    upload(client, project)
    job = ItemImport.objects.get()
    client.post(url("import-cancel", job.pk))
    jobs.execute(ItemImport.objects, job.pk, imports.run)
    job.refresh_from_db()
    assert (job.status, Item.objects.count()) == ("cancelled", 0)


# Texts


def test_texts_are_filtered_by_progress_and_searched(client, project):
    done, begun, fresh = (ItemFactory(project=project, external_id=name) for name in ("done-1", "begun-2", "fresh-3"))
    annotate(done)
    annotate(done)
    annotate(begun)
    ItemFactory(external_id="foreign-4")

    def found(**query):
        return set(re.findall(r"(?:done|begun|fresh|foreign)-\d", page(client, "items", project.pk, **query)))

    assert found() == {"done-1", "begun-2", "fresh-3"}
    assert found(state="untouched") == {"fresh-3"}
    assert found(state="open") == {"begun-2", "fresh-3"}
    assert found(state="complete") == found(state="unsettled") == {"done-1"}
    assert found(q="BEGUN") == {"begun-2"}
    assert found(q="\x00") == found(state="nonsense") == found(after="x") == {"done-1", "begun-2", "fresh-3"}
    pairs.reject(done.pair, project.created_by, version=done.pair.version, reason="No.")
    assert "No text matches" in page(client, "items", project.pk, state="unsettled")
    assert fresh.external_id in found(q=fresh.text)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_shown_as_text_everywhere(client, project, text):
    item = ItemFactory(project=project, text=text, metadata={"note": "<script>bad()</script>"})
    rewrite = text[:99_000] + "!"
    annotate(item, rewrite)
    annotate(item, "")
    for name, pk in (("item", item.pk), ("pair", item.pair.pk), ("items", project.pk), ("pairs", project.pk)):
        markup = page(client, name, pk)
        assert "<script>alert" not in markup and "<script>bad" not in markup and "<img" not in markup
    assert html.escape(text) in page(client, "item", item.pk)
    assert f'data-rewrite="{html.escape(rewrite)}"' in page(client, "pair", item.pair.pk)


def test_annotations_stand_side_by_side_with_differences_marked(client, project):
    item = ItemFactory(project=project)
    annotate(item, "Some are lazy.")
    annotate(item, "Some work less.", bias="none", toxicity="mild")
    text = page(client, "item", item.pk)
    assert text.count('<mark class="level">') == 2  # a tie in one dimension marks both
    assert "<mark>Th</mark>ey" in text
    assert "<del>They " in text and "<ins>Some " in text
    assert "tied" in text and "Hm &amp; so" in text


def test_a_text_can_be_settled_before_everybody_annotated_it(client, project):
    item = ItemFactory(project=project)
    answer = client.post(url("settle-now", item.pk), follow=True)
    assert "Nobody has annotated this text yet" in answer.content.decode()
    annotate(item)
    answer = client.post(url("settle-now", item.pk))
    assert answer.url == url("pair", Pair.objects.get().pk)


# Pairs


def decide(client, pair, action, follow=False, query="", **values):
    form = {"version": pair.version, "action": action} | values
    return client.post(url("pair", pair.pk) + query, form, follow=follow)


def test_the_queue_has_tabs_filters_and_the_most_disputed_first(client, project):
    for level, share in (("none", 0.25), ("high", 0.75)):
        PairFactory(project=project, status=PairStatus.PROPOSED, labels={"bias": level}, contested=share)
    approved = PairFactory(project=project)
    text = page(client, "pairs", project.pk)
    assert text.index("75 of 100") < text.index("25 of 100")
    assert approved.item.external_id not in text
    assert approved.item.external_id in page(client, "pairs", project.pk, status="approved")
    text = page(client, "pairs", project.pk, label="bias:none")
    assert "25 of 100" in text and "75 of 100" not in text
    assert "No pair matches" in page(client, "pairs", project.pk, q="nowhere")
    for query in ({"q": "\x00"}, {"label": "purple"}, {"status": "x"}, {"after": "9" * 30}, {"after": "x"}):
        page(client, "pairs", project.pk, **query)


def test_the_queue_is_paged_by_key(client, project, monkeypatch):
    monkeypatch.setattr("annotation.views.pairs.PAGE_SIZE", 2)
    made = [
        PairFactory(project=project, status=PairStatus.PROPOSED, contested=share).item.external_id
        for share in (0.5, 0.25, 0.5, 0.75, 0.25)
    ]
    seen, after = [], None
    while True:
        text = page(client, "pairs", project.pk, **({"after": after} if after else {}))
        seen += re.findall(r'dir="auto">(text-\d+)</a>', text)
        if not (match := re.search(r"after=(\d+)\" rel", text)):
            break
        after = match[1]
    assert seen == [made[number] for number in (3, 0, 2, 1, 4)]


def test_the_pair_page_is_filled_with_the_majority_and_the_chosen_rewrite(client, project):
    pair = proposed(project, bias="none")
    text = page(client, "pair", pair.pk)
    assert "\nOne &lt;b&gt;way&lt;/b&gt;.</textarea>" in text
    assert re.search(r'name="label-bias" value="" checked', text)  # tied
    assert re.search(r'name="label-harm" value="medium" checked', text)
    other = pair.annotations.order_by("pk").last()
    assert "\nAnother way.</textarea>" in page(client, "pair", pair.pk, use=other.pk)


def test_approving_goes_on_to_the_next_pair_of_the_filtered_queue(client, project, lead):
    first, _, third = (
        PairFactory(project=project, status=PairStatus.PROPOSED, labels={"bias": level}, contested=share)
        for level, share in (("high", 0.9), ("none", 0.8), ("high", 0.7))
    )
    values = {"rewrite": "Settled.", "label-bias": "none", "label-harm": ""}
    answer = decide(client, first, "approve", query="?label=bias:high", **values)
    assert answer.url == f"{url('pair', third.pk)}?label=bias%3Ahigh&settled={first.pk}"
    assert f"{first.item.external_id}: approved. See it again" in visible(client.get(answer.url).content.decode())
    first.refresh_from_db()
    assert (first.status, first.rewrite, first.labels) == ("approved", "Settled.", {"bias": "none"})
    answer = decide(client, third, "reject", query="?label=bias:high", reason="Not a sentence.")
    assert answer.url == f"{url('pairs', project.pk)}?label=bias%3Ahigh&settled={third.pk}"


def test_a_refused_decision_keeps_what_was_typed(client, project):
    pair = proposed(project)
    answer = decide(client, pair, "reject", rewrite="My <b>words", reason=" ", **{"label-bias": "slight"})
    text = answer.content.decode()
    assert answer.status_code == 422
    assert "Say why the pair is rejected" in html.unescape(text)
    assert "My &lt;b&gt;words" in text
    assert re.search(r'name="label-bias" value="slight" checked', text)
    text = decide(client, pair, "approve", rewrite="", **{"label-bias": "purple"}).content.decode()
    assert "needs a rewrite" in text and "no level of bias" in text


@pytest.mark.parametrize(
    "form", [{"version": "x"}, {"version": "1", "chosen": "x"}, {"version": 1, "action": "eat"}, {}]
)
def test_a_form_that_makes_no_sense_changes_nothing(client, project, form):
    pair = proposed(project)
    assert client.post(url("pair", pair.pk), {"rewrite": "a\x00b", **form}).status_code == 422
    pair.refresh_from_db()
    assert pair.status == "proposed"


def test_the_second_lead_is_told_and_finds_their_words(client, project):
    pair = proposed(project)
    other = MembershipFactory(project=project, role=Role.LEAD, user=UserFactory(username="early")).user
    pairs.approve(pair, other, version=pair.version, rewrite="First.", labels={})
    answer = decide(client, pair, "approve", rewrite="What I wrote for ten minutes.")
    text = answer.content.decode()
    assert answer.status_code == 422
    assert "early has settled this pair meanwhile" in text
    assert "What I wrote for ten minutes." in text
    pair.refresh_from_db()
    assert (pair.rewrite, pair.settled_by) == ("First.", other)


def test_a_settled_pair_is_shown_and_can_be_opened_again(client, project, lead):
    pair = proposed(project)
    pair = pairs.reject(pair, lead, version=pair.version, reason="Not <i>a sentence.")
    text = page(client, "pair", pair.pk)
    assert "Not &lt;i&gt;a sentence." in text and 'id="settle"' not in text
    answer = decide(client, pair, "reopen")
    assert answer.url == url("pair", pair.pk) + "?"
    pair.refresh_from_db()
    assert (pair.status, pair.reason) == ("proposed", "")


def test_a_trainer_reads_pairs_and_settles_none(client, project):
    pair = proposed(project)
    client.force_login(MembershipFactory(project=project, role=Role.TRAINER).user)
    assert 'id="settle"' not in page(client, "pair", pair.pk)
    assert decide(client, pair, "approve", rewrite="x").status_code == 403


# Exports


def test_an_export_is_asked_for_in_a_form(client, project):
    form = {"kind": "pairs", "file_format": "alpaca", "status": "approved", "label": "bias:high"}
    answer = client.post(url("exports", project.pk), form)
    job = Export.objects.get()
    assert answer.url == url("export", job.pk)
    assert (job.kind, job.file_format, job.filters) == (
        "pairs",
        "alpaca",
        {"status": "approved", "label": {"bias": "high"}},
    )
    assert "bias: high" in page(client, "export", job.pk)
    assert client.post(url("exports", project.pk), {"kind": "secrets", "file_format": "csv"}).status_code == 422


# Who may open what, and what it costs


def pages_of(project):
    item = ItemFactory(project=project)
    pair = PairFactory(project=project, item=item)
    user = project.created_by
    job = ItemImport.objects.create(project=project, created_by=user, file_name="a", file_format="csv")
    export = Export.objects.create(project=project, created_by=user, kind="pairs", file_format="csv")
    both = {"pairs": project.pk, "pair": pair.pk, "exports": project.pk, "export": export.pk}
    led = {
        "edit-project": project.pk,
        "members": project.pk,
        "items": project.pk,
        "item": item.pk,
        "imports": project.pk,
        "import": job.pk,
        "import-progress": job.pk,
        "import-rejected": job.pk,
    }
    return led, both


def test_pages_answer_by_role(project):
    led, both = pages_of(project)
    expected = {
        Role.LEAD: (200, 200, 200),
        Role.TRAINER: (200, 403, 200),
        Role.ANNOTATOR: (200, 403, 403),
        "stranger": (404, 404, 404),
        "nobody": (302, 302, 302),
    }
    for role, (overview, for_leads, for_both) in expected.items():
        client = Client()
        if role in Role.values:
            client.force_login(MembershipFactory(project=project, role=role).user)
        elif role == "stranger":
            client.force_login(ProjectFactory(lead=UserFactory()).memberships.get().user)
        assert client.get(url("project", project.pk)).status_code == overview
        for names, status in ((led, for_leads), (both, for_both)):
            for name, pk in names.items():
                assert client.get(url(name, pk)).status_code == status, (role, name)


def test_settings_and_decisions_need_the_lead(project):
    led, both = pages_of(project)
    client = Client()
    client.force_login(MembershipFactory(project=project, role=Role.ANNOTATOR).user)
    for name, pk in ({**led, **both, "settle-now": led["item"], "import-cancel": led["import"]}).items():
        if name not in {"items", "item", "pairs", "export", "import", "import-progress", "import-rejected"}:
            assert client.post(url(name, pk), {}).status_code == 403, name


@pytest.mark.parametrize("name", ["home", "items", "pairs", "imports", "exports", "members", "project"])
def test_lists_need_as_many_queries_for_three_rows_as_for_one(client, lead, name):
    counts = []
    for rows in (1, 3):
        projects_made = [ProjectFactory(lead=lead, overlap=1) for _ in range(rows)]
        project = projects_made[0]
        for _ in range(rows):
            MembershipFactory(project=project, role=Role.TRAINER)
            pair = PairFactory(project=project, status=PairStatus.PROPOSED)
            assert pair.item.project == project
            ItemImport.objects.create(project=project, created_by=UserFactory(), file_name="a", file_format="csv")
            Export.objects.create(project=project, created_by=UserFactory(), kind="pairs", file_format="csv")
            projects.find_or_invite(f"p{rows}{pair.pk}@example.org", invited_by=lead)
        with CaptureQueriesContext(connection) as queries:
            page(client, name, *([] if name == "home" else [project.pk]))
        counts.append(len(queries))
        Project.objects.filter(pk__in=[made.pk for made in projects_made]).update(name=f"of {rows}")
    assert counts[0] == counts[1], counts


def test_the_item_page_needs_as_many_queries_for_three_annotations_as_for_one(client, lead):
    counts = []
    for people in (1, 3):
        item = ItemFactory(project=ProjectFactory(lead=lead, overlap=people))
        for _ in range(people):
            annotate(item)
        for name, pk in (("item", item.pk), ("pair", item.pair.pk)):
            with CaptureQueriesContext(connection) as queries:
                page(client, name, pk)
            counts.append(len(queries))
    assert counts[:2] == counts[2:]
