"""Pages of the training application."""

from django.urls import path

from training import dataset_views, file_views, lineage_views, recipe_views, run_views, views

app_name = "training"
urlpatterns = [
    path("projects/<int:pk>/training/", views.home, name="home"),
    path("projects/<int:pk>/training/datasets/", dataset_views.index, name="datasets"),
    path("projects/<int:pk>/training/datasets/new/", dataset_views.freeze, name="freeze"),
    path("projects/<int:pk>/training/preferences/", dataset_views.preference_list, name="preferences"),
    path("projects/<int:pk>/training/preferences/upload/", dataset_views.preference_upload, name="preference-upload"),
    path("datasets/<int:pk>/", dataset_views.dataset, name="dataset"),
    path("datasets/<int:pk>/diff/", dataset_views.dataset_diff_page, name="dataset-diff"),
    path("datasets/<int:pk>/figures/<slug:name>.svg", dataset_views.dataset_figure, name="dataset-figure"),
    path("datasets/<int:pk>/files/<slug:file_format>.jsonl", dataset_views.dataset_file, name="dataset-file"),
    path("datasets/<int:pk>/delete/", dataset_views.dataset_delete, name="dataset-delete"),
    path("freezings/<int:pk>/", dataset_views.freezing, name="freezing"),
    path("freezings/<int:pk>/progress/", dataset_views.freezing_progress, name="freezing-progress"),
    path("freezings/<int:pk>/cancel/", dataset_views.freezing_cancel, name="freezing-cancel"),
    path("preferences/<int:pk>/delete/", dataset_views.preference_delete, name="preference-delete"),
    path("preference-imports/<int:pk>/", dataset_views.preference_import, name="preference-import"),
    path(
        "preference-imports/<int:pk>/progress/",
        dataset_views.preference_import_progress,
        name="preference-import-progress",
    ),
    path(
        "preference-imports/<int:pk>/cancel/", dataset_views.preference_import_cancel, name="preference-import-cancel"
    ),
    path("projects/<int:pk>/training/recipes/new/", recipe_views.new_recipe, name="new-recipe"),
    path("projects/<int:pk>/training/recipes/check/", recipe_views.recipe_check, name="recipe-check"),
    path("projects/<int:pk>/training/runs/check/", recipe_views.run_check, name="run-check"),
    path("projects/<int:pk>/training/prompts/", recipe_views.prompts, name="prompts"),
    path("projects/<int:pk>/training/runs/new/", views.new_run, name="new-run"),
    path("projects/<int:pk>/training/compare/", run_views.compare, name="compare"),
    path("recipes/<int:pk>/", recipe_views.recipe, name="recipe"),
    path("recipes/<int:pk>/recipe.yaml", recipe_views.recipe_file, name="recipe-file"),
    path("recipes/<int:pk>/pin/", recipe_views.recipe_pin, name="recipe-pin"),
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
    path("pairs/<int:pk>/uses/", lineage_views.uses, name="pair-uses"),
    path("datasets/<int:pk>/withdrawn/", lineage_views.of_dataset, name="dataset-withdrawn"),
    path("projects/<int:pk>/training/withdrawn/", lineage_views.of_project, name="withdrawn"),
]
