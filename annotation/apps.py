from django.apps import AppConfig


class AnnotationConfig(AppConfig):
    name = "annotation"

    def ready(self) -> None:
        from annotation import (
            agreement_report,  # noqa: F401 - registers its export itself
            dataset_export,
            endpoints,
            export_kinds,
            exports,
            suggesters,
            suggestion_exports,
        )

        export_kinds.register_all()
        dataset_export.register_all()
        exports.register(suggestion_exports.EXPORTER)
        suggesters.register(endpoints.SUGGESTER)
