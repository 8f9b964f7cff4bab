"""Pages of the evaluation application."""

from django.urls import path

from evaluation.views import guests, judges, lineage, planning, preferences, rate, reports, studies, systems, tries

app_name = "evaluation"
urlpatterns = [
    # Systems and outputs
    path("projects/<int:pk>/systems/", systems.index, name="systems"),
    path("projects/<int:pk>/systems/upload/", systems.upload, name="upload"),
    path("projects/<int:pk>/systems/outputs/", systems.outputs, name="outputs"),
    path("projects/<int:pk>/systems/new/", systems.create, name="system-new"),
    path("systems/<int:pk>/", systems.detail, name="system"),
    path("systems/<int:pk>/generate/", systems.generate, name="generate"),
    path("systems/<int:pk>/limits/", systems.limits, name="system-limits"),
    path("generations/<int:pk>/failures/", systems.failures, name="generation-failures"),
    path("generations/<int:pk>/progress/", systems.generation_progress, name="generation-progress"),
    path("generations/<int:pk>/cancel/", systems.generation_cancel, name="generation-cancel"),
    path("output-imports/<int:pk>/", systems.output_import, name="output-import"),
    path("output-imports/<int:pk>/progress/", systems.output_import_progress, name="output-import-progress"),
    path("output-imports/<int:pk>/cancel/", systems.output_import_cancel, name="output-import-cancel"),
    path("outputs/<int:pk>/lineage/", lineage.output, name="output-lineage"),
    # Trying systems
    path("projects/<int:pk>/tries/", tries.index, name="tries"),
    path("tries/<int:pk>/", tries.detail, name="try"),
    path("tries/<int:pk>/cancel/", tries.cancel, name="try-cancel"),
    path("tries/outputs/<int:pk>/", tries.output, name="try-output"),
    # Studies
    path("projects/<int:pk>/studies/", studies.index, name="studies"),
    path("projects/<int:pk>/studies/new/", studies.create, name="study-new"),
    path("studies/<int:pk>/", studies.detail, name="study"),
    path("studies/<int:pk>/change/", studies.change, name="study-change"),
    path("studies/<int:pk>/invite/", studies.invite, name="study-invite"),
    path("studies/<int:pk>/start/", studies.start, name="study-start"),
    path("studies/<int:pk>/close/", studies.close, name="study-close"),
    path("study-reviewers/<int:pk>/remove/", studies.remove, name="study-remove-reviewer"),
    path("study-reviewers/<int:pk>/revoke/", studies.revoke, name="study-revoke-reviewer"),
    path("studies/<int:pk>/power/", planning.power, name="power"),
    path("power-analyses/<int:pk>/use/", planning.power_use, name="power-use"),
    path("power-analyses/<int:pk>/progress/", planning.power_progress, name="power-progress"),
    path("power-analyses/<int:pk>/cancel/", planning.power_cancel, name="power-cancel"),
    path("power-analyses/<int:pk>/figure.svg", planning.power_figure, name="power-figure"),
    path("studies/<int:pk>/protocol/", planning.protocol_page, name="protocol"),
    path("studies/<int:pk>/protocol/amend/", planning.amend, name="amend"),
    path("studies/<int:pk>/protocol.<slug:ending>", planning.protocol_file, name="protocol-file"),
    path("studies/<int:pk>/preferences/", preferences.make, name="preferences"),
    path("studies/<int:pk>/ratings/", reports.export_ratings, name="ratings"),
    path("studies/<int:pk>/report/", reports.report, name="report"),
    path("studies/<int:pk>/report/again/", reports.report_again, name="report-again"),
    path("reports/<int:pk>/progress/", reports.report_progress, name="report-progress"),
    path("reports/<int:pk>/files/<str:name>", reports.report_file, name="report-file"),
    # Judges
    path("studies/<int:pk>/judges/", judges.index, name="judges"),
    path("studies/<int:pk>/judges/estimate/", judges.estimate, name="judge-estimate"),
    path("judges/<int:pk>/", judges.detail, name="judge"),
    path("judges/<int:pk>/progress/", judges.progress, name="judge-progress"),
    path("judges/<int:pk>/cancel/", judges.cancel, name="judge-cancel"),
    path("judges/<int:pk>/go-on/", judges.go_on, name="judge-go-on"),
    path("judges/<int:pk>/unusable/", judges.unusable, name="judge-unusable"),
    # Reviewers without an account
    path("studies/<int:pk>/guests/", guests.index, name="guests"),
    path("guest-links/<int:pk>/renew/", guests.renew, name="guest-renew"),
    path("guest-links/<int:pk>/extend/", guests.extend, name="guest-extend"),
    path("guest-links/<int:pk>/revoke/", guests.revoke, name="guest-revoke"),
    path("review/", guests.ended, name="review-ended"),
    path("review/<str:token>/", guests.review, name="review"),
    # Reviewers
    path("studies/<int:pk>/rate/", rate.rate, name="rate"),
    path("studies/<int:pk>/rate/back/", rate.back, name="back"),
    path("review-tasks/<uuid:token>/draft/", rate.draft, name="draft"),
    path("review-tasks/<uuid:token>/submit/", rate.submit, name="submit"),
    path("studies/<int:pk>/guess/", rate.guessing, name="guessing"),
    path("review-tasks/<uuid:token>/guess/", rate.guess, name="guess"),
]
