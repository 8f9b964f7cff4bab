"""Pages of the annotation application."""

from django.urls import path

from annotation.views import (
    adjudication,
    agreement,
    annotate,
    items,
    jobs,
    pairs,
    projects,
    record,
    suggestions,
    votes,
    wellbeing,
)

app_name = "annotation"
urlpatterns = [
    path("", projects.index, name="home"),
    path("projects/new/", projects.create, name="new-project"),
    path("projects/<int:pk>/", projects.overview, name="project"),
    path("projects/<int:pk>/edit/", projects.edit, name="edit-project"),
    path("projects/<int:pk>/members/", projects.members, name="members"),
    path("projects/<int:pk>/members/<int:user_pk>/", projects.member, name="member"),
    path("projects/<int:pk>/guidelines/", record.guidelines, name="guidelines"),
    path("projects/<int:pk>/log/", record.log, name="log"),
    path("guidelines/preview/", record.preview, name="guidelines-preview"),
    # Texts
    path("projects/<int:pk>/items/", items.items, name="items"),
    path("items/<int:pk>/", items.item, name="item"),
    path("items/<int:pk>/change/", items.change, name="change-item"),
    path("items/<int:pk>/settle/", items.settle_now, name="settle-now"),
    # Pairs
    path("projects/<int:pk>/pairs/", pairs.queue, name="pairs"),
    path("pairs/<int:pk>/", pairs.pair, name="pair"),
    # Suggestions
    path("projects/<int:pk>/suggestions/", suggestions.overview, name="suggestions"),
    path("projects/<int:pk>/suggestions/settings/", suggestions.edit, name="suggestion-settings"),
    path("projects/<int:pk>/suggestions/switch/", suggestions.switch, name="suggestion-switch"),
    path("projects/<int:pk>/suggestions/start/", suggestions.start, name="suggestion-start"),
    path("projects/<int:pk>/suggestions/answers/", suggestions.answers, name="suggestion-answers"),
    path("projects/<int:pk>/suggestions/report/", suggestions.report, name="suggestion-report"),
    path("suggestion-jobs/<int:pk>/progress/", suggestions.job_progress, name="suggestion-job-progress"),
    path("suggestion-jobs/<int:pk>/cancel/", suggestions.job_cancel, name="suggestion-job-cancel"),
    path("suggestion-reports/<int:pk>/progress/", suggestions.report_progress, name="suggestion-report-progress"),
    path("suggestion-reports/<int:pk>/figure.svg", suggestions.report_figure, name="suggestion-report-figure"),
    # Agreement
    path("projects/<int:pk>/agreement/", agreement.page, name="agreement"),
    path("projects/<int:pk>/agreement/pairs/", agreement.pairs, name="agreement-pairs"),
    path("projects/<int:pk>/agreement/table.<str:ending>", agreement.download, name="agreement-download"),
    path("projects/<int:pk>/agreement/figures/<slug:name>.svg", agreement.figure, name="agreement-figure"),
    path("projects/<int:pk>/pairs/rules/", adjudication.rules, name="rules"),
    # Imports and exports
    path("projects/<int:pk>/imports/", jobs.import_list, name="imports"),
    path("imports/<int:pk>/", jobs.import_page, name="import"),
    path("imports/<int:pk>/progress/", jobs.import_progress, name="import-progress"),
    path("imports/<int:pk>/cancel/", jobs.import_cancel, name="import-cancel"),
    path("imports/<int:pk>/rejected.csv", jobs.import_rejected, name="import-rejected"),
    path("projects/<int:pk>/exports/", jobs.export_list, name="exports"),
    path("exports/<int:pk>/", jobs.export_page, name="export"),
    path("exports/<int:pk>/progress/", jobs.export_progress, name="export-progress"),
    path("exports/<int:pk>/cancel/", jobs.export_cancel, name="export-cancel"),
    path("exports/<int:pk>/download/", jobs.export_download, name="export-download"),
    # Annotators
    path("projects/<int:pk>/annotate/", annotate.annotate, name="annotate"),
    path("assignments/<int:pk>/draft/", annotate.draft, name="draft"),
    path("assignments/<int:pk>/submit/", annotate.submit, name="submit"),
    path("assignments/<int:pk>/skip/", annotate.skip, name="skip"),
    path("projects/<int:pk>/annotate/back/", annotate.back, name="back"),
    path("annotations/<int:pk>/", annotate.revise, name="revise"),
    path("projects/<int:pk>/mine/", wellbeing.my_work, name="mine"),
    path("assignments/<int:pk>/", wellbeing.kept, name="kept"),
    path("assignments/<int:pk>/take-up/", wellbeing.take_up, name="take-up"),
    # Wellbeing
    path("projects/<int:pk>/wellbeing/", wellbeing.choices, name="wellbeing"),
    path("projects/<int:pk>/pause/", wellbeing.pause, name="pause"),
    path("projects/<int:pk>/exposure/", wellbeing.project_exposure, name="project-exposure"),
    path("exposure/", wellbeing.exposure, name="exposure"),
    # Voters
    path("projects/<int:pk>/votes/", votes.next_vote, name="votes"),
    path("projects/<int:pk>/votes/back/", votes.back, name="vote-back"),
    path("votes/<int:pk>/", votes.vote, name="vote"),
    path("votes/<int:pk>/draft/", votes.draft, name="vote-draft"),
]
