"""`manage.py seed_demo`: the demo project and its accounts, once."""

from django.core.management.base import BaseCommand

from config.env import env_str
from evaluation import demo


class Command(BaseCommand):
    help = "Make the demo project and its accounts; DEMO_PASSWORD is the accounts' password. Safe to run again."

    def handle(self, *args, **options) -> None:
        project = demo.build(env_str("DEMO_PASSWORD"))
        self.stdout.write(f"The project “{project}” has {project.items.count()} texts.")
