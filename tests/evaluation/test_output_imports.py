from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile

from annotation import jobs
from annotation.jobs import JobStatus
from annotation.models import Item
from evaluation import output_imports
from evaluation.models import Output, OutputImport, System, SystemKind
from tests.evaluation.factories import OutputFactory, SystemFactory
from tests.factories import ItemFactory, ProjectFactory

pytestmark = pytest.mark.django_db

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def project(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    project = ProjectFactory()
    ItemFactory(project=project, external_id="a", text="The first text.")
    ItemFactory(project=project, external_id="b", text="The second text.")
    return project


def imported(project, content, **values):
    """The job after a worker has run it."""
    content = content if isinstance(content, bytes) else content.encode()
    job = output_imports.upload(project, project.created_by, ContentFile(content, name="outputs.csv"))
    OutputImport.objects.filter(pk=job.pk).update(**values)
    jobs.execute(OutputImport.objects, job.pk, output_imports.run)
    job.refresh_from_db()
    return job


def reasons(job):
    return [(row.row, row.field, row.reason) for row in job.rejected_rows.all()]


def test_outputs_make_systems_by_name_in_the_files_order(project):
    job = imported(project, "external_id,system,output,note\na,zeta,One.,x\nb,zeta,Two.,y\na,alpha,Three.,z\n")
    assert (job.status, job.imported, job.rejected) == (JobStatus.FINISHED, 3, 0)
    systems = System.objects.order_by("pk")
    assert [(system.name, system.kind) for system in systems] == [("zeta", "upload"), ("alpha", "upload")]
    assert Output.objects.get(item__external_id="a", system__name="alpha").text == "Three."
    assert all(output.project_id == project.pk for output in Output.objects.all())


def test_the_exact_text_stands_for_the_external_id(project):
    job = imported(project, "text,system,output\nThe second text.,s,Two.\nThe third text.,s,Three.\n")
    assert (job.imported, job.rejected) == (1, 1)
    assert Output.objects.get().item.external_id == "b"
    assert reasons(job)[0][:2] == (3, "text")


def test_two_texts_that_read_alike_need_an_external_id(project):
    ItemFactory(project=project, external_id="c", text="The first text.")
    job = imported(project, "text,system,output\nThe first text.,s,One.\n")
    assert job.imported == 0
    assert "Several texts" in reasons(job)[0][2]


def test_texts_of_another_project_are_unknown(project):
    ItemFactory(external_id="elsewhere", text="Another text.")
    job = imported(project, "external_id,text,system,output\nelsewhere,,s,x\n,Another text.,s,x\n")
    assert job.imported == 0
    assert [field for _, field, _ in reasons(job)] == ["external_id", "text"]
    assert not System.objects.exists()


def test_every_row_that_cannot_be_used_is_named_with_its_field_and_reason(project):
    SystemFactory(project=project, name="ours", kind=SystemKind.RUN)
    have = OutputFactory(system__project=project, system__name="old", item=Item.objects.get(external_id="a"))
    rows = [
        "external_id,text,system,output",
        "a,,new,fine",  # 2
        "nowhere,,new,x",  # 3
        "a,Not its text.,new2,x",  # 4
        "a,,,x",  # 5
        "a,,new,",  # 6
        "a,,new,  ",  # 7
        ",,new,x",  # 8
        "a,,ours,x",  # 9
        "a,,new,again",  # 10
        "a,,old,x",  # 11
        "a,,new,x,y",  # 12
        "a,,new,x\x00y",  # 13
        f"a,,{'n' * 121},x",  # 14
        f"b,,new,{'x' * 100_001}",  # 15
        "b,,new,also fine",  # 16
    ]
    job = imported(project, "\n".join(rows))
    assert job.imported == 2
    assert [(row, field) for row, field, _ in reasons(job)] == [
        (3, "external_id"),
        (4, "text"),
        (5, "system"),
        (6, "output"),
        (7, "output"),
        (8, "external_id"),
        (9, "system"),
        (10, "system"),
        (11, "system"),
        (12, ""),
        (13, "output"),
        (14, "system"),
        (15, "output"),
    ]
    words = {row: reason for row, _, reason in reasons(job)}
    assert "as in row 2" in words[10]
    assert "already" in words[11]
    assert "5 cells" in words[12]
    assert "null byte" in words[13]
    have.refresh_from_db()
    assert job.rejected == 13


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("external_id,output\na,x\n", "There is no column 'system'. The header has: external_id, output."),
        ("system,output\ns,x\n", "There is no column 'external_id' or 'text'"),
        ("external_id,system,output,system\na,s,x,s\n", "'system' twice"),
        ("external_id,system,output\n", "a header and no rows"),
        ("\n\n", "empty"),
        (b"external_id,system,output\na,s,fine\na,s,caf\xe9\n", "not UTF-8: row 3, byte 43"),
        ('external_id,system,output\na,s,"never closed\n', "never closed"),
        ('external_id,system,output\na,s,"x"y\n', "the quotes are broken"),
    ],
)
def test_a_file_that_cannot_be_read_imports_nothing_and_says_why(project, content, words):
    job = imported(project, content)
    assert job.status == JobStatus.FAILED
    assert words in job.error
    assert not Output.objects.exists() and not System.objects.exists()


