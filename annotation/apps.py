from django.apps import AppConfig


class AnnotationConfig(AppConfig):
    name = "annotation"

    def ready(self) -> None:
        from annotation import endpoints  # noqa: F401 - registers itself as a source of suggestions
