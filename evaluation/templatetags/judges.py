"""The judges of a study, for its page; and how their figures read."""

from typing import Any

from django import template

from annotation import access
from annotation.models import Role
from evaluation.models import Study
from evaluation.templatetags.figures import figure, interval, percent, percent_interval

register = template.Library()


@register.inclusion_tag("evaluation/_judges.html", takes_context=True)
def judges_section(context, study: Study) -> dict[str, Any]:
    """A study's section of judges, and its way to preferences once it is closed."""
    user = context["request"].user
    trains = study.is_closed and (user.is_superuser or Role.TRAINER in access.roles_in(user, study.project_id))
    return {"study": study, "judges": [] if study.is_draft else list(study.judges.all()[:10]), "may_train": trains}


@register.filter
def estimate(value: dict[str, Any]) -> str:
    """0.62 [0.51, 0.73], or why there is none."""
    if value["estimate"] is None:
        return value["reason"]
    return _together(figure(value["estimate"]), interval(value))


@register.filter
def percent_estimate(value: dict[str, Any]) -> str:
    """62 % [51, 73], or why there is none."""
    if value["estimate"] is None:
        return value["reason"]
    return _together(percent(value["estimate"]), percent_interval(value))


def _together(figure: str, interval: str) -> str:
    """A line may break before an interval, not within."""
    return f"{figure} {interval.replace(' ', chr(0xA0))}".strip()
