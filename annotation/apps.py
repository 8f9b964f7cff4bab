from django.apps import AppConfig


class AnnotationConfig(AppConfig):
    name = "annotation"

    def ready(self) -> None:
        from annotation import (
            dataset_export,
            endpoints,  # noqa: F401 - registers itself as a source of suggestions
            export_kinds,
        )

        export_kinds.register_all()
        dataset_export.register_all()
