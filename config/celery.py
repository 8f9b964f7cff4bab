"""The Celery application. Tasks carry ids only; what a job is and how it stands is in PostgreSQL."""

import os
import signal

from celery import Celery, signals

from config.processes import end_with_parent

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("redress")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@signals.worker_process_init.connect
@signals.beat_embedded_init.connect
def _end_with_the_worker(**_) -> None:
    """When a worker is killed, its pool must not go on with a job that another worker takes over."""
    end_with_parent(signal.SIGKILL)