def test_a_byte_order_mark_and_windows_line_ends_do_not_matter(project):
    job = imported(project, b'\xef\xbb\xbfexternal_id,system,output\r\na,s,"Two\r\nlines."\r\n')
    assert job.imported == 1
    assert Output.objects.get().text == "Two\nlines."


def test_hostile_outputs_are_kept_word_for_word(project):
    text = "<script>alert(1)</script> \u202eright to left\u202c 👩‍👩‍👧 =SUM(A1) %s {} \\x"
    job = imported(project, f'external_id,system,output\na,"<b>s</b>","{text}"\n')
    assert job.imported == 1
    assert Output.objects.get().text == text


def test_an_empty_upload_is_refused_at_once(project):
    with pytest.raises(ValidationError, match="empty"):
        output_imports.upload(project, project.created_by, ContentFile(b"", name="x.csv"))


def test_a_file_that_is_too_large_is_refused_at_once(project, settings):
    settings.MAX_UPLOAD_BYTES = 10
    with pytest.raises(ValidationError, match="larger than"):
        output_imports.upload(project, project.created_by, ContentFile(b"x" * 11, name="x.csv"))


def test_a_job_that_runs_again_after_it_was_applied_changes_nothing(project):
    job = imported(project, "external_id,system,output\na,s,One.\nnowhere,s,x\n")
    OutputImport.objects.filter(pk=job.pk).update(status=JobStatus.QUEUED)
    jobs.execute(OutputImport.objects, job.pk, output_imports.run)
    job.refresh_from_db()
    assert (job.status, job.imported, job.rejected) == (JobStatus.FINISHED, 1, 1)
    assert Output.objects.count() == 1 and job.rejected_rows.count() == 1


def test_a_cancelled_import_writes_nothing(project):
    job = imported(project, "external_id,system,output\na,s,One.\n", cancel_requested=True)
    assert job.status == JobStatus.CANCELLED
    assert not Output.objects.exists()


def test_an_import_cancelled_while_it_writes_leaves_nothing(project, monkeypatch):
    def cancelled(job):
        raise jobs.Cancelled

    job = output_imports.upload(
        project,
        project.created_by,
        ContentFile(b"external_id,system,output\na,s,One.\nx,s,y\n", name="x.csv"),
    )
    job = OutputImport.objects.claim(job.pk)
    monkeypatch.setattr(OutputImport, "beat", cancelled)
    with pytest.raises(jobs.Cancelled):
        output_imports.run(job)
    assert not Output.objects.exists() and not System.objects.exists() and not job.rejected_rows.exists()


@pytest.mark.skipif(not (DATA / "system_outputs.csv").exists(), reason="the real outputs are not at hand")
def test_the_real_outputs_import_onto_the_real_texts(project):
    import csv

    project.items.all().delete()
    with (DATA / "unsafe_safe_pairs.csv").open(newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            ItemFactory(project=project, external_id=row["external_id"], text=row["text"])
    job = imported(project, (DATA / "system_outputs.csv").read_bytes())
    assert (job.status, job.error) == (JobStatus.FINISHED, "")
    with (DATA / "system_outputs.csv").open(newline="", encoding="utf-8-sig") as file:
        empty = [(number, row) for number, row in enumerate(csv.DictReader(file), 2) if not row["output"].strip()]
    # One of the real systems gave no answer to some texts; everything else is imported.
    assert reasons(job) == [
        (number, "output", f"The output of {row['system']} for {row['external_id']} is empty.") for number, row in empty
    ]
    assert (job.imported, job.rejected) == (1200 - len(empty), len(empty))
    assert System.objects.count() == 4
