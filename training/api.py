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
from training import comparing, datasets, file_api, file_views, prompts, runs
from training.models import Dataset, DatasetRow, Recipe, Run, RunMetric, RunSample
from training.parameters import PRESETS

READERS = (Role.LEAD, Role.TRAINER)


class SharesSerializer(serializers.Serializer):
    train = serializers.FloatField(default=datasets.DEFAULT_SHARES["train"])
    validation = serializers.FloatField(default=datasets.DEFAULT_SHARES["validation"])
    test = serializers.FloatField(default=datasets.DEFAULT_SHARES["test"])


class DatasetSerializer(serializers.ModelSerializer):
    created_by = serializers.CharField(source="created_by.username", read_only=True)
    counts = serializers.DictField(child=serializers.IntegerField(), read_only=True)
    shares = serializers.DictField(child=serializers.FloatField(), read_only=True)
    filters = serializers.DictField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = Dataset
        fields = [
            "id", "project", "name", "content_hash", "seed", "shares", "filters", "counts", "created_by", "created_at",
        ]  # fmt: skip
        read_only_fields = fields


class FreezeSerializer(serializers.Serializer):
    project = serializers.IntegerField()
    name = serializers.CharField(max_length=200)
    shares = SharesSerializer(default=lambda: dict(datasets.DEFAULT_SHARES))
    seed = serializers.IntegerField(default=0, min_value=0)
    filters = serializers.DictField(
        child=serializers.CharField(), default=dict, help_text="Dimension -> level that the settled label must have."
    )


class DatasetRowSerializer(serializers.ModelSerializer):
    labels = serializers.DictField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = DatasetRow
        fields = ["id", "pair", "item", "split", "position", "external_id", "text", "rewrite", "labels"]
        read_only_fields = fields


class DatasetViewSet(
    access.ScopedAPI,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet,
):
    """Frozen sets of approved pairs. `create` freezes; nothing changes one afterwards."""

    queryset = Dataset.objects.select_related("created_by")
    serializer_class = DatasetSerializer
    filterset_fields = ["project", "content_hash"]
    roles = {"*": READERS, "destroy": (Role.TRAINER,)}

    @extend_schema(request=FreezeSerializer, responses={201: DatasetSerializer})
    def create(self, request):
        values = checked(FreezeSerializer, request.data)
        project = access.project_for(request.user, values.pop("project"), Role.TRAINER)
        return Response(
            DatasetSerializer(datasets.freeze(project=project, user=request.user, **values)).data, status=201
        )

    def perform_destroy(self, instance):
        datasets.delete(instance)

    @extend_schema(responses=DatasetRowSerializer(many=True))
    @action(detail=True, filter_backends=[])
    def rows(self, request, pk=None):
        """The rows, in the order of their content."""
        rows = self.paginate_queryset(self.get_object().rows.all())
        return self.get_paginated_response(DatasetRowSerializer(rows, many=True).data)

    @extend_schema(responses={(200, "application/jsonl"): OpenApiTypes.STR})
    @action(detail=True, url_path=rf"files/(?P<file_format>{'|'.join(datasets.FORMATS)})")
    def files(self, request, pk=None, file_format="alpaca"):
        """JSON Lines for training tools: alpaca, prompt-completion or chat."""
        lines = datasets.lines(self.get_object(), file_format)
        return StreamingHttpResponse(lines, content_type="application/jsonl")


class RecipeSerializer(serializers.ModelSerializer):
    created_by = serializers.CharField(source="created_by.username", read_only=True)
    parameters = serializers.DictField(read_only=True)

    class Meta:
        model = Recipe
        fields = [
            "id", "project", "name", "method", "base_model", "prompt_template", "parameters", "created_by",
            "created_at",
        ]  # fmt: skip
        read_only_fields = fields


class NewRecipeSerializer(serializers.Serializer):
    project = serializers.IntegerField()
    name = serializers.CharField(max_length=200)
    preset = serializers.ChoiceField(choices=list(PRESETS), default="cpu-demo", help_text="Where values come from.")
    base_model = serializers.CharField(required=False, allow_blank=True, max_length=300)
    prompt_template = serializers.CharField(default=prompts.DEFAULT_TEMPLATE, trim_whitespace=False)
    parameters = serializers.DictField(default=dict, help_text="What differs from the preset.")


class RecipeViewSet(access.ScopedAPI, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Base model, method, hyperparameters and prompt template."""

    queryset = Recipe.objects.select_related("created_by")
    serializer_class = RecipeSerializer
    filterset_fields = ["project", "method"]
    roles = {"*": READERS}

    @extend_schema(request=NewRecipeSerializer, responses={201: RecipeSerializer})
    def create(self, request):
        values = checked(NewRecipeSerializer, request.data)
        project = access.project_for(request.user, values.pop("project"), Role.TRAINER)
        preset = PRESETS[values.pop("preset")]
        values["parameters"] = dataclasses.asdict(preset.parameters) | values["parameters"]
        values.setdefault("base_model", preset.base_model)
        recipe = runs.create_recipe(project=project, user=request.user, **values)
        return Response(RecipeSerializer(recipe).data, status=201)


class RunSerializer(serializers.ModelSerializer):
    created_by = serializers.CharField(source="created_by.username", read_only=True)
    parameters = serializers.DictField(read_only=True)
    library_versions = serializers.DictField(read_only=True)
    figures = serializers.DictField(read_only=True)

    class Meta:
        model = Run
        fields = [
            "id", "project", "name", "dataset", "recipe", "seed", "status", "done", "total", "epoch", "seconds_left",
            "message", "error", "cancel_requested", "attempt", "worker", "device", "base_model",
            "base_revision", "is_scratch", "has_adapter", "has_merged", "parameters", "library_versions", "figures",
            "created_by", "created_at",
            "started_at", "seen_at", "ended_at",
        ]  # fmt: skip
        read_only_fields = fields


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
    label = serializers.CharField()
    values = serializers.ListField(child=serializers.JSONField())  # type: ignore[assignment]
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
        return Response(RunSerializer(run).data, status=201)

    def perform_destroy(self, instance):
        runs.delete(instance)

    @extend_schema(request=None, responses=RunSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request, pk=None):
        """Stop a waiting run at once, a running one within a step or a few seconds."""
        run = self.get_object()
        run.request_cancel()
        return Response(RunSerializer(run).data)

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
        rows = self.paginate_queryset(self.get_object().samples.all())
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
    router.register("datasets", DatasetViewSet, basename="dataset")
    router.register("recipes", RecipeViewSet, basename="recipe")
    router.register("runs", RunViewSet, basename="run")
    file_api.register(router)
