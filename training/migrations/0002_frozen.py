"""A frozen dataset's rows, hash, shares and seed cannot be changed; deleting a whole dataset is allowed."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION training_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'A frozen dataset cannot be changed; freeze a new one.' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER training_datasetrow_frozen BEFORE UPDATE ON training_datasetrow
    FOR EACH ROW EXECUTE FUNCTION training_refuse_change();
CREATE TRIGGER training_dataset_frozen
    BEFORE UPDATE OF project_id, content_hash, seed, shares, filters, counts ON training_dataset
    FOR EACH ROW
    WHEN (
        (OLD.project_id, OLD.content_hash, OLD.seed, OLD.shares, OLD.filters, OLD.counts)
        IS DISTINCT FROM (NEW.project_id, NEW.content_hash, NEW.seed, NEW.shares, NEW.filters, NEW.counts)
    )
    EXECUTE FUNCTION training_refuse_change();
"""

REVERSE = """
DROP TRIGGER training_dataset_frozen ON training_dataset;
DROP TRIGGER training_datasetrow_frozen ON training_datasetrow;
DROP FUNCTION training_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("training", "0001_initial")]

    operations = [migrations.RunSQL(FORWARD, REVERSE)]
