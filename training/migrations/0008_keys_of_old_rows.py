"""Rows of datasets that were frozen before rows had `text_key` and `copy` get both, as freezing gives them.

`copy` counts the rows of a text in the order of their positions: freezing has always put rows of the same text one
after another, in the order that it counts them in.
"""

import hashlib

from django.db import migrations

BATCH = 1_000
COPIES = """
UPDATE training_datasetrow AS held SET copy = counted.copy
FROM (
    SELECT id, row_number() OVER (PARTITION BY text_key ORDER BY position) - 1 AS copy
    FROM training_datasetrow WHERE dataset_id = %s
) AS counted
WHERE held.id = counted.id AND held.copy <> counted.copy
"""


def text_key(text):
    return hashlib.sha256(" ".join(text.casefold().split()).encode()).hexdigest()


def fill(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT dataset_id FROM training_datasetrow WHERE text_key = ''")
        datasets = [pk for (pk,) in cursor.fetchall()]
        if not datasets:
            return
        # Rows never change. The table stays locked until this migration is committed, so nobody else can change one.
        cursor.execute("ALTER TABLE training_datasetrow DISABLE TRIGGER training_datasetrow_frozen")
        for dataset in datasets:
            last = -1
            while True:
                cursor.execute(
                    "SELECT id, position, text FROM training_datasetrow "
                    "WHERE dataset_id = %s AND position > %s ORDER BY position LIMIT %s",
                    [dataset, last, BATCH],
                )
                rows = cursor.fetchall()
                if not rows:
                    break
                last = rows[-1][1]
                cursor.execute(
                    "UPDATE training_datasetrow AS held SET text_key = made.key "
                    "FROM unnest(%s::bigint[], %s::text[]) AS made (id, key) WHERE held.id = made.id",
                    [[pk for pk, _, _ in rows], [text_key(text) for _, _, text in rows]],
                )
            cursor.execute(COPIES, [dataset])
        cursor.execute("ALTER TABLE training_datasetrow ENABLE TRIGGER training_datasetrow_frozen")


class Migration(migrations.Migration):
    dependencies = [("training", "0007_datasets")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
