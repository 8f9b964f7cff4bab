"""Who may do what: the one place that pages and API ask.

A person who is no member of a project gets 404 for everything in it, as if it did not exist. A member without the
role gets 403. An administrator (superuser) may do what any role may.
"""

from typing import Any, TypeVar

from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, QuerySet
from django.http import Http404
from rest_framework import exceptions as drf
from rest_framework.response import Response
from rest_framework.views import exception_handler

from annotation import drafts
from annotation.models import Membership, Project
from annotation.validators import PreconditionNeeded

M = TypeVar("M", bound=Model)


def roles_in(user, project_id: int) -> set[str]:
    """The roles of a person in a project; empty for everybody else."""
    return set(Membership.objects.filter(project_id=project_id, user_id=user.pk).values_list("role", flat=True))


def require(user, project_id: int, *roles: str) -> set[str]:
    """Raise 404 for those who are no members, 403 for members without one of the roles. Returns the roles held."""
    if user.is_superuser:
        return set(roles)
    held = roles_in(user, project_id)
    if not held:
        raise Http404
    if roles and not held & set(roles):
        raise PermissionDenied(f"This needs the role {' or '.join(sorted(roles))} in the project.")
    return held


def project_for(user, pk: int, *roles: str) -> Project:
    """The project, for a member with one of the roles (any member when none is named)."""
    require(user, pk, *roles)
    project = Project.objects.filter(pk=pk).first()
    if project is None:
        raise Http404
    return project


def object_for(user, queryset: "QuerySet[M]", pk: Any, *roles: str) -> M:
    """A row with a `project`, for a member of that project with one of the roles."""
    found = queryset.filter(pk=pk).first()
    if found is None:
        raise Http404
    require(user, found.project_id, *roles)  # type: ignore[attr-defined]
    return found


def may_create_projects(user) -> bool:
    """Creating a project needs Django's own permission; its creator becomes its lead."""
    return user.has_perm("annotation.add_project")


class ScopedAPI:
    """Mixin for view sets over rows with a `project`.

    `roles` names, per action, who may; `"*"` stands for the actions not named. Lists hold only rows of projects where
    the person has one of these roles. A single row follows `object_for`.
    """

    roles: dict[str, tuple[str, ...]] = {}

    def roles_for_action(self) -> tuple[str, ...]:
        return self.roles.get(self.action or "", self.roles.get("*", ()))  # type: ignore[attr-defined]

    def get_queryset(self):
        queryset = super().get_queryset()  # type: ignore[misc]
        if getattr(self, "swagger_fake_view", False):
            return queryset.none()
        if self.action == "list":  # type: ignore[attr-defined]
            return queryset.visible_to(self.request.user, *self.roles_for_action())  # type: ignore[attr-defined]
        return queryset.visible_to(self.request.user)  # type: ignore[attr-defined]

    def get_object(self):
        found = super().get_object()  # type: ignore[misc]
        require(self.request.user, found.project_id, *self.roles_for_action())  # type: ignore[attr-defined]
        return found


def api_exception_handler(error: Exception, context: dict[str, Any]):
    """Rules raise Django's ValidationError; the API answers it like one of its own, with 400 and the same words.

    Something newer in the way is 409, with what is there; so is something that must be done first (PreconditionNeeded),
    with a code for scripts.
    """
    if isinstance(error, drafts.Conflict):
        return Response({"detail": error.messages[0], **error.facts}, status=409)
    if isinstance(error, PreconditionNeeded):
        return Response({"detail": error.messages[0], "code": error.code}, status=409)
    if isinstance(error, ValidationError):
        detail = error.message_dict if hasattr(error, "error_dict") else {"detail": error.messages}
        error = drf.ValidationError(detail)
    return exception_handler(error, context)
