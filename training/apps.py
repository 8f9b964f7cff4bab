from django.apps import AppConfig


class TrainingConfig(AppConfig):
    name = "training"

    def ready(self) -> None:
        from annotation import pair_notes, suggesters
        from annotation.models import Role
        from annotation.templatetags.site import NAVIGATION
        from training import lineage, suggestions

        NAVIGATION.append(("Training", "training:home", frozenset({Role.LEAD, Role.TRAINER})))
        suggesters.register(suggestions.SUGGESTER)
        pair_notes.NOTES.append(pair_notes.Note("training/_pair_note.html", lineage.note))
