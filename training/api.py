"""Datasets, recipes and runs through the API: the same services, rules and roles as the pages."""

import dataclasses

from django.core.exceptions import ValidationError as DjangoValidationError
from django.http import HttpResponse, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.response import Response

from annotation import access
from annotation.models import Role
from training import (
    checks,
    comparing,
    dataset_api,
    file_api,
    file_views,
    lineage_api,
    prompts,
    recipe_views,
    recipe_yaml,
    recipes,
    runs,
)
from training.models import Dataset, Method, PromptVersion, Recipe, Run, RunMetric, RunSample
from training.parameters import PRESETS
from training.recipe_forms import method_of

READERS = (Role.LEAD, Role.TRAINER)


class ExamplesField(serializers.ListField):
    """[text, rewrite] pairs shown before the text: few-shot prompting."""

    child = serializers.ListField(
        child=serializers.CharField(trim_whitespace=False, allow_blank=True), min_length=2, max_length=2
    )


class RecipeSerializer(serializers.ModelSerializer):
    created_by = serializers.CharField(source="created_by.username", read_only=True)
    parameters = serializers.DictField(read_only=True)
    prompt_name = serializers.CharField(source="prompt.name", default="", read_only=True)
    prompt_version = serializers.IntegerField(source="prompt.version", default=None, read_only=True, allow_null=True)
    filled = serializers.ListField(
        child=serializers.CharField(),
        read_only=True,
        help_text="Hyperparameters that the recipe was made before: its runs take their defaults.",
    )

    class Meta:
        model = Recipe
        fields = [
            "id", "project", "name", "method", "base_model", "revision", "prompt", "prompt_name", "prompt_version",
            "prompt_template", "parameters", "filled", "created_by", "created_at",
        ]  # fmt: skip
        read_only_fields = fields


class RecipeValuesSerializer(serializers.Serializer):
    """A recipe: as YAML, or a preset with what differs from it."""

    project = serializers.IntegerField()
    yaml = serializers.CharField(
        required=False, trim_whitespace=False, max_length=recipe_yaml.MAX_LENGTH, help_text="The whole recipe."
    )
    name = serializers.CharField(required=False, max_length=200)
    preset = serializers.ChoiceField(choices=list(PRESETS), default="cpu-demo", help_text="Where values come from.")
    method = serializers.ChoiceField(required=False, choices=Method.choices)
    base_model = serializers.CharField(required=False, allow_blank=True, max_length=300)
    revision = serializers.CharField(required=False, allow_blank=True, max_length=recipes.REVISION_LENGTH)
    prompt_name = serializers.CharField(required=False, allow_blank=True, max_length=120)
    prompt_template = serializers.CharField(required=False, trim_whitespace=False)
    examples = ExamplesField(required=False)
    parameters = serializers.DictField(default=dict, help_text="What differs from the preset.")

    def validate(self, values):
        if "yaml" in values and (
            others := sorted(key for key in self.initial_data if key not in ("project", "yaml", "name", *FOR))
        ):
            raise serializers.ValidationError({"yaml": f"With YAML, leave out {', '.join(others)}: it says them all."})
        return values

    def recipe(self) -> dict:
        """What `recipes.create_recipe` takes."""
        values = {key: value for key, value in self.validated_data.items() if key not in ("project", *FOR)}
        preset = PRESETS[values.pop("preset")]
        if "yaml" in values:
            loaded = recipes.read_yaml(values["yaml"]).values()
            return loaded | ({"name": values["name"]} if "name" in values else {})
        values["parameters"] = dataclasses.asdict(preset.parameters) | values["parameters"]
        values.setdefault("base_model", preset.base_model)
        values.setdefault("method", method_of(preset))
        return values


FOR = ("dataset", "device", "gib")


class NewRecipeSerializer(RecipeValuesSerializer):
    def validate(self, values):
        if not values.get("name") and "yaml" not in values:
            raise serializers.ValidationError({"name": "This field is required."})
        return super().validate(values)


class CheckSerializer(RecipeValuesSerializer):
    dataset = serializers.IntegerField(required=False, help_text="To estimate the time for.")
    device = serializers.ChoiceField(required=False, choices=list(checks.DEVICES))
    gib = serializers.FloatField(required=False, min_value=0.5, max_value=10_000, help_text="Memory of the device.")


