"""The queue with priorities, reservations and settled items; what keeps annotators well.

The triggers keep on each item what the queue needs to know, so that no code path can forget it:
- reserved: whether it has reservations. settled: whether its pair is approved or rejected.
- queued_in: the transaction that last brought it into the queue or to another place in it. Annotators' places in the
  queue (QueuePlace) rely on it: whatever becomes free again stands behind everybody's place.
- an overlap that was lowered while more people held the item falls as they give it back.
"""

import annotation.models.projects
import annotation.validators
import django.contrib.postgres.indexes
import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

FORWARD = """
CREATE FUNCTION annotation_place_in_queue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.queued_in := pg_current_xact_id()::text::bigint;
    ELSIF NEW.kind = 'work' AND NEW.retired_at IS NULL AND NOT NEW.settled AND NEW.taken < NEW.overlap AND (
        OLD.kind <> 'work' OR OLD.retired_at IS NOT NULL OR OLD.settled OR OLD.taken >= OLD.overlap
        OR NEW.priority <> OLD.priority OR NEW.reserved <> OLD.reserved OR NOT NEW.content_kinds @> OLD.content_kinds  -- whoever declined what is gone may have it now
    ) THEN
        NEW.queued_in := pg_current_xact_id()::text::bigint;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER annotation_place_in_queue BEFORE INSERT OR UPDATE ON annotation_item
    FOR EACH ROW EXECUTE FUNCTION annotation_place_in_queue();

CREATE FUNCTION annotation_mark_reserved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN  -- a second person finds it behind their place too
        UPDATE annotation_item SET reserved = true, queued_in = pg_current_xact_id()::text::bigint
        WHERE id = NEW.item_id;
    ELSE
        UPDATE annotation_item SET reserved = false
        WHERE id = OLD.item_id
            AND NOT EXISTS (SELECT FROM annotation_reservation WHERE item_id = OLD.item_id);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER annotation_mark_reserved AFTER INSERT OR DELETE ON annotation_reservation
    FOR EACH ROW EXECUTE FUNCTION annotation_mark_reserved();

CREATE FUNCTION annotation_mark_settled() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        UPDATE annotation_item SET settled = false WHERE id = OLD.item_id;
    ELSE
        UPDATE annotation_item SET settled = (NEW.status <> 'proposed')
        WHERE id = NEW.item_id AND settled <> (NEW.status <> 'proposed');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER annotation_pair_made_settled AFTER INSERT ON annotation_pair
    FOR EACH ROW WHEN (NEW.status <> 'proposed') EXECUTE FUNCTION annotation_mark_settled();
CREATE TRIGGER annotation_pair_settled AFTER UPDATE OF status ON annotation_pair
    FOR EACH ROW WHEN (NEW.status <> OLD.status) EXECUTE FUNCTION annotation_mark_settled();
CREATE TRIGGER annotation_pair_gone AFTER DELETE ON annotation_pair
    FOR EACH ROW WHEN (OLD.status <> 'proposed') EXECUTE FUNCTION annotation_mark_settled();

CREATE OR REPLACE FUNCTION annotation_count_taken() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    before integer := 0;
    after integer := 0;
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.state IN ('held', 'finished') THEN before := 1; END IF;
    IF TG_OP <> 'DELETE' AND NEW.state IN ('held', 'finished') THEN after := 1; END IF;
    IF before <> after THEN
        UPDATE annotation_item SET taken = taken + after - before,
            overlap = CASE WHEN after < before AND lowered_to IS NOT NULL
                THEN LEAST(overlap, GREATEST(lowered_to, taken - 1)) ELSE overlap END
        WHERE id = CASE WHEN TG_OP = 'DELETE' THEN OLD.item_id ELSE NEW.item_id END;
    END IF;
    RETURN NULL;
END $$;
"""

