"""The admin site's view of datasets, recipes and runs. Runs start here too, through the same service as the page."""

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.utils.html import format_html

from training import recipes, runs
from training.models import (
    BaseModelFacts,
    Dataset,
    DatasetRow,
    PromptVersion,
    Publication,
    Recipe,
    RemoteCodeAllowance,
    Run,
    RunMetric,
    RunSample,
)
from training.parameters import PRESETS


class RunActionForm(ActionForm):
    """Beside the list of datasets: the recipe that a started run takes."""

    recipe = forms.ModelChoiceField(
        Recipe.objects.select_related("project"),
        required=False,
        empty_label="the project's newest recipe, or the CPU demo",
    )

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.fields["recipe"].label_from_instance = lambda recipe: f"{recipe} ({recipe.project})"  # type: ignore[attr-defined]


class FrozenAdmin(admin.ModelAdmin):
    """Rows that only the services make and change."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj=None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj=None) -> bool:
        return False


@admin.register(Dataset)
class DatasetAdmin(FrozenAdmin):
    list_display = ("name", "project", "short_hash", "size", "seed", "created_by", "created_at")
    list_filter = ("created_at",)
    search_fields = ("name", "content_hash", "project__name")
    list_select_related = ("project", "created_by")
    actions = ("start_qlora_run",)
    action_form = RunActionForm

    @admin.action(description="Start a QLoRA run on the chosen datasets")
    def start_qlora_run(self, request: HttpRequest, queryset) -> None:
        """With the chosen recipe, else the project's newest, else the CPU demo."""
        if not request.user.is_superuser:
            messages.error(request, "Only administrators start runs here; trainers start them in the project.")
            return
        chosen = request.POST.get("recipe", "")
        picked = Recipe.objects.filter(pk=chosen).first() if chosen.isdecimal() and len(chosen) < 19 else None
        for dataset in queryset.select_related("project"):
            try:
                with transaction.atomic():
                    recipe = (
                        picked
                        or Recipe.objects.filter(project=dataset.project).first()
                        or recipes.create_recipe(
                            project=dataset.project,
                            name=PRESETS["cpu-demo"].name,
                            user=request.user,
                            parameters=PRESETS["cpu-demo"].parameters.to_json(),
                        )
                    )
                    run = runs.start(dataset=dataset, recipe=recipe, user=request.user)
            except ValidationError as error:
                messages.error(request, f"{dataset}: {' '.join(error.messages)}")
            else:
                link = format_html('<a href="{}">{}</a>', run.get_absolute_url(), run)
                messages.success(request, format_html("Queued {}, with the recipe {}.", link, recipe))


@admin.register(DatasetRow)
class DatasetRowAdmin(FrozenAdmin):
    list_display = ("external_id", "dataset", "split", "position")
    list_filter = ("split",)
    search_fields = ("external_id", "text", "rewrite")
    list_select_related = ("dataset",)


@admin.register(Recipe)
class RecipeAdmin(FrozenAdmin):
    list_display = ("name", "project", "method", "base_model", "revision", "created_by", "created_at")
    list_filter = ("method",)
    search_fields = ("name", "base_model", "project__name")
    list_select_related = ("project", "created_by")


@admin.register(Run)
class RunAdmin(FrozenAdmin):
    list_display = ("name", "project", "status", "done", "total", "device", "is_scratch", "created_at", "ended_at")
    list_filter = ("status", "is_scratch")
    search_fields = ("name", "base_model", "project__name", "worker")
    list_select_related = ("project",)
    actions = ("cancel_runs",)

    @admin.action(description="Cancel the chosen runs")
    def cancel_runs(self, request: HttpRequest, queryset) -> None:
        for run in queryset:
            run.request_cancel()
        messages.success(request, "Asked the chosen runs to stop.")


@admin.register(RunMetric)
class RunMetricAdmin(FrozenAdmin):
    list_display = ("run", "kind", "step", "loss", "learning_rate", "created_at")
    list_filter = ("kind",)
    search_fields = ("run__name",)
    list_select_related = ("run",)


@admin.register(RunSample)
class RunSampleAdmin(FrozenAdmin):
    """Not of runs whose model's outputs this administrator rates blind."""

    list_display = ("run", "step", "position")
    search_fields = ("run__name",)
    list_select_related = ("run",)

    def get_queryset(self, request):
        return super().get_queryset(request).exclude(run__in=runs.hidden_from(request.user))


@admin.register(PromptVersion)
class PromptVersionAdmin(FrozenAdmin):
    list_display = ("name", "version", "project", "created_by", "created_at")
    search_fields = ("name", "project__name")
    list_select_related = ("project", "created_by")


@admin.register(BaseModelFacts)
class BaseModelFactsAdmin(FrozenAdmin):
    list_display = ("name", "revision", "commit", "weights", "reported_by", "reported_at")
    search_fields = ("name",)


@admin.register(RemoteCodeAllowance)
class RemoteCodeAllowanceAdmin(admin.ModelAdmin):
    """Which base models may run code of their own, each at one revision. Administrators alone decide it."""

    list_display = ("name", "revision", "allowed_by", "allowed_at", "reason")
    search_fields = ("name", "revision")
    list_select_related = ("allowed_by",)
    fieldsets = [
        (
            None,
            {
                "fields": ["name", "revision", "reason"],
                "description": "Trainings run this code without the worker's secrets. Generation runs it within the "
                "GPU worker, where it can read all of them: the database's address, keys and tokens.",
            },
        )
    ]

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_view_permission(self, request: HttpRequest, obj=None) -> bool:
        return bool(request.user.is_superuser)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj=None) -> bool:
        return False  # another revision is another decision

    def has_delete_permission(self, request: HttpRequest, obj=None) -> bool:
        return bool(request.user.is_superuser)

    def save_model(self, request: HttpRequest, obj: RemoteCodeAllowance, form, change: bool) -> None:
        obj.name, obj.allowed_by = obj.name.strip(), request.user  # type: ignore[assignment]
        super().save_model(request, obj, form, change)


@admin.register(Publication)
class PublicationAdmin(FrozenAdmin):
    list_display = ("run_name", "what", "place", "target", "public", "status", "project", "created_by", "created_at")
    list_filter = ("place", "status", "public")
    search_fields = ("run_name", "target", "project__name")
    list_select_related = ("project", "created_by")
