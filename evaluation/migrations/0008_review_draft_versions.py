from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('evaluation', '0007_study_openings_and_power_figure'),
    ]

    operations = [
        migrations.AddField(
            model_name='reviewtask',
            name='draft_sequence',
            field=models.PositiveIntegerField(default=0, editable=False, help_text="That tab's count of its saves."),
        ),
        migrations.AddField(
            model_name='reviewtask',
            name='draft_version',
            field=models.PositiveIntegerField(default=0, help_text='Counts the saves; a stale save is refused.'),
        ),
        migrations.AddField(
            model_name='reviewtask',
            name='draft_writer',
            field=models.CharField(blank=True, editable=False, help_text='The tab that saved last.', max_length=40),
        ),
        migrations.AddField(
            model_name='reviewtask',
            name='revision',
            field=models.PositiveIntegerField(default=0, help_text='Counts the submits with other answers; 0 before any.'),
        ),
        migrations.AddField(
            model_name='studymembership',
            name='guessing_at',
            field=models.DateTimeField(blank=True, editable=False, help_text='When they began to guess; their ratings are final since.', null=True),
        ),
        migrations.RunSQL(
            "UPDATE evaluation_reviewtask SET revision = 1 WHERE done_at IS NOT NULL", migrations.RunSQL.noop
        ),
    ]
