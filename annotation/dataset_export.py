"""A project as a Hugging Face dataset folder in a .zip: Parquet files, a dataset card, and Croissant metadata.

The folder loads with `datasets.load_dataset(folder)` and can be uploaded to the Hub as it is. Formats:
https://huggingface.co/docs/hub/datasets-cards and http://mlcommons.org/croissant/1.0.
"""

import hashlib
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Count
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.text import slugify

from annotation import agreement_report, export_kinds, exports
from annotation.export_kinds import COLUMNS, annotations, keys, people
from annotation.exports import Exporter, register, write_rows
from annotation.models import Export, PairStatus, Project

FILTERS = ("since", "until", "language", "annotators", "license")
MAX_SPLITS = 20
LEFT_OUT = {"comment", "imported_from", "imported_values", "settled_by"}  # written for the team, not for readers
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
CROISSANT_TYPES = {
    "text": "sc:Text",
    "json": "sc:Text",
    "whole": "sc:Integer",
    "number": "sc:Float",
    "flag": "sc:Boolean",
    "time": "sc:DateTime",
    "names": "sc:Text",
}


@dataclass
class Part:
    """One table of the folder (a configuration of the dataset): its columns, and how many rows each split got."""

    name: str
    about: str
    columns: list[str]
    rows: Callable[[Export], Iterator[dict[str, Any]]]
    splits: dict[str, int] = field(default_factory=dict)

    @property
    def types(self) -> dict[str, str]:
        return export_kinds.types(self.columns)

    def path(self, split: str) -> str:
        return f"data/{self.name}/{split}.parquet"


def clean(project: Project, filters: dict[str, Any]) -> dict[str, Any]:
    """The filters, and the licence the team publishes under, as the Hub writes it (cc-by-4.0).

    Raises:
        ValidationError: keyed by filter.
    """
    filters = dict(filters)
    given = filters.pop("license", "") or ""
    cleaned = export_kinds.clean(
        project, filters, known=("since", "until", "language", "annotators"), people="pseudonyms"
    )
    if not isinstance(given, str) or (given.strip() and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]{0,59}", given.strip())):
        raise ValidationError({"license": "Write the licence as the Hub does, for example cc-by-4.0."})
    return cleaned | ({"license": given.strip()} if given.strip() else {})


def parts(export: Export) -> list[Part]:
    def without(columns: list[str]) -> list[str]:
        return [column for column in columns if column not in LEFT_OUT]

    return [
        Part(
            "adjudicated",
            "one row a text: settled labels where a lead has settled them, majority, consensus and votes",
            without(export_kinds.adjudicated_columns(export)),
            export_kinds.adjudicated_rows,
        ),
        Part(
            "annotations",
            "one row an annotation, as the annotators made them",
            without(export_kinds.annotation_columns(export)),
            export_kinds.annotation_rows,
        ),
        Part(
            "pairs",
            "one row a text with an approved safe rewrite",
            without([name for name in export_kinds.pair_columns(export) if name not in ("status", "reason")]),
            _approved,
        ),
    ]


def _approved(export: Export) -> Iterator[dict[str, Any]]:
    return (row for row in export_kinds.pair_rows(export) if row["status"] == PairStatus.APPROVED)


def write(export: Export, path: Path) -> int:
    """Write the archive; returns the number of rows in its tables."""
    folder = path.parent / "dataset"
    splits = _splits(export)
    people(export)  # named once, before a split is chosen
    tables, hashes, done = parts(export), {}, 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # Parquet is compressed already
        for table in tables:
            for split in splits:
                export.split = split if len(splits) > 1 else None  # type: ignore[attr-defined]
                written = folder / "part.parquet"
                folder.mkdir(exist_ok=True)
                before, rows = done, table.rows(export)
                done = write_rows(written, "parquet", table.columns, table.types, rows, export, done, done)
                if done > before or (table.name != "pairs" and split == splits[0]):
                    table.splits[split] = done - before
                    hashes[table.path(split)] = _sha256(written)
                    archive.write(written, table.path(split))
                written.unlink()
        export.split = None  # type: ignore[attr-defined]
        filled = [table for table in tables if table.splits]
        facts = _facts(export, filled)
        archive.writestr("README.md", card(export, filled, facts))
        archive.writestr("croissant.json", json.dumps(croissant(export, filled, facts, hashes), indent=2))
    return done


