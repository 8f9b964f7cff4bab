from django.apps import AppConfig


class TrainingConfig(AppConfig):
    name = "training"

    def ready(self) -> None:
        from annotation import suggesters
        from annotation.models import Role
        from annotation.templatetags.site import NAVIGATION
        from training import suggestions

        NAVIGATION.append(("Training", "training:home", frozenset({Role.LEAD, Role.TRAINER})))
        suggesters.register(suggestions.SUGGESTER)
