"""Files as other tools write them, and a job that imports one."""

import io
import json
import zipfile

from django.core.files.base import ContentFile

from annotation import imports, jobs, sources
from annotation.models import ItemImport


def make(project, content, name, **values):
    content = content.encode() if isinstance(content, str) else content
    values.setdefault("file_format", sources.format_of(name, io.BytesIO(content)))
    return ItemImport.objects.create(
        project=project,
        created_by=project.created_by,
        file=ContentFile(content, name="upload"),
        file_name=name,
        **values,
    )


def run(project, content, name, **values):
    return go(make(project, content, name, **values))


def go(job):
    jobs.execute(ItemImport.objects, job.pk, imports.run)
    job.refresh_from_db()
    return job


def rejections(job):
    return [(row.row, row.field, row.reason) for row in job.rejected_rows.all()]


def lines(*objects):
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in objects)


def zipped(files: dict[str, str | bytes], compression=zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def choice(control, *names):
    return {
        "id": f"r-{control}",
        "type": "choices",
        "value": {"choices": list(names)},
        "origin": "manual",
        "to_name": "text",
        "from_name": control,
    }


def marked(start, end, words, *names, control="span"):
    return {
        "id": f"r-{start}",
        "type": "labels",
        "value": {"start": start, "end": end, "text": words, "labels": list(names)},
        "origin": "manual",
        "to_name": "text",
        "from_name": control,
    }


def written(words, control="rewrite"):
    return {
        "id": f"r-{control}",
        "type": "textarea",
        "value": {"text": [words]},
        "origin": "manual",
        "to_name": "text",
        "from_name": control,
    }


def annotation(person, *result, **values):
    return {
        "id": 1001,
        "completed_by": person,
        "result": list(result),
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": "2021-03-09T22:16:08.728353Z",
        "updated_at": "2021-03-09T22:17:08.728378Z",
        "draft_created_at": None,
        "lead_time": 4.288,
        "prediction": {},
        "result_count": len(result),
        "unique_id": "0b0b7a3c-2f0e-4a34-8d2f-1f6c6f1e0c11",
        "import_id": None,
        "last_action": None,
        "task": 1,
        "project": 83,
        "updated_by": 1,
        "parent_prediction": None,
        "parent_annotation": None,
        "last_created_by": None,
    } | values


def task(number, text, *annotations, **values):
    return {
        "id": number,
        "annotations": list(annotations),
        "file_upload": "abc-texts.csv",
        "drafts": [],
        "predictions": [],
        "data": {"text": text, "topic": "work"},
        "meta": {},
        "created_at": "2021-03-09T21:52:49.513742Z",
        "updated_at": "2021-03-09T22:16:08.746926Z",
        "inner_id": number,
        "total_annotations": len(annotations),
        "cancelled_annotations": 0,
        "total_predictions": 0,
        "comment_count": 0,
        "unresolved_comment_count": 0,
        "last_comment_updated_at": None,
        "project": 83,
        "updated_by": 1,
        "comment_authors": [],
    } | values