def _expected(export: Export) -> int:
    return annotations(export).count()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _splits(export: Export) -> list[str]:
    """The splits that texts came with (`split` in their metadata), train first; train alone where there are none."""
    with_split = export.project.items.filter(metadata__has_key="split").order_by()
    found = with_split.values_list("metadata__split", flat=True).distinct()[: MAX_SPLITS + 1]
    names = {str(name) for name in found if re.fullmatch(r"[A-Za-z]\w{0,49}", str(name))}
    if not names or len(found) > MAX_SPLITS:
        return ["train"]
    return sorted(names | {"train"}, key=lambda name: (name != "train", name))


# What is said about it


def _facts(export: Export, tables: list[Part]) -> dict[str, Any]:
    """What the card and the metadata say of the project."""
    project = export.project
    found = annotations(export)
    agreement = agreement_report.build(
        project, agreement_report.agreement_data.clean_filters(project, _agreement_filters(export))
    )
    languages = sorted(
        language
        for language in project.items.order_by().values_list("language", flat=True).distinct()[:50]
        if re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*", language)
    )
    shown = {"percent": "Percent agreement", "fleiss": "Fleiss' kappa", "alpha": "Krippendorff's alpha", "gwet": "Gwet"}
    return {
        "project": project,
        "tables": tables,
        "people": people(export),
        "hidden": people(export).hidden,
        "annotators": len(people(export).names),
        "annotations": found.count(),
        "imported": found.filter(imported__isnull=False).count(),
        "suggested": found.filter(suggestion_shown=True).count(),
        "texts": found.order_by().values("item_id").distinct().count(),
        "per_text": _per_text(export),
        "versions": sorted(found.order_by().values_list("guidelines_version", flat=True).distinct()[:100]),
        "dimensions": list(project.dimensions.all()),
        "agreement": agreement,
        "shown": shown,
        "languages": languages,
        "license": export.filters.get("license", ""),
        "filters": {name: value for name, value in export.filters.items() if name in ("since", "until", "language")},
        "columns": _documented(tables, keys(export)),
        "now": timezone.now(),
        "slug": slugify(project.name) or f"project-{project.pk}",
    }


def _agreement_filters(export: Export) -> dict[str, str]:
    return {name: export.filters[name] for name in ("since", "until", "language") if name in export.filters}


def _per_text(export: Export) -> list[dict[str, int]]:
    """How many texts have how many annotations."""
    counts = annotations(export).order_by().values("item_id").annotate(n=Count("pk")).values_list("n", flat=True)
    found: dict[int, int] = {}
    for count in counts.iterator(chunk_size=exports.CHUNK):
        found[count] = found.get(count, 0) + 1
    return [{"annotations": count, "texts": found[count]} for count in sorted(found)]


def _documented(tables: list[Part], dimensions: list[str]) -> list[tuple[str, str, str]]:
    """(column, its tables, what it holds) of every column."""
    endings = {
        "": "label of this dimension",
        "_majority": "the level most annotators chose; empty where the first place is shared",
        "_consensus": "the most probable level by Dawid and Skene's model; empty where it was not computed",
        "_confidence": "probability of that level by the model",
        "_votes": "how many annotators chose each level, as JSON",
    }
    about = {f"{key}{ending}": words for key in dimensions for ending, words in endings.items()}
    found: dict[str, list[str]] = {}
    for table in tables:
        for column in table.columns:
            found.setdefault(column, []).append(table.name)
    return [
        (column, ", ".join(names), about.get(column) or COLUMNS.get(column, ("", ""))[1])
        for column, names in found.items()
    ]