REVERSE = """
CREATE OR REPLACE FUNCTION annotation_count_taken() RETURNS trigger LANGUAGE plpgsql AS $$
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
DROP TRIGGER annotation_pair_gone ON annotation_pair;
DROP TRIGGER annotation_pair_settled ON annotation_pair;
DROP TRIGGER annotation_pair_made_settled ON annotation_pair;
DROP FUNCTION annotation_mark_settled();
DROP TRIGGER annotation_mark_reserved ON annotation_reservation;
DROP FUNCTION annotation_mark_reserved();
DROP TRIGGER annotation_place_in_queue ON annotation_item;
DROP FUNCTION annotation_place_in_queue();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('annotation', '0007_drafts'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='AnnotatorChoices',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('declined_kinds', models.JSONField(blank=True, default=list)),
                ('daily_limit', models.PositiveIntegerField(default=0, help_text="0: only the project's own limit holds.")),
            ],
        ),
        migrations.CreateModel(
            name='Pause',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('started_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='QueuePlace',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('reserved', models.BooleanField()),
                ('priority', models.SmallIntegerField()),
                ('queued_in', models.BigIntegerField()),
                ('item_id', models.BigIntegerField()),
                ('since', models.DateTimeField(default=django.utils.timezone.now, help_text='When this annotator last began at the front.')),
            ],
        ),
        migrations.CreateModel(
            name='Reservation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.RemoveIndex(
            model_name='assignment',
            name='assignment_last',
        ),
        migrations.RemoveIndex(
            model_name='item',
            name='item_queue',
        ),
        migrations.AddField(
            model_name='item',
            name='extra',
            field=models.PositiveSmallIntegerField(db_default=0, default=0, editable=False, help_text="Annotators asked for beyond the project's overlap."),
        ),
        migrations.AddField(
            model_name='item',
            name='lowered_to',
            field=models.PositiveSmallIntegerField(editable=False, help_text='The overlap it falls to as soon as those who hold it above that give it back.', null=True),
        ),
        migrations.AddField(
            model_name='item',
            name='queued_in',
            field=models.BigIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name='item',
            name='reserved',
            field=models.BooleanField(db_default=False, default=False, editable=False, help_text='Only for the people of its reservations.'),
        ),
        migrations.AddField(
            model_name='item',
            name='settled',
            field=models.BooleanField(db_default=False, default=False, editable=False, help_text='A lead approved or rejected its pair.'),
        ),
        migrations.AddField(
            model_name='project',
            name='blur_texts',
            field=models.BooleanField(default=False, help_text='Annotators uncover each text with h or a button when they are ready.', verbose_name='texts start blurred'),
        ),
        migrations.AddField(
            model_name='project',
            name='content_kinds',
            field=models.JSONField(blank=True, default=list, help_text='What may upset in the texts: names with the words of a warning, shown with each text that has them.', validators=[annotation.validators.check_content_kinds]),
        ),
        migrations.AddField(
            model_name='project',
            name='daily_limit',
            field=models.PositiveIntegerField(default=0, help_text='How many texts one person may finish a day; 0 for no limit. The day ends at midnight, server time.', validators=[django.core.validators.MaxValueValidator(100000)], verbose_name='texts a day'),
        ),
        migrations.AddField(
            model_name='project',
            name='daily_severe_limit',
            field=models.PositiveIntegerField(default=0, help_text='How many severe ones among them; 0 for no limit.', validators=[django.core.validators.MaxValueValidator(100000)], verbose_name='severe texts a day'),
        ),
        migrations.AddField(
            model_name='project',
            name='pause_after',
            field=models.PositiveSmallIntegerField(default=10, help_text='As many severe texts in a row; 0 for never. Nobody is made to pause.', validators=[django.core.validators.MaxValueValidator(1000)], verbose_name='suggest a pause after'),
        ),
        migrations.AddField(
            model_name='project',
            name='severe_dimensions',
            field=models.JSONField(blank=True, default=annotation.models.projects.default_severe_dimensions, validators=[annotation.validators.check_dimension_keys], help_text='Keys of the dimensions whose highest level makes a text severe.'),
        ),
        migrations.AlterField(
            model_name='item',
            name='priority',
            field=models.SmallIntegerField(default=0, help_text='Items with a higher one are handed out first.', validators=[django.core.validators.MinValueValidator(-100), django.core.validators.MaxValueValidator(100)]),
        ),
        migrations.AddIndex(
            model_name='assignment',
            index=models.Index(fields=['project', 'annotator', '-id'], name='assignment_by_person'),
        ),
        migrations.AddIndex(
            model_name='item',
            index=models.Index(condition=models.Q(('kind', 'work'), ('retired_at', None), ('settled', False), ('taken__lt', models.F('overlap'))), fields=['project', '-reserved', '-priority', 'queued_in', 'id'], name='item_queue'),
        ),
        migrations.AddIndex(
            model_name='item',
            index=django.contrib.postgres.indexes.GinIndex(fields=['content_kinds'], name='item_content_kinds', opclasses=['jsonb_path_ops']),
        ),
        migrations.AddField(
            model_name='annotatorchoices',
            name='annotator',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='choices', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='annotatorchoices',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='choices', to='annotation.project'),
        ),
        migrations.AddField(
            model_name='pause',
            name='annotator',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='pauses', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='pause',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='pauses', to='annotation.project'),
        ),
        migrations.AddField(
            model_name='queueplace',
            name='annotator',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='queueplace',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='annotation.project'),
        ),
        migrations.AddField(
            model_name='reservation',
            name='item',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='reservations', to='annotation.item'),
        ),
        migrations.AddField(
            model_name='reservation',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='reservations', to='annotation.project'),
        ),
        migrations.AddField(
            model_name='reservation',
            name='user',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='reservations', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddConstraint(
            model_name='annotatorchoices',
            constraint=models.UniqueConstraint(fields=('project', 'annotator'), name='choices_once'),
        ),
        migrations.AddIndex(
            model_name='pause',
            index=models.Index(fields=['annotator', 'project', 'started_at'], name='pause_by_person'),
        ),
        migrations.AddConstraint(
            model_name='pause',
            constraint=models.UniqueConstraint(condition=models.Q(('ended_at', None)), fields=('project', 'annotator'), name='pause_one_at_a_time'),
        ),
        migrations.AddConstraint(
            model_name='queueplace',
            constraint=models.UniqueConstraint(fields=('project', 'annotator', 'reserved', 'priority'), name='queue_place_once'),
        ),
        migrations.AddConstraint(
            model_name='reservation',
            constraint=models.UniqueConstraint(fields=('item', 'user'), name='reservation_once'),
        ),
        migrations.RunSQL(FORWARD, REVERSE),
    ]
