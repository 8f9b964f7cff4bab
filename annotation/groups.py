"""The target groups that a project's annotators have named so far, to choose from while typing."""

from django.db import connection

from annotation.models import Project

# Counting all of a million annotations would take seconds; the newest ones say what people call the groups now.
WINDOW = 20_000
LIMIT = 50


def named(project: Project, user, query: str = "", limit: int = LIMIT) -> list[str]:
    """Groups whose name contains `query`, those that begin with it first, the most used first.

    Only names that this person has used, or at least two people: what one colleague alone named would tell what they
    wrote about a text that is still open.
    """
    query = query.strip().replace("\x00", "").encode(errors="ignore").decode()  # what PostgreSQL can hold
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT name
            FROM (
                SELECT annotator_id, target_groups FROM annotation_annotation
                WHERE project_id = %(project)s AND NOT target_groups = '[]'::jsonb
                ORDER BY id DESC LIMIT %(window)s
            ) AS newest, jsonb_array_elements_text(target_groups) AS name
            WHERE strpos(lower(name), lower(%(query)s)) > 0
            GROUP BY name
            HAVING count(DISTINCT annotator_id) > 1 OR bool_or(annotator_id = %(user)s)
            ORDER BY starts_with(lower(name), lower(%(query)s)) DESC, count(*) DESC, lower(name), name
            LIMIT %(limit)s
            """,
            {"project": project.pk, "user": user.pk, "window": WINDOW, "query": query, "limit": limit},
        )
        return [name for (name,) in cursor.fetchall()]
