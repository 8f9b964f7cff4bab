"""Pages of the training application."""

from django.urls import path

from training import file_views, run_views, views

app_name = "training"
urlpatterns = [
    path("projects/<int:pk>/training/", views.home, name="home"),
    path("projects/<int:pk>/training/datasets/new/", views.freeze, name="freeze"),
    path("projects/<int:pk>/training/recipes/new/", views.new_recipe, name="new-recipe"),
    path("projects/<int:pk>/training/runs/new/", views.new_run, name="new-run"),
    path("projects/<int:pk>/training/compare/", run_views.compare, name="compare"),
    path("datasets/<int:pk>/", views.dataset, name="dataset"),
    path("datasets/<int:pk>/files/<slug:file_format>.jsonl", views.dataset_file, name="dataset-file"),
    path("datasets/<int:pk>/delete/", views.dataset_delete, name="dataset-delete"),
    path("recipes/<int:pk>/", views.recipe, name="recipe"),
    path("runs/<int:pk>/", views.run, name="run"),
    path("runs/<int:pk>/progress/", views.run_progress, name="run-progress"),
    path("runs/<int:pk>/loss.svg", views.run_figure, name="run-figure"),
    path("runs/<int:pk>/log.txt", file_views.run_log, name="run-log"),
    path("runs/<int:pk>/adapter.zip", file_views.run_adapter, name="run-adapter"),
    path("runs/<int:pk>/merged.zip", file_views.run_merged, name="run-merged"),
    path("runs/<int:pk>/card/", file_views.run_card, name="run-card"),
    path("runs/<int:pk>/publish/", file_views.run_publish, name="run-publish"),
    path("publications/<int:pk>/progress/", file_views.publication_progress, name="publication-progress"),
    path("publications/<int:pk>/cancel/", file_views.publication_cancel, name="publication-cancel"),
    path("runs/<int:pk>/cancel/", views.run_cancel, name="run-cancel"),
    path("runs/<int:pk>/delete/", views.run_delete, name="run-delete"),
]
