"""Triggers that keep Item.taken and Item.finished, so that check constraints can bound them.

Counting in the database, inside the transaction that changes an assignment or an annotation, means that no code path
can forget to count, and that a second transaction on the same item waits for the first.
"""

from django.db import migrations

FORWARD = """
CREATE FUNCTION annotation_count_taken() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    before integer := 0;
    after integer := 0;
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.state IN ('held', 'finished') THEN before := 1; END IF;
    IF TG_OP <> 'DELETE' AND NEW.state IN ('held', 'finished') THEN after := 1; END IF;
    IF before <> after THEN
        UPDATE annotation_item SET taken = taken + after - before
        WHERE id = CASE WHEN TG_OP = 'DELETE' THEN OLD.item_id ELSE NEW.item_id END;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER annotation_count_taken
    AFTER INSERT OR DELETE OR UPDATE OF state ON annotation_assignment
    FOR EACH ROW EXECUTE FUNCTION annotation_count_taken();

CREATE FUNCTION annotation_count_finished() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE annotation_item SET finished = finished + 1 WHERE id = NEW.item_id;
    ELSE
        UPDATE annotation_item SET finished = finished - 1 WHERE id = OLD.item_id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER annotation_count_finished
    AFTER INSERT OR DELETE ON annotation_annotation
    FOR EACH ROW EXECUTE FUNCTION annotation_count_finished();
"""

REVERSE = """
DROP TRIGGER annotation_count_finished ON annotation_annotation;
DROP FUNCTION annotation_count_finished();
DROP TRIGGER annotation_count_taken ON annotation_assignment;
DROP FUNCTION annotation_count_taken();
"""


class Migration(migrations.Migration):
    dependencies = [("annotation", "0001_initial")]

    operations = [migrations.RunSQL(FORWARD, REVERSE)]
