"""The export of outputs: one row an output, with what it took and the prompt it was made with."""

from collections.abc import Iterator
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError

from annotation import exports
from annotation.models import Export, Project, Role
from evaluation.models import Output, System

COLUMNS = [
    *("system", "kind", "external_id", "text", "output", "tokens", "prompt_tokens", "seconds", "cut_off", "prompt_cut"),
    *("cost", "model", "prompt_name", "prompt_version", "run", "is_scratch", "created_at"),
]


def clean(project: Project, filters: dict[str, Any]) -> dict[str, Any]:
    """The filter `system`: the number of one. Without it, all systems of the project."""
    system = filters.get("system")
    if system in (None, ""):
        return {}
    if not str(system).isdecimal() or len(str(system)) > 18:
        raise ValidationError({"system": "The system is named by its number."})
    if not System.objects.filter(project=project, pk=int(system)).exists():
        raise ValidationError({"system": f"There is no system {system} in this project."})
    return {"system": int(system)}


def allow(user, export: Export) -> None:
    """Nobody reads outputs by name of systems that they rate blind."""
    hidden = System.objects.filter(project=export.project_id).hidden_from(user)
    if system := export.filters.get("system"):
        hidden = hidden.filter(pk=system)
    if hidden.exists():
        raise PermissionDenied("You are rating systems of this project blind. Their outputs are yours when it closes.")


def _outputs(export: Export):
    found = Output.objects.filter(project=export.project_id)
    if system := export.filters.get("system"):
        found = found.filter(system=system)
    return found


def rows(export: Export) -> Iterator[dict[str, Any]]:
    """Output by output, in the order they were made."""
    values = (
        _outputs(export)
        .order_by("pk")
        .values_list(
            *("system__name", "system__kind", "item__external_id", "item__text", "text", "tokens", "prompt_tokens"),
            *("seconds", "cut_off", "prompt_cut", "cost", "model", "system__prompt__name", "system__prompt__version"),
            *("system__run", "system__is_scratch", "created_at"),
        )
    )
    for row in values.iterator(chunk_size=exports.CHUNK):
        found = dict(zip(COLUMNS, row, strict=True))
        yield found | {"cost": str(found["cost"].normalize()), "created_at": found["created_at"].isoformat()}


EXPORTER = exports.Exporter(
    kind="outputs",
    title="Outputs of systems",
    formats=("csv", "jsonl"),
    roles=(Role.LEAD, Role.TRAINER),
    columns=lambda export: COLUMNS,
    rows=rows,
    count=lambda export: _outputs(export).count(),
    clean=clean,
    allow=allow,
    filters=("system",),
)