def card(export: Export, tables: list[Part], facts: dict[str, Any]) -> str:
    """README.md: the Hub's YAML header, and what readers of the data must know."""
    import yaml

    total = sum(table.splits.get(split, 0) for table in tables[:1] for split in table.splits)
    header: dict[str, Any] = {
        "pretty_name": facts["project"].name,
        "license": facts["license"] or "unknown",
        "task_categories": ["text-classification", "text-generation"],
        "tags": ["bias", "toxicity", "safety", "not-for-all-audiences"],
        "size_categories": [_size(total)],
        "configs": [
            {
                "config_name": table.name,
                **({"default": True} if table is tables[0] else {}),
                "data_files": [{"split": split, "path": table.path(split)} for split in table.splits],
            }
            for table in tables
        ],
    }
    if facts["languages"]:
        header["language"] = facts["languages"]
    text = re.sub(r"\n{3,}", "\n\n", render_to_string("annotation/dataset_card.md", facts)).strip()
    return f"---\n{yaml.safe_dump(header, allow_unicode=True, sort_keys=False)}---\n\n{text}\n"


def _size(rows: int) -> str:
    """The Hub's word for a number of rows."""
    steps = [(1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")]
    return next((word for limit, word in steps if rows < limit), "1M<n<10M")


def croissant(export: Export, tables: list[Part], facts: dict[str, Any], hashes: dict[str, str]) -> dict[str, Any]:
    """croissant.json: the files, and the columns of each table."""
    project = facts["project"]
    files = [
        {
            "@type": "cr:FileObject",
            "@id": f"{table.name}-{split}.parquet",
            "name": f"{table.name}-{split}.parquet",
            "description": f"{table.name}, {split}: {table.splits[split]:,} rows",
            "contentUrl": table.path(split),
            "encodingFormat": "application/x-parquet",
            "sha256": hashes[table.path(split)],
        }
        for table in tables
        for split in table.splits
    ]
    about = {column: words for column, _, words in facts["columns"]}
    record_sets = []
    for table in tables:
        for split in table.splits:
            name = table.name if len(table.splits) == 1 else f"{table.name}-{split}"
            record_sets.append(
                {
                    "@type": "cr:RecordSet",
                    "@id": name,
                    "name": name,
                    "description": f"{table.about[0].upper()}{table.about[1:]}.",
                    "field": [_field(name, column, table, split, about[column]) for column in table.columns],
                }
            )
    found: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": facts["slug"],
        "description": (
            f"{project.name}: texts labelled for {', '.join(one.name.lower() for one in facts['dimensions'])} by "
            f"{facts['annotators']} annotators, {facts['annotations']:,} annotations of {facts['texts']:,} texts."
        ),
        "datePublished": facts["now"].date().isoformat(),
        "version": "1.0.0",
        "isLiveDataset": False,
        "rai:dataAnnotationPlatform": "Redress",
        "rai:annotationsPerItem": ", ".join(
            f"{one['texts']:,} texts: {one['annotations']}" for one in facts["per_text"]
        ),
        "distribution": files,
        "recordSet": record_sets,
    }
    if facts["license"]:
        found["license"] = facts["license"]
    return found


def _field(record_set: str, column: str, table: Part, split: str, about: str) -> dict[str, Any]:
    kind = table.types.get(column, "text")
    source = {"fileObject": {"@id": f"{table.name}-{split}.parquet"}, "extract": {"column": column}}
    found: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{record_set}/{column}",
        "name": column,
        "description": about or column,
        "dataType": CROISSANT_TYPES.get(kind, "sc:Text"),
        "source": source,
    }
    if kind in ("names", "spans"):
        found["repeated"] = True
    if kind == "spans":  # objects: their parts are fields of their own
        del found["dataType"], found["source"]
        found["subField"] = [
            {
                "@type": "cr:Field",
                "@id": f"{record_set}/{column}/{part}",
                "name": part,
                "dataType": "sc:Integer",
                "source": {**source, "transform": {"jsonPath": part}},
            }
            for part in ("start", "end")
        ]
    return found


def register_all() -> None:
    register(
        Exporter(
            kind="dataset",
            title="Dataset folder for the Hugging Face Hub",
            formats=("zip",),
            roles=export_kinds.READERS,
            columns=lambda export: [],
            rows=lambda export: iter(()),
            count=_expected,
            clean=clean,
            write=write,
            filters=FILTERS,
        )
    )
