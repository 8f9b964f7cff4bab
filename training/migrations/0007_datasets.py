"""Stratified datasets without near-duplicates across splits, freezing as a job, preferences."""

import annotation.models.files
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

FORWARD = """
DROP TRIGGER training_dataset_frozen ON training_dataset;
CREATE TRIGGER training_dataset_frozen
    BEFORE UPDATE OF project_id, kind, content_hash, seed, shares, filters, stratify_by, near_duplicates, counts, figures
    ON training_dataset
    FOR EACH ROW
    WHEN (
        (OLD.project_id, OLD.kind, OLD.content_hash, OLD.seed, OLD.shares, OLD.filters, OLD.stratify_by,
            OLD.near_duplicates, OLD.counts, OLD.figures)
        IS DISTINCT FROM (NEW.project_id, NEW.kind, NEW.content_hash, NEW.seed, NEW.shares, NEW.filters, NEW.stratify_by,
            NEW.near_duplicates, NEW.counts, NEW.figures)
    )
    EXECUTE FUNCTION training_refuse_change();
"""
REVERSE = """
DROP TRIGGER training_dataset_frozen ON training_dataset;
CREATE TRIGGER training_dataset_frozen
    BEFORE UPDATE OF project_id, content_hash, seed, shares, filters, counts ON training_dataset
    FOR EACH ROW
    WHEN (
        (OLD.project_id, OLD.content_hash, OLD.seed, OLD.shares, OLD.filters, OLD.counts)
        IS DISTINCT FROM (NEW.project_id, NEW.content_hash, NEW.seed, NEW.shares, NEW.filters, NEW.counts)
    )
    EXECUTE FUNCTION training_refuse_change();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('annotation', '0013_reading_by_person'),
        ('training', '0006_recipes_and_base_models'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='PreferenceImport',
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
                ('file', models.FileField(upload_to=annotation.models.files.upload_path)),
                ('file_name', models.CharField(max_length=255)),
                ('file_format', models.CharField(max_length=5)),
                ('imported', models.PositiveIntegerField(default=0)),
                ('present', models.PositiveIntegerField(default=0, help_text='Rows that were there already.')),
                ('rejected', models.PositiveIntegerField(default=0)),
                ('problems', models.JSONField(default=list, help_text='row, field, reason and excerpt of the first ones rejected.')),
                ('applied_at', models.DateTimeField(blank=True, editable=False, null=True)),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.AddField(
            model_name='dataset',
            name='figures',
            field=models.JSONField(default=dict, editable=False, help_text='Counted when it was frozen, as training.dataset_figures.count says.'),
        ),
        migrations.AddField(
            model_name='dataset',
            name='near_duplicates',
            field=models.FloatField(editable=False, help_text='Texts at least so alike (near_duplicates.jaccard) share a split.', null=True),
        ),
        migrations.AddField(
            model_name='dataset',
            name='stratify_by',
            field=models.CharField(blank=True, editable=False, help_text="target_group, source, or label: and a dimension's key.", max_length=60),
        ),
        migrations.AddField(
            model_name='datasetrow',
            name='copy',
            field=models.PositiveIntegerField(default=0, help_text='0 for the first row of its text in the dataset.'),
        ),
        migrations.AddField(
            model_name='datasetrow',
            name='text_key',
            field=models.CharField(default='', help_text='sha256 of the text, folded in case and white space.', max_length=64),
            preserve_default=False,
        ),
        migrations.AlterField(
            model_name='datasetrow',
            name='item',
            field=models.ForeignKey(help_text='None for an uploaded preference.', null=True, on_delete=django.db.models.deletion.RESTRICT, related_name='dataset_rows', to='annotation.item'),
        ),
        migrations.CreateModel(
            name='Freezing',
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
                ('name', models.CharField(max_length=200)),
                ('settings', models.JSONField(default=dict, editable=False)),
                ('created_by', models.ForeignKey(editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('dataset', models.ForeignKey(editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='training.dataset')),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='freezings', to='annotation.project')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='Preference',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('text', models.TextField(help_text="What both are outputs for; a recipe's prompt is put around it.")),
                ('chosen', models.TextField()),
                ('rejected', models.TextField()),
                ('digest', models.CharField(editable=False, help_text='See preferences.digest.', max_length=64)),
                ('source', models.CharField(choices=[('study', 'Blind study'), ('pairs', 'Approved pairs'), ('upload', 'Upload')], max_length=10)),
                ('origin', models.JSONField(blank=True, default=dict)),
                ('votes', models.PositiveIntegerField(default=1, help_text='How many people preferred it.')),
                ('voters', models.PositiveIntegerField(default=1, help_text='How many were asked.')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('created_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('item', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.RESTRICT, related_name='preferences', to='annotation.item')),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='preferences', to='annotation.project')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.AddField(
            model_name='datasetrow',
            name='preference',
            field=models.ForeignKey(help_text='None for a pair.', null=True, on_delete=django.db.models.deletion.RESTRICT, related_name='dataset_rows', to='training.preference'),
        ),
        migrations.AddConstraint(
            model_name='datasetrow',
            constraint=models.UniqueConstraint(fields=('dataset', 'preference'), name='dataset_preference_once'),
        ),
        migrations.AddField(
            model_name='preferenceimport',
            name='created_by',
            field=models.ForeignKey(editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='preferenceimport',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='preference_imports', to='annotation.project'),
        ),
        migrations.AddConstraint(
            model_name='preference',
            constraint=models.UniqueConstraint(fields=('project', 'source', 'digest'), name='preference_once'),
        ),
        migrations.AddConstraint(
            model_name='preference',
            constraint=models.CheckConstraint(condition=models.Q(('chosen', models.F('rejected')), _negated=True), name='preference_of_two'),
        ),
        migrations.RunSQL(FORWARD, REVERSE),
    ]
