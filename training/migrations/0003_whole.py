"""A frozen dataset keeps exactly its rows: none is added afterwards, and they go only together with their dataset."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION training_refuse_more() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT 1 FROM training_dataset AS dataset
        WHERE dataset.id IN (SELECT dataset_id FROM added)
        AND (SELECT count(*) FROM training_datasetrow AS held WHERE held.dataset_id = dataset.id)
            > (SELECT sum(value::bigint) FROM jsonb_each_text(dataset.counts))
    ) THEN
        RAISE EXCEPTION 'A frozen dataset cannot be changed; freeze a new one.' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER training_datasetrow_no_more AFTER INSERT ON training_datasetrow
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION training_refuse_more();

CREATE FUNCTION training_refuse_less() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM training_dataset WHERE id = OLD.dataset_id) THEN
        RAISE EXCEPTION 'A frozen dataset cannot be changed; freeze a new one.' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER training_datasetrow_no_less AFTER DELETE ON training_datasetrow
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION training_refuse_less();
"""

REVERSE = """
DROP TRIGGER training_datasetrow_no_less ON training_datasetrow;
DROP FUNCTION training_refuse_less();
DROP TRIGGER training_datasetrow_no_more ON training_datasetrow;
DROP FUNCTION training_refuse_more();
"""


class Migration(migrations.Migration):
    dependencies = [("training", "0002_frozen")]

    operations = [migrations.RunSQL(FORWARD, REVERSE)]
