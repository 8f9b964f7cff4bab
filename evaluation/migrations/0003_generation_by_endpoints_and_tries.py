import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from decimal import Decimal
from django.conf import settings
from django.db import migrations, models


# What decides a system's outputs does not change once there are any.
FORWARD = """
CREATE FUNCTION evaluation_refuse_other_system() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM evaluation_output WHERE system_id = OLD.id) THEN
        RAISE EXCEPTION 'This system has outputs, so how it makes them cannot be changed; make another system.'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER evaluation_system_frozen
    BEFORE UPDATE OF project_id, kind, run_id, base_model, prompt_id, prompt_template, settings ON evaluation_system
    FOR EACH ROW
    WHEN (
        (OLD.project_id, OLD.kind, OLD.run_id, OLD.base_model, OLD.prompt_id, OLD.prompt_template, OLD.settings)
        IS DISTINCT FROM
        (NEW.project_id, NEW.kind, NEW.run_id, NEW.base_model, NEW.prompt_id, NEW.prompt_template, NEW.settings)
    )
    EXECUTE FUNCTION evaluation_refuse_other_system();
"""

REVERSE = """
DROP TRIGGER evaluation_system_frozen ON evaluation_system;
DROP FUNCTION evaluation_refuse_other_system();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('annotation', '0013_reading_by_person'),
        ('evaluation', '0002_generation'),
        ('training', '0004_methods_prompts_samples'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name='generation',
            name='failed',
            field=models.PositiveIntegerField(default=0, editable=False, help_text='Texts without a usable output.'),
        ),
        migrations.AddField(
            model_name='output',
            name='charged_tokens',
            field=models.PositiveIntegerField(db_default=0, default=0, help_text='What an endpoint counted, or the most it can have been: they count towards the budget.'),
        ),
        migrations.AddField(
            model_name='output',
            name='cost',
            field=models.DecimalField(db_default=Decimal('0'), decimal_places=8, default=Decimal('0'), max_digits=16),
        ),
        migrations.AddField(
            model_name='output',
            name='cut_off',
            field=models.BooleanField(db_default=False, default=False, help_text='It had not come to an end at the limit of tokens.'),
        ),
        migrations.AddField(
            model_name='output',
            name='model',
            field=models.CharField(blank=True, db_default='', help_text='As an endpoint named it.', max_length=300),
        ),
        migrations.AddField(
            model_name='output',
            name='prompt_cut',
            field=models.BooleanField(db_default=False, default=False, help_text='The prompt was longer than the model reads and lost its beginning.'),
        ),
        migrations.AddField(
            model_name='output',
            name='prompt_tokens',
            field=models.PositiveIntegerField(blank=True, help_text='That the model read.', null=True),
        ),
        migrations.AddField(
            model_name='system',
            name='budget',
            field=models.DecimalField(blank=True, decimal_places=8, help_text="For all outputs of this system, in the currency of the endpoints' prices.", max_digits=16, null=True, validators=[django.core.validators.MinValueValidator(0)], verbose_name='budget in money'),
        ),
        migrations.AddField(
            model_name='system',
            name='budget_tokens',
            field=models.PositiveBigIntegerField(blank=True, help_text='Prompts and outputs together.', null=True, verbose_name='budget in tokens'),
        ),
        migrations.AddField(
            model_name='system',
            name='endpoint',
            field=models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='systems', to='annotation.endpoint'),
        ),
        migrations.AddField(
            model_name='system',
            name='prompt',
            field=models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.RESTRICT, related_name='systems', to='training.promptversion'),
        ),
        migrations.AddField(
            model_name='system',
            name='rate_per_minute',
            field=models.PositiveIntegerField(db_default=60, default=60, help_text='To the endpoint, at most.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(100000)], verbose_name='requests per minute'),
        ),
        migrations.AlterField(
            model_name='generation',
            name='split',
            field=models.CharField(choices=[('train', 'Train'), ('validation', 'Validation'), ('test', 'Test'), ('all', 'All splits')], default='test', max_length=10),
        ),
        migrations.AlterField(
            model_name='output',
            name='seconds',
            field=models.FloatField(blank=True, help_text="Its share of its batch's, or of its request.", null=True),
        ),
        migrations.AlterField(
            model_name='output',
            name='tokens',
            field=models.PositiveIntegerField(blank=True, help_text='That the model wrote.', null=True),
        ),
        migrations.AlterField(
            model_name='system',
            name='base_model',
            field=models.CharField(blank=True, help_text="A hub id, a folder, or an endpoint's model.", max_length=300),
        ),
        migrations.AlterField(
            model_name='system',
            name='kind',
            field=models.CharField(choices=[('run', 'Model of a training run'), ('base', 'Base model with a prompt'), ('endpoint', 'Endpoint with a prompt'), ('upload', 'Uploaded outputs')], max_length=10),
        ),
        migrations.CreateModel(
            name='Try',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('text', models.TextField()),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='tries', to=settings.AUTH_USER_MODEL)),
                ('item', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='annotation.item')),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='tries', to='annotation.project')),
            ],
            options={
                'verbose_name_plural': 'tries',
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='TryOutput',
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
                ('text', models.TextField(blank=True, editable=False)),
                ('tokens', models.PositiveIntegerField(editable=False, null=True)),
                ('prompt_tokens', models.PositiveIntegerField(editable=False, null=True)),
                ('seconds', models.FloatField(editable=False, null=True)),
                ('loading_seconds', models.FloatField(editable=False, null=True)),
                ('cut_off', models.BooleanField(default=False, editable=False)),
                ('prompt_cut', models.BooleanField(default=False, editable=False)),
                ('charged_tokens', models.PositiveIntegerField(default=0, editable=False)),
                ('cost', models.DecimalField(decimal_places=8, default=Decimal('0'), editable=False, max_digits=16)),
                ('attempted', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='outputs', to='evaluation.try')),
                ('created_by', models.ForeignKey(editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('system', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='try_outputs', to='evaluation.system')),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='FailedOutput',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('reason', models.CharField(default='It was being asked for when the worker stopped.', max_length=500)),
                ('answer', models.TextField(blank=True, help_text='What came instead, if anything did.')),
                ('charged_tokens', models.PositiveIntegerField(default=0)),
                ('cost', models.DecimalField(decimal_places=8, default=Decimal('0'), max_digits=16)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('generation', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='failed_outputs', to='evaluation.generation')),
                ('item', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='failed_outputs', to='annotation.item')),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='failed_outputs', to='annotation.project')),
                ('system', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='failed_outputs', to='evaluation.system')),
            ],
            options={
                'ordering': ['-id'],
                'indexes': [models.Index(fields=['system', '-id'], name='failed_output_of_system')],
                'constraints': [models.UniqueConstraint(fields=('generation', 'item'), name='failed_output_once')],
            },
        ),
        migrations.AddIndex(
            model_name='try',
            index=models.Index(fields=['project', 'created_by', '-id'], name='try_of_person'),
        ),
        migrations.AddConstraint(
            model_name='tryoutput',
            constraint=models.UniqueConstraint(fields=('attempted', 'system'), name='try_output_once'),
        ),
        migrations.RunSQL(FORWARD, REVERSE),
    ]
