from django.db import migrations


# Rows of a plan go with their study and never before. Whether it goes, too, is known when the transaction ends.
FORWARD = """
CREATE FUNCTION evaluation_refuse_removal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM evaluation_study WHERE id = OLD.study_id) THEN
        RAISE EXCEPTION 'Protocols and their amendments stay as long as their study.'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER evaluation_protocol_stays AFTER DELETE ON evaluation_protocol
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION evaluation_refuse_removal();
CREATE CONSTRAINT TRIGGER evaluation_amendment_stays AFTER DELETE ON evaluation_amendment
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION evaluation_refuse_removal();
"""

REVERSE = """
DROP TRIGGER evaluation_amendment_stays ON evaluation_amendment;
DROP TRIGGER evaluation_protocol_stays ON evaluation_protocol;
DROP FUNCTION evaluation_refuse_removal();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('evaluation', '0009_report_files'),
    ]

    operations = [
        migrations.RunSQL(FORWARD, REVERSE),
    ]
