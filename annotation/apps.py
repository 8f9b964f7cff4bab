from django.apps import AppConfig


class AnnotationConfig(AppConfig):
    name = "annotation"

    def ready(self) -> None:
        from annotation import (
            agreement_report,  # noqa: F401 - registers its export itself
            endpoints,
            exports,
            suggesters,
            suggestion_exports,
        )

        suggesters.register(endpoints.SUGGESTER)
        exports.register(suggestion_exports.EXPORTER)
