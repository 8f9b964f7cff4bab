"""The card of a run's files, for its page: `{% run_files %}`, where the context holds `run` and `may_train`."""

from typing import Any

from django import template

from training import publishing, runs

register = template.Library()


@register.inclusion_tag("training/_files.html", takes_context=True)
def run_files(context: dict[str, Any]) -> dict[str, Any]:
    run = context["run"]
    checks = run.figures.get("load_check") or {}
    return {
        "run": run,
        "may_train": context.get("may_train"),
        "csrf_token": context.get("csrf_token"),
        "checks": [(name, checks[name]) for name in ("adapter", "merged") if checks.get(name)],
        "publications": run.publications.select_related("created_by")[:20],
        "outputs_shown": runs.outputs_shown(context["user"], run),
        "places": publishing.places(),
    }
