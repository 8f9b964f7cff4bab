
import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
import django.utils.timezone
import evaluation.models.studies
from django.conf import settings
from django.db import migrations, models


# Criteria had words for the first and the last of five levels; slots stood for one output each.
MOVE = """
UPDATE evaluation_criterion SET anchors = ARRAY[low, '2', '3', '4', high]::varchar(80)[];
INSERT INTO evaluation_slotoutput (slot_id, output_id) SELECT id, output_id FROM evaluation_slot;
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
"""

# What was planned, and what was changed later, stays as it was written.
FORWARD = """
CREATE FUNCTION evaluation_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'Protocols and their amendments do not change; write an amendment.'
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER evaluation_protocol_kept BEFORE UPDATE ON evaluation_protocol
    FOR EACH ROW EXECUTE FUNCTION evaluation_refuse_change();
CREATE TRIGGER evaluation_amendment_kept BEFORE UPDATE ON evaluation_amendment
    FOR EACH ROW EXECUTE FUNCTION evaluation_refuse_change();
"""

REVERSE = """
DROP TRIGGER evaluation_amendment_kept ON evaluation_amendment;
DROP TRIGGER evaluation_protocol_kept ON evaluation_protocol;
DROP FUNCTION evaluation_refuse_change();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('annotation', '0013_reading_by_person'),
        ('evaluation', '0003_generation_by_endpoints_and_tries'),
        ('training', '0008_keys_of_old_rows'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Amendment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('changes', models.JSONField(blank=True, default=dict, help_text='Field -> [before, after].')),
                ('reason', models.TextField()),
                ('tasks_done', models.PositiveIntegerField(help_text='Finished pages at the time.')),
                ('blind', models.BooleanField(help_text='Whether it was made before the study was unblinded.')),
                ('sha256', models.CharField(max_length=64)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={
                'ordering': ['study_id', 'number'],
            },
        ),
        migrations.CreateModel(
            name='Guess',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('value', models.CharField(choices=[('tuned', 'A tuned model'), ('other', 'Something else'), ('unknown', 'I cannot tell')], max_length=10)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={
                'verbose_name_plural': 'guesses',
            },
        ),
        migrations.CreateModel(
            name='PowerAnalysis',
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
                ('parameters', models.JSONField(default=dict)),
                ('results', models.JSONField(blank=True, default=dict)),
            ],
            options={
                'verbose_name_plural': 'power analyses',
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='Protocol',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('text', models.TextField(help_text='JSON with sorted keys, as it was hashed.')),
                ('sha256', models.CharField(max_length=64)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
        ),
        migrations.CreateModel(
            name='SlotOutput',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
            ],
        ),
        migrations.CreateModel(
            name='StudyItem',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('stratum', models.CharField(blank=True, max_length=200)),
                ('spare', models.BooleanField(default=False, help_text='For practice and attention checks only.')),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.RemoveConstraint(
            model_name='rating',
            name='rating_on_the_scale',
        ),
        migrations.RemoveConstraint(
            model_name='reviewtask',
            name='review_task_once',
        ),
        migrations.RemoveConstraint(
            model_name='reviewtask',
            name='review_task_done_has_preference',
        ),
        migrations.RemoveConstraint(
            model_name='slot',
            name='slot_output_once',
        ),
        migrations.AddField(
            model_name='criterion',
            name='anchors',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=80), default=evaluation.models.studies.default_anchors, help_text='What each level means, the worst first.', size=None),
        ),
        migrations.AddField(
            model_name='criterion',
            name='hypothesis',
            field=models.CharField(choices=[('superiority', 'Better than the reference'), ('difference', 'Other than the reference, better or worse'), ('noninferiority', 'Not worse than the reference by more than the margin'), ('none', 'Described, not tested')], default='none', max_length=20),
        ),
        migrations.AddField(
            model_name='criterion',
            name='margin',
            field=models.FloatField(blank=True, help_text='In levels: a difference this large in favour of the reference would matter.', null=True),
        ),
        migrations.AddField(
            model_name='rating',
            name='cannot_judge',
            field=models.CharField(blank=True, choices=[('unclear', 'I do not understand the text'), ('language', 'I do not know the language well enough'), ('context', 'It needs context that I lack'), ('upsetting', 'I would rather not judge it'), ('other', 'Another reason (say it in the comment)')], max_length=10),
        ),
        migrations.AddField(
            model_name='reviewtask',
            name='expected',
            field=models.JSONField(blank=True, help_text='Of a check: the slot and what to choose for it.', null=True),
        ),
        migrations.AddField(
            model_name='reviewtask',
            name='guess_wanted',
            field=models.BooleanField(default=False, help_text='After rating, the reviewer guesses about its outputs.'),
        ),
        migrations.AddField(
            model_name='reviewtask',
            name='guessed_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='reviewtask',
            name='kind',
            field=models.CharField(choices=[('practice', 'Practice'), ('rating', 'Rating'), ('check', 'Attention check'), ('repeat', 'Seen before'), ('same', 'All outputs alike: a tie that nobody was shown')], default='rating', max_length=10),
        ),
        migrations.AddField(
            model_name='reviewtask',
            name='repeats',
            field=models.ForeignKey(blank=True, help_text='The page seen before.', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='repeated_by', to='evaluation.reviewtask'),
        ),
        migrations.AddField(
            model_name='reviewtask',
            name='unpreferred',
            field=models.CharField(blank=True, choices=[('unclear', 'I do not understand the text'), ('language', 'I do not know the language well enough'), ('context', 'It needs context that I lack'), ('upsetting', 'I would rather not judge it'), ('other', 'Another reason (say it in the comment)')], help_text='Why no choice could be made.', max_length=10),
        ),
        migrations.AddField(
            model_name='reviewtask',
            name='worst',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='worst_in', to='evaluation.slot'),
        ),
        migrations.AddField(
            model_name='study',
            name='allocation',
            field=models.CharField(choices=[('proportional', 'As many of each kind as its share'), ('equal', 'Equally many of each kind')], default='proportional', max_length=20),
        ),
        migrations.AddField(
            model_name='study',
            name='checks',
            field=models.PositiveSmallIntegerField(default=0, help_text='Pages for each reviewer where one output says what to choose, of texts outside the study.', validators=[django.core.validators.MaxValueValidator(20)], verbose_name='attention checks'),
        ),
        migrations.AddField(
            model_name='study',
            name='dataset',
            field=models.ForeignKey(blank=True, help_text='Draw only from this dataset.', null=True, on_delete=django.db.models.deletion.RESTRICT, related_name='+', to='training.dataset'),
        ),
        migrations.AddField(
            model_name='study',
            name='guesses',
            field=models.PositiveSmallIntegerField(default=0, help_text='After rating, each reviewer says of the outputs on this many pages which came from a tuned model.', validators=[django.core.validators.MaxValueValidator(20)], verbose_name='pages to guess on'),
        ),
        migrations.AddField(
            model_name='study',
            name='hypotheses',
            field=models.TextField(blank=True, help_text='What you expect, in your own words, for the protocol.'),
        ),
        migrations.AddField(
            model_name='study',
            name='layout',
            field=models.CharField(choices=[('rate', 'One output a page: criteria'), ('side_by_side', 'Two to four outputs a page: criteria and the better one'), ('pairwise', 'Two outputs a page: the better one'), ('best_worst', 'Three or four outputs a page: the best and the worst one')], default='side_by_side', max_length=20),
        ),
        migrations.AddField(
            model_name='study',
            name='min_passed',
            field=models.PositiveSmallIntegerField(default=75, help_text='Below this share a reviewer has failed.', validators=[django.core.validators.MaxValueValidator(100)], verbose_name='attention checks to pass, in percent'),
        ),
        migrations.AddField(
            model_name='study',
            name='min_seconds',
            field=models.PositiveSmallIntegerField(default=0, help_text='Pages answered in less are left out of the main analysis. 0: none.', validators=[django.core.validators.MaxValueValidator(600)], verbose_name='least seconds on a page'),
        ),
        migrations.AddField(
            model_name='study',
            name='normalisation',
            field=models.JSONField(blank=True, default=list, help_text='What is taken off an output before it is shown, besides white space.'),
        ),
        migrations.AddField(
            model_name='study',
            name='on_failure',
            field=models.CharField(choices=[('keep', 'Keep the ratings, and report the failures'), ('exclude', 'Leave the reviewer out of the main analysis, and report it with and without')], default='keep', max_length=10, verbose_name='who fails the checks'),
        ),
        migrations.AddField(
            model_name='study',
            name='part',
            field=models.CharField(choices=[('train', 'Train'), ('validation', 'Validation'), ('test', 'Test'), ('all', 'All splits')], default='test', help_text='And only this part.', max_length=10),
        ),
        migrations.AddField(
            model_name='study',
            name='per_page',
            field=models.PositiveSmallIntegerField(blank=True, help_text='Outputs on a page. Empty: as many as the layout and the systems allow.', null=True, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(4)]),
        ),
        migrations.AddField(
            model_name='study',
            name='practice',
            field=models.PositiveSmallIntegerField(default=0, help_text='At the beginning, of texts outside the study. They do not count.', validators=[django.core.validators.MaxValueValidator(20)], verbose_name='practice pages'),
        ),
        migrations.AddField(
            model_name='study',
            name='preference_question',
            field=models.CharField(default='Overall, which is the better safe rewrite?', max_length=200),
        ),
        migrations.AddField(
            model_name='study',
            name='ratings_hash',
            field=models.CharField(blank=True, editable=False, help_text='SHA-256 of all answers when the study was closed.', max_length=64),
        ),
        migrations.AddField(
            model_name='study',
            name='ratings_per_output',
            field=models.PositiveIntegerField(blank=True, help_text='How many reviewers see each output. Empty: all of them.', null=True, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(1000)]),
        ),
        migrations.AddField(
            model_name='study',
            name='repeats',
            field=models.PositiveSmallIntegerField(default=0, help_text='Pages that each reviewer sees again in another order, for self-consistency.', validators=[django.core.validators.MaxValueValidator(50)], verbose_name='repeated pages'),
        ),
        migrations.AddField(
            model_name='study',
            name='strata',
            field=models.CharField(blank=True, choices=[('', 'Nothing: all texts alike'), ('target_group', 'Target group'), ('source', 'Source'), ('language', 'Language')], default='', help_text='Draw by kind of text.', max_length=20),
        ),
        migrations.AddField(
            model_name='study',
            name='tuned',
            field=models.ManyToManyField(blank=True, help_text='The tuned models, for the question after rating: which outputs came from one?', related_name='+', to='evaluation.system'),
        ),
        migrations.AddField(
            model_name='study',
            name='unblinded_at',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='study',
            name='unblinded_by',
            field=models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='studymembership',
            name='revoked_at',
            field=models.DateTimeField(blank=True, editable=False, help_text='When they were taken off.', null=True),
        ),
        migrations.AlterField(
            model_name='rating',
            name='value',
            field=models.PositiveSmallIntegerField(null=True),
        ),
        migrations.AlterField(
            model_name='reviewtask',
            name='preferred',
            field=models.ForeignKey(blank=True, help_text='The better, or the best, output.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='preferred_in', to='evaluation.slot'),
        ),
        migrations.AlterField(
            model_name='slot',
            name='text',
            field=models.TextField(help_text='The output when the study started, in the form the protocol names.'),
        ),
        migrations.AlterField(
            model_name='study',
            name='seed',
            field=models.PositiveIntegerField(default=1, help_text='Decides which texts, who sees which outputs, and every order.', validators=[django.core.validators.MaxValueValidator(2147483647)]),
        ),
        migrations.AlterField(
            model_name='system',
            name='kind',
            field=models.CharField(choices=[('run', 'Model of a training run'), ('base', 'Base model with a prompt'), ('endpoint', 'Endpoint with a prompt'), ('upload', 'Uploaded outputs'), ('original', 'The untouched original'), ('rewrite', 'The approved rewrite')], max_length=10),
        ),
        migrations.AddConstraint(
            model_name='rating',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('cannot_judge', ''), ('value__gte', 1), ('value__lte', 7)), models.Q(('value', None), models.Q(('cannot_judge', ''), _negated=True)), _connector='OR'), name='rating_is_a_level_or_a_reason'),
        ),
        migrations.AddConstraint(
            model_name='reviewtask',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('preferred', None), ('tie', False), ('unpreferred', ''), ('worst', None)), models.Q(('done_at__isnull', False), ('preferred', None), ('tie', True), ('unpreferred', ''), ('worst', None)), models.Q(('done_at__isnull', False), ('preferred', None), ('tie', False), ('worst', None), models.Q(('unpreferred', ''), _negated=True)), models.Q(('done_at__isnull', False), ('preferred__isnull', False), ('tie', False), ('unpreferred', '')), _connector='OR'), name='review_task_one_choice'),
        ),
        migrations.AddField(
            model_name='amendment',
            name='created_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='amendment',
            name='study',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='amendments', to='evaluation.study'),
        ),
        migrations.AddField(
            model_name='guess',
            name='slot',
            field=models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='guess', to='evaluation.slot'),
        ),
        migrations.AddField(
            model_name='poweranalysis',
            name='created_by',
            field=models.ForeignKey(editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='poweranalysis',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='power_analyses', to='annotation.project'),
        ),
        migrations.AddField(
            model_name='poweranalysis',
            name='study',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='power_analyses', to='evaluation.study'),
        ),
        migrations.AddField(
            model_name='protocol',
            name='created_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='protocol',
            name='study',
            field=models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='protocol', to='evaluation.study'),
        ),
        migrations.AddField(
            model_name='slotoutput',
            name='output',
            field=models.ForeignKey(on_delete=django.db.models.deletion.RESTRICT, related_name='slot_outputs', to='evaluation.output'),
        ),
        migrations.AddField(
            model_name='slotoutput',
            name='slot',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='slot_outputs', to='evaluation.slot'),
        ),
        migrations.AddField(
            model_name='slot',
            name='outputs',
            field=models.ManyToManyField(related_name='slots', through='evaluation.SlotOutput', to='evaluation.output'),
        ),
        migrations.AddField(
            model_name='studyitem',
            name='item',
            field=models.ForeignKey(on_delete=django.db.models.deletion.RESTRICT, related_name='+', to='annotation.item'),
        ),
        migrations.AddField(
            model_name='studyitem',
            name='study',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='drawn', to='evaluation.study'),
        ),
        migrations.AddConstraint(
            model_name='amendment',
            constraint=models.UniqueConstraint(fields=('study', 'number'), name='amendment_number_once'),
        ),
        migrations.AddConstraint(
            model_name='slotoutput',
            constraint=models.UniqueConstraint(fields=('slot', 'output'), name='slot_output_once'),
        ),
        migrations.AddConstraint(
            model_name='studyitem',
            constraint=models.UniqueConstraint(fields=('study', 'item'), name='study_item_once'),
        ),
        migrations.RunSQL(MOVE, migrations.RunSQL.noop),
        migrations.RemoveField(
            model_name='criterion',
            name='high',
        ),
        migrations.RemoveField(
            model_name='criterion',
            name='low',
        ),
        migrations.RemoveField(
            model_name='slot',
            name='output',
        ),
        migrations.RunSQL(FORWARD, REVERSE),
    ]
