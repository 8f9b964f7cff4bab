"""Known answers, practice, hidden texts, consensus; and the trigger that counts the texts handed to a person."""

import annotation.models.gold
import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


FORWARD = """
CREATE FUNCTION annotation_count_handed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE annotation_controlplan SET handed = handed + 1
    WHERE project_id = NEW.project_id AND annotator_id = NEW.annotator_id;
    RETURN NULL;
END $$;
CREATE TRIGGER annotation_count_handed
    AFTER INSERT ON annotation_assignment
    FOR EACH ROW EXECUTE FUNCTION annotation_count_handed();
"""

REVERSE = """
DROP TRIGGER annotation_count_handed ON annotation_assignment;
DROP FUNCTION annotation_count_handed();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('annotation', '0003_foundations'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='AnnotatorConsensus',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('dimension', models.CharField(help_text="The dimension's key.", max_length=40)),
                ('annotations', models.PositiveIntegerField(help_text="How many of this person's labels were used.")),
                ('accuracy', models.FloatField(help_text='Estimated probability of a right label, over the estimated shares.')),
                ('levels', models.JSONField(help_text='The levels, in the order of rows and columns of the matrix.')),
                ('matrix', models.JSONField(help_text='Row: the estimated true level; column: the level chosen; estimated probability, rows sum to 1.')),
            ],
            options={
                'ordering': ['annotator__username', 'dimension'],
            },
        ),
        migrations.CreateModel(
            name='ConsensusRun',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('status', models.CharField(choices=[('queued', 'Waiting'), ('running', 'Running'), ('finished', 'Finished'), ('failed', 'Failed'), ('cancelled', 'Cancelled')], default='queued', editable=False, max_length=10)),
                ('done', models.PositiveIntegerField(default=0, editable=False)),
                ('total', models.PositiveIntegerField(default=0, editable=False)),
                ('message', models.CharField(blank=True, editable=False, max_length=300)),
                ('error', models.TextField(blank=True, editable=False)),
                ('cancel_requested', models.BooleanField(default=False, editable=False)),
                ('attempt', models.PositiveIntegerField(default=0, editable=False)),
                ('worker', models.CharField(blank=True, editable=False, max_length=200)),
                ('lease_until', models.DateTimeField(blank=True, editable=False, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('started_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('ended_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('method', models.CharField(choices=[('dawid-skene', 'Dawid-Skene')], default='dawid-skene', max_length=20)),
                ('annotations', models.PositiveIntegerField(default=0, help_text='How many annotations it was estimated from.')),
                ('items', models.PositiveIntegerField(default=0, help_text='How many texts have a consensus.')),
                ('dimensions', models.JSONField(blank=True, default=dict, help_text='Per dimension: iterations, whether it converged, prior per level.')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='Control',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('gold', 'Gold'), ('repeat', 'Repeat')], max_length=10)),
                ('place', models.PositiveIntegerField(help_text='Among the texts handed to this person, from 1.')),
                ('seed', models.PositiveIntegerField()),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='ControlPlan',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('handed', models.PositiveIntegerField(default=0, editable=False, help_text='Texts handed out since the row exists.')),
                ('gold_every', models.PositiveSmallIntegerField(default=0, help_text='The setting that gold_due was drawn with.')),
                ('gold_due', models.PositiveIntegerField(default=0, help_text='The place of the next gold text, counted by handed.')),
                ('repeat_every', models.PositiveSmallIntegerField(default=0)),
                ('repeat_due', models.PositiveIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name='Gold',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('labels', models.JSONField(default=dict, help_text='The accepted levels per dimension; a dimension that is absent is not judged.')),
                ('spans', models.JSONField(blank=True, default=list, help_text='Expected marks, as in an annotation; may be empty.')),
                ('rewrite', models.TextField(blank=True, help_text='A model rewrite, shown after practice.')),
                ('explanation', models.TextField(blank=True, help_text='Why this is right; shown after practice.')),
                ('made_in_place', models.BooleanField(default=False, editable=False, help_text='The item was a text of the work before; it goes back there.')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('updated_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='ItemConsensus',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('labels', models.JSONField(default=dict, help_text='The most probable level per dimension.')),
                ('confidence', models.JSONField(default=dict, help_text='Its estimated probability per dimension, 0 to 1.')),
                ('annotations', models.PositiveSmallIntegerField(default=0, help_text='How many annotations this text had.')),
            ],
        ),
        migrations.CreateModel(
            name='PracticeAnswer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('position', models.PositiveSmallIntegerField()),
                ('draft', models.JSONField(blank=True, null=True)),
                ('draft_saved_at', models.DateTimeField(blank=True, null=True)),
                ('content', models.JSONField(blank=True, help_text="As an annotation's content; null until answered.", null=True)),
                ('active_seconds', models.PositiveIntegerField(default=0)),
                ('known', models.JSONField(blank=True, default=dict, help_text='The accepted levels per dimension when it was answered.')),
                ('points', models.JSONField(blank=True, default=dict, help_text='Per known dimension 1, 0.5 or 0.')),
                ('answered_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'ordering': ['round_id', 'position'],
            },
        ),
        migrations.CreateModel(
            name='PracticeRound',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField(help_text="Counts this person's rounds in the project, from 1.")),
                ('state', models.CharField(choices=[('running', 'Running'), ('passed', 'Passed'), ('failed', 'Not passed')], default='running', max_length=10)),
                ('pass_mark', models.PositiveSmallIntegerField(help_text='The pass mark that held when it began, in percent.')),
                ('near_misses', models.BooleanField(default=False)),
                ('voluntary', models.BooleanField(default=False, help_text='Begun by somebody who had passed already.')),
                ('score', models.FloatField(blank=True, help_text='Percent of the known labels, once it has ended.', null=True)),
                ('scores', models.JSONField(blank=True, default=dict, help_text='Per dimension: right (may be half) and known.')),
                ('started_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('ended_at', models.DateTimeField(blank=True, editable=False, null=True)),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='PracticeStanding',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('passed_at', models.DateTimeField(blank=True, null=True)),
                ('forgiven', models.PositiveIntegerField(default=0, help_text='Rounds up to this number do not count as tries any more.')),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='QualitySettings',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('practice', models.BooleanField(default=False, help_text='Annotators must pass before they get a text.', verbose_name='practice before the work')),
                ('pass_mark', models.PositiveSmallIntegerField(default=70, help_text='Percent of the known labels that must be right.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(100)], verbose_name='pass mark in percent')),
                ('near_misses', models.BooleanField(default=False, help_text='One level away from an accepted one, where the dimension has an order and three levels or more.', verbose_name='a near miss counts half')),
                ('practice_items', models.PositiveSmallIntegerField(default=10, help_text='Practice texts in one round; all of them where there are fewer.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(100)], verbose_name='texts in a round')),
                ('practice_retries', models.PositiveSmallIntegerField(default=0, help_text='How often somebody who failed may try again; 0 for as often as they like.', validators=[django.core.validators.MaxValueValidator(100)], verbose_name='retries')),
                ('gold_every', models.PositiveSmallIntegerField(default=0, help_text='One of so many texts is a hidden gold text, at a random place; 0 for none.', validators=[django.core.validators.MaxValueValidator(10000)], verbose_name='one gold text in about')),
                ('repeat_every', models.PositiveSmallIntegerField(default=0, help_text='One of so many texts is one that the person did before, at a random place; 0 for none.', validators=[django.core.validators.MaxValueValidator(10000)], verbose_name='one repeated text in about')),
                ('repeat_after', models.PositiveSmallIntegerField(default=20, help_text='At least so many other texts lie between a text and its repeat.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(1000)], verbose_name='repeat after')),
                ('seed', models.PositiveIntegerField(default=annotation.models.gold.new_seed, help_text='Decides the random places; the same seed gives the same ones.', validators=[django.core.validators.MaxValueValidator(2147483647)])),
            ],
            options={
                'verbose_name_plural': 'quality settings',
            },
        ),
        migrations.AddField(
            model_name='item',
            name='repeat_for',
            field=models.ForeignKey(blank=True, db_index=False, editable=False, help_text='The only person who gets this repeat.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='item',
            name='repeat_of',
            field=models.ForeignKey(blank=True, db_index=False, editable=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='repeats', to='annotation.item'),
        ),
        migrations.AddIndex(
            model_name='annotation',
            index=models.Index(condition=models.Q(('kind', 'work'), _negated=True), fields=['project', 'kind', 'annotator'], name='annotation_controls'),
        ),
        migrations.AddIndex(
            model_name='item',
            index=models.Index(condition=models.Q(('kind', 'work'), _negated=True), fields=['project', 'kind', 'id'], name='item_controls'),
        ),
        migrations.AddConstraint(
            model_name='item',
            constraint=models.UniqueConstraint(condition=models.Q(('repeat_of__isnull', False)), fields=('repeat_of', 'repeat_for'), name='item_repeated_once'),
        ),
        migrations.AddConstraint(
            model_name='item',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind', 'repeat'), ('repeat_for__isnull', False), ('repeat_of__isnull', False)), models.Q(models.Q(('kind', 'repeat'), _negated=True), ('repeat_for', None), ('repeat_of', None)), _connector='OR'), name='item_repeat_has_origin'),
        ),
        migrations.AddField(
            model_name='annotatorconsensus',
            name='annotator',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='consensusrun',
            name='created_by',
            field=models.ForeignKey(editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='consensusrun',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='consensus_runs', to='annotation.project'),
        ),
        migrations.AddField(
            model_name='annotatorconsensus',
            name='run',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='annotators', to='annotation.consensusrun'),
        ),
        migrations.AddField(
            model_name='control',
            name='annotator',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='controls', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='control',
            name='item',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='controls', to='annotation.item'),
        ),
        migrations.AddField(
            model_name='control',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='controls', to='annotation.project'),
        ),
        migrations.AddField(
            model_name='controlplan',
            name='annotator',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='control_plans', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='controlplan',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='control_plans', to='annotation.project'),
        ),
        migrations.AddField(
            model_name='gold',
            name='copied_from',
            field=models.ForeignKey(blank=True, help_text='The text it was copied from. Whoever had that one is not given this one.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='gold_copies', to='annotation.item'),
        ),
        migrations.AddField(
            model_name='gold',
            name='created_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='gold',
            name='item',
            field=models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='gold', to='annotation.item'),
        ),
        migrations.AddField(
            model_name='gold',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='gold', to='annotation.project'),
        ),
        migrations.AddField(
            model_name='itemconsensus',
            name='item',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='consensus', to='annotation.item'),
        ),
        migrations.AddField(
            model_name='itemconsensus',
            name='run',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='item_labels', to='annotation.consensusrun'),
        ),
        migrations.AddField(
            model_name='practiceanswer',
            name='annotator',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='practice_answers', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='practiceanswer',
            name='item',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='practice_answers', to='annotation.item'),
        ),
        migrations.AddField(
            model_name='practiceanswer',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='practice_answers', to='annotation.project'),
        ),
        migrations.AddField(
            model_name='practiceround',
            name='annotator',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='practice_rounds', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='practiceround',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='practice_rounds', to='annotation.project'),
        ),
        migrations.AddField(
            model_name='practiceanswer',
            name='round',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='answers', to='annotation.practiceround'),
        ),
        migrations.AddField(
            model_name='practicestanding',
            name='annotator',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='practice_standings', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='practicestanding',
            name='let_pass_by',
            field=models.ForeignKey(blank=True, help_text='The lead who let them pass; empty when a round was passed.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='practicestanding',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='practice_standings', to='annotation.project'),
        ),
        migrations.AddField(
            model_name='qualitysettings',
            name='project',
            field=models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='quality_settings', to='annotation.project'),
        ),
        migrations.AddIndex(
            model_name='consensusrun',
            index=models.Index(fields=['project', '-id'], name='consensus_by_project'),
        ),
        migrations.AddConstraint(
            model_name='annotatorconsensus',
            constraint=models.UniqueConstraint(fields=('run', 'annotator', 'dimension'), name='annotator_consensus_once'),
        ),
        migrations.AddConstraint(
            model_name='control',
            constraint=models.UniqueConstraint(fields=('item', 'annotator'), name='control_once'),
        ),
        migrations.AddIndex(
            model_name='control',
            index=models.Index(fields=['project', 'annotator', 'place'], name='control_by_person'),
        ),
        migrations.AddConstraint(
            model_name='controlplan',
            constraint=models.UniqueConstraint(fields=('project', 'annotator'), name='control_plan_once'),
        ),
        migrations.AddIndex(
            model_name='gold',
            index=models.Index(fields=['project', '-id'], name='gold_by_project'),
        ),
        migrations.AddConstraint(
            model_name='itemconsensus',
            constraint=models.UniqueConstraint(fields=('item', 'run'), name='item_consensus_once'),
        ),
        migrations.AddConstraint(
            model_name='practiceround',
            constraint=models.UniqueConstraint(fields=('project', 'annotator', 'number'), name='practice_round_number_once'),
        ),
        migrations.AddConstraint(
            model_name='practiceround',
            constraint=models.UniqueConstraint(condition=models.Q(('state', 'running')), fields=('project', 'annotator'), name='practice_round_one_running'),
        ),
        migrations.AddConstraint(
            model_name='practiceanswer',
            constraint=models.UniqueConstraint(fields=('round', 'position'), name='practice_answer_position_once'),
        ),
        migrations.AddConstraint(
            model_name='practiceanswer',
            constraint=models.UniqueConstraint(fields=('round', 'item'), name='practice_answer_item_once'),
        ),
        migrations.AddConstraint(
            model_name='practicestanding',
            constraint=models.UniqueConstraint(fields=('project', 'annotator'), name='practice_standing_once'),
        ),
        migrations.RunSQL(FORWARD, REVERSE),
    ]