class CheckedSerializer(serializers.Serializer):
    """What a recipe needs, and what does not go together."""

    base_model = serializers.CharField()
    known = serializers.BooleanField(help_text="Whether the base model's sizes are known here.")
    commit = serializers.CharField(help_text="Where the revision points; empty while unknown.")
    errors = serializers.ListField(child=serializers.DictField())  # type: ignore[assignment]
    warnings = serializers.ListField(child=serializers.DictField())
    memory_gib = serializers.DictField(allow_null=True)
    device_gib = serializers.FloatField(allow_null=True)
    time = serializers.DictField(allow_null=True)
    yaml = serializers.CharField()
    filled = serializers.ListField(child=serializers.CharField())


class RecipeViewSet(access.ScopedAPI, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Base model, method, hyperparameters and prompt."""

    queryset = Recipe.objects.select_related("created_by", "prompt")
    serializer_class = RecipeSerializer
    filterset_fields = ["project", "method"]
    roles = {"*": READERS, "pin": (Role.TRAINER,)}

    @extend_schema(request=NewRecipeSerializer, responses={201: RecipeSerializer})
    def create(self, request):
        """A recipe from YAML, or from a preset with what differs from it."""
        serializer, project = self.values(NewRecipeSerializer, request)
        recipe = recipes.create_recipe(project=project, user=request.user, **serializer.recipe())
        return Response(RecipeSerializer(recipe).data, status=201)

    @extend_schema(request=CheckSerializer, responses=CheckedSerializer)
    @action(detail=False, methods=["post"])
    def check(self, request):
        """What such a recipe needs, and whether it can work. Nothing is saved."""
        serializer, project = self.values(CheckSerializer, request)
        values, chosen = serializer.recipe(), serializer.validated_data
        dataset = Dataset.objects.filter(project=project, pk=chosen["dataset"]).first() if "dataset" in chosen else None
        if "dataset" in chosen and dataset is None:
            raise serializers.ValidationError({"dataset": "The project has no such dataset."})
        recipes.check_base(values["base_model"].strip(), values.get("revision", "").strip())
        parameters = recipes.check_parameters(values["parameters"])
        template = values.get("prompt_template", prompts.DEFAULT_TEMPLATE)
        examples = recipes.check_prompt(template, values.get("examples", []))
        found = recipes.examine(
            method=values["method"],
            base_model=values["base_model"].strip(),
            revision=values.get("revision", "").strip(),
            parameters=parameters,
            template=template,
            examples=examples,
            dataset=dataset,
            device=chosen.get("device", ""),
            gib=chosen.get("gib"),
        )
        yaml = recipe_yaml.dump(
            name=values.get("name", ""),
            method=values["method"],
            base_model=values["base_model"],
            revision=values.get("revision", ""),
            prompt_name=values.get("prompt_name", ""),
            prompt_template=template,
            examples=examples,
            parameters=parameters.to_json(),
        )
        filled = recipes.read_yaml(chosen["yaml"]).filled if "yaml" in chosen else []
        return Response(
            {"base_model": found.known.name, "commit": found.known.commit, "yaml": yaml, "filled": filled}
            | checks.to_json(found.report, found.capacity)
        )

    def values(self, serializer_class, request):
        serializer = serializer_class(data=request.data)
        serializer.is_valid(raise_exception=True)
        return serializer, access.project_for(request.user, serializer.validated_data["project"], Role.TRAINER)

    @extend_schema(responses={(200, "application/yaml"): OpenApiTypes.STR})
    @action(detail=True, url_path="yaml")
    def as_yaml(self, request, pk=None):
        """The recipe as YAML, which `create` takes again."""
        return recipe_views.yaml_response(self.get_object())

    @extend_schema(request=None, responses=RecipeSerializer)
    @action(detail=True, methods=["post"])
    def pin(self, request, pk=None):
        """Fix the recipe to the commit that is known of its base model."""
        return Response(RecipeSerializer(recipes.pin(self.get_object())).data)


class PromptSerializer(serializers.ModelSerializer):
    created_by = serializers.CharField(source="created_by.username", read_only=True)
    examples = serializers.ListField(read_only=True)

    class Meta:
        model = PromptVersion
        fields = ["id", "project", "name", "version", "template", "examples", "created_by", "created_at"]
        read_only_fields = fields


class NewPromptSerializer(serializers.Serializer):
    project = serializers.IntegerField()
    name = serializers.CharField(max_length=120)
    template = serializers.CharField(trim_whitespace=False)
    examples = ExamplesField(default=list)


class PromptViewSet(access.ScopedAPI, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Prompts with all their versions. `create` makes the next version of a name, or gives the newest where nothing
    differs from it.
    """

    queryset = PromptVersion.objects.select_related("created_by")
    serializer_class = PromptSerializer
    filterset_fields = ["project", "name"]
    roles = {"*": READERS}

    @extend_schema(request=NewPromptSerializer, responses={201: PromptSerializer})
    def create(self, request):
        values = checked(NewPromptSerializer, request.data)
        project = access.project_for(request.user, values.pop("project"), Role.TRAINER)
        prompt = recipes.keep_prompt(project, request.user, **values)
        return Response(PromptSerializer(prompt).data, status=201)


class RunSerializer(serializers.ModelSerializer):
    created_by = serializers.CharField(source="created_by.username", read_only=True)
    parameters = serializers.DictField(read_only=True)
    library_versions = serializers.DictField(read_only=True)
    figures = serializers.DictField(read_only=True)
    warnings = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = Run
        fields = [
            "id", "project", "name", "dataset", "recipe", "seed", "status", "done", "total", "epoch", "seconds_left",
            "message", "error", "cancel_requested", "attempt", "worker", "device", "base_model",
            "base_revision", "is_scratch", "has_adapter", "has_merged", "warnings", "parameters", "library_versions",
            "figures", "created_by", "created_at", "started_at", "seen_at", "ended_at",
        ]  # fmt: skip
        read_only_fields = fields

    def to_representation(self, instance):
        shown = super().to_representation(instance)
        request = self.context["request"]
        if not hasattr(request, "runs_hidden"):  # asked once a list
            request.runs_hidden = runs.hidden_from(request.user)
        if instance.pk in request.runs_hidden:
            shown["figures"] = {name: value for name, value in shown["figures"].items() if name != "load_check"}
        return shown


class StartSerializer(serializers.Serializer):
    dataset = serializers.IntegerField()
    recipe = serializers.IntegerField()
    seed = serializers.IntegerField(default=0, min_value=0)
    name = serializers.CharField(default="", allow_blank=True, max_length=200)


class RunMetricSerializer(serializers.ModelSerializer):
    class Meta:
        model = RunMetric
        fields = ["kind", "step", "epoch", "loss", "learning_rate", "grad_norm", "tokens", "seconds",
                  "tokens_per_second", "memory_gib"]  # fmt: skip
        read_only_fields = fields


class RunSampleSerializer(serializers.ModelSerializer):
    class Meta:
        model = RunSample
        fields = ["step", "position", "text", "rewrite", "output"]
        read_only_fields = fields


class CompareQuerySerializer(serializers.Serializer):
    run = serializers.ListField(
        child=serializers.CharField(), help_text=f"Numbers of the runs, at most {comparing.MOST}: ?run=3&run=5."
    )


class ComparedRowSerializer(serializers.Serializer):
    """One setting or result: its values in the order of the runs."""

    key = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    values = serializers.ListField(child=serializers.JSONField())
    differs = serializers.BooleanField()
    best = serializers.IntegerField(allow_null=True, help_text="Which run has the best value, from 0.")


class ComparisonSerializer(serializers.Serializer):
    runs = serializers.ListField(child=serializers.IntegerField())
    warnings = serializers.ListField(child=serializers.CharField(), help_text="What forbids comparing the losses.")
    settings = ComparedRowSerializer(many=True)
    results = ComparedRowSerializer(many=True)


class RunViewSet(
    access.ScopedAPI,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet,
):
    """Training runs. `create` starts one; `done` and `total` count optimiser steps."""

    queryset = Run.objects.select_related("created_by")
    serializer_class = RunSerializer
    filterset_fields = ["project", "dataset", "recipe", "status"]
    roles = {"*": READERS, "destroy": (Role.TRAINER,), "cancel": (Role.TRAINER,)}

    @extend_schema(request=StartSerializer, responses={201: RunSerializer})
    def create(self, request):
        values = checked(StartSerializer, request.data)
        dataset = access.object_for(request.user, Dataset.objects.all(), values.pop("dataset"), Role.TRAINER)
        recipe = access.object_for(request.user, Recipe.objects.all(), values.pop("recipe"), Role.TRAINER)
        run = runs.start(dataset=dataset, recipe=recipe, user=request.user, **values)
        return Response(RunSerializer(run, context=self.get_serializer_context()).data, status=201)

    def perform_destroy(self, instance):
        runs.delete(instance, self.request.user)

    @extend_schema(request=None, responses=RunSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request, pk=None):
        """Stop a waiting run at once, a running one within a step or a few seconds."""
        run = self.get_object()
        run.request_cancel()
        return Response(RunSerializer(run, context=self.get_serializer_context()).data)

    @extend_schema(responses=RunMetricSerializer(many=True))
    @action(detail=True, filter_backends=[])
    def metrics(self, request, pk=None):
        """The points of the run's curves."""
        rows = self.paginate_queryset(self.get_object().metrics.all())
        return self.get_paginated_response(RunMetricSerializer(rows, many=True).data)

    @extend_schema(responses=RunSampleSerializer(many=True))
    @action(detail=True, filter_backends=[])
    def samples(self, request, pk=None):
        """What the model made of the fixed validation texts at each evaluation."""
        found = self.get_object()
        shown = found.samples.all() if runs.outputs_shown(request.user, found) else found.samples.none()
        rows = self.paginate_queryset(shown)
        return self.get_paginated_response(RunSampleSerializer(rows, many=True).data)

    @extend_schema(parameters=[CompareQuerySerializer], responses=ComparisonSerializer)
    @action(detail=False, filter_backends=[], pagination_class=None)
    def compare(self, request):
        """Runs side by side: every setting and result, and which of them differ. Curves: `metrics` of each."""
        wanted = comparing.check_numbers(request.query_params.getlist("run"))
        rows = Run.objects.visible_to(request.user, *READERS).select_related("dataset", "recipe", "created_by")
        found = {run.pk: run for run in rows.filter(pk__in=wanted)}
        missing = [str(pk) for pk in wanted if pk not in found]
        if missing or not wanted:
            raise DjangoValidationError({"run": f"No such run: {', '.join(missing)}." if missing else "Name the runs."})
        comparison = comparing.compare([found[pk] for pk in wanted])
        return Response(
            {
                "runs": wanted,
                "warnings": comparison.warnings,
                "settings": [dataclasses.asdict(row) | {"differs": row.differs} for row in comparison.settings],
                "results": [dataclasses.asdict(row) | {"differs": row.differs} for row in comparison.results],
            }
        )

    @extend_schema(responses={(200, "text/plain"): OpenApiTypes.STR})
    @action(detail=True)
    def log(self, request, pk=None) -> StreamingHttpResponse:
        return file_api.reachable(file_views.log_response, self.get_object())

    @extend_schema(responses={(200, "application/zip"): OpenApiTypes.BINARY})
    @action(detail=True)
    def adapter(self, request, pk=None) -> StreamingHttpResponse:
        """The adapter with its tokenizer, recipe, metrics and model card, as a zip file."""
        return file_api.reachable(file_views.zip_response, self.get_object(), "adapter")

    @extend_schema(responses={(200, "application/zip"): OpenApiTypes.BINARY})
    @action(detail=True)
    def merged(self, request, pk=None) -> StreamingHttpResponse:
        """The merged model with its tokenizer and model card, as a zip file."""
        return file_api.reachable(file_views.zip_response, self.get_object(), "merged")

    @extend_schema(responses={(200, "text/markdown"): OpenApiTypes.STR})
    @action(detail=True)
    def card(self, request, pk=None) -> HttpResponse:
        """The model card: Markdown with the hub's YAML header."""
        text = file_api.reachable(file_views.card_file, self.get_object())
        return HttpResponse(text, content_type="text/markdown; charset=utf-8")


def checked(serializer_class, data) -> dict:
    serializer = serializer_class(data=data)
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data


def register(router) -> None:
    dataset_api.register(router)
    router.register("recipes", RecipeViewSet, basename="recipe")
    router.register("prompts", PromptViewSet, basename="prompt")
    router.register("runs", RunViewSet, basename="run")
    file_api.register(router)
    lineage_api.register(router)
