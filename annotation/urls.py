"""Pages of the annotation application."""

from django.urls import path

from annotation.views import annotate, projects

app_name = "annotation"
urlpatterns = [
    path("", projects.index, name="home"),
    path("projects/<int:pk>/", projects.overview, name="project"),
    path("projects/<int:pk>/items/", projects.overview, name="items"),
    path("items/<int:pk>/", projects.overview, name="item"),
    path("projects/<int:pk>/pairs/", projects.overview, name="pairs"),
    path("pairs/<int:pk>/", projects.overview, name="pair"),
    path("imports/<int:pk>/", projects.overview, name="import"),
    path("exports/<int:pk>/", projects.overview, name="export"),
    # Annotators
    path("projects/<int:pk>/annotate/", annotate.annotate, name="annotate"),
    path("assignments/<int:pk>/draft/", annotate.draft, name="draft"),
    path("assignments/<int:pk>/submit/", annotate.submit, name="submit"),
    path("assignments/<int:pk>/skip/", annotate.skip, name="skip"),
    path("projects/<int:pk>/annotate/back/", annotate.back, name="back"),
    path("annotations/<int:pk>/", annotate.revise, name="revise"),
]
