from django.apps import AppConfig


class AnnotationConfig(AppConfig):
    name = "annotation"

    def ready(self) -> None:
        # They register themselves: a kind of export, and a source of suggestions.
        from annotation import agreement_report, endpoints  # noqa: F401
