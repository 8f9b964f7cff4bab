"""Pages of the annotation application."""

from django.urls import path

from annotation.views import annotate

app_name = "annotation"
urlpatterns = [
    # Annotators
    path("projects/<int:pk>/annotate/", annotate.annotate, name="annotate"),
    path("assignments/<int:pk>/draft/", annotate.draft, name="draft"),
    path("assignments/<int:pk>/submit/", annotate.submit, name="submit"),
    path("assignments/<int:pk>/skip/", annotate.skip, name="skip"),
    path("projects/<int:pk>/annotate/back/", annotate.back, name="back"),
    path("annotations/<int:pk>/", annotate.revise, name="revise"),
]
