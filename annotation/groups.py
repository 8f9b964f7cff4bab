"""The target groups that a project's annotators have named so far, to choose from while typing."""

from dataclasses import dataclass

from django.db import connection

from annotation.models import Project

# Counting all of a million annotations would take seconds; the newest ones say what people call the groups now.
WINDOW = 20_000
LIMIT = 50


@dataclass(frozen=True)
class NamedGroup:
    name: str
    uses: int  # annotations that name it, among the newest WINDOW that name any


def named(project: Project, query: str = "", limit: int = LIMIT) -> list[NamedGroup]:
    """Groups whose name contains `query`, those that begin with it first, the most used first."""
    query = query.strip().replace("\x00", "").encode(errors="ignore").decode()  # what PostgreSQL can hold
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT name, count(*) AS uses
            FROM (
                SELECT target_groups FROM annotation_annotation
                WHERE project_id = %(project)s AND NOT target_groups = '[]'::jsonb
                ORDER BY id DESC LIMIT %(window)s
            ) AS newest, jsonb_array_elements_text(target_groups) AS name
            WHERE strpos(lower(name), lower(%(query)s)) > 0
            GROUP BY name
            ORDER BY starts_with(lower(name), lower(%(query)s)) DESC, uses DESC, lower(name), name
            LIMIT %(limit)s
            """,
            {"project": project.pk, "window": WINDOW, "query": query, "limit": limit},
        )
        return [NamedGroup(name, uses) for name, uses in cursor.fetchall()]
