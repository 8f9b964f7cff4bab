"""Suggestions of models, for leads: sources, settings, jobs, answers, and reports on what they do to people."""

from typing import Any

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.response import Response

from annotation import access, suggesters, suggestion_prompts, suggestions
from annotation.access import ScopedAPI
from annotation.api.jobs import STATE
from annotation.filters import SuggestionFilter, SuggestionJobFilter, SuggestionPromptFilter, SuggestionReportFilter
from annotation.models import (
    AnswerFormat,
    Project,
    Role,
    Suggestion,
    SuggestionJob,
    SuggestionPrompt,
    SuggestionReport,
    SuggestionScope,
    SuggestionSettings,
)


class SourceSerializer(serializers.Serializer):
    kind = serializers.CharField()
    id = serializers.IntegerField()
    name = serializers.CharField()
    input_price = serializers.DecimalField(max_digits=12, decimal_places=4, help_text="For a million tokens.")
    output_price = serializers.DecimalField(max_digits=12, decimal_places=4, help_text="For a million tokens.")
    answer_format = serializers.ChoiceField(choices=AnswerFormat.choices)
    is_scratch = serializers.BooleanField()


class SuggestionPromptSerializer(serializers.ModelSerializer):
    created_by = serializers.CharField(source="created_by.username", read_only=True)

    class Meta:
        model = SuggestionPrompt
        fields = [
            *("id", "project", "number", "source_kind", "source_id", "source_name", "template", "answer_format"),
            *("with_labels", "with_rewrite", "max_tokens", "dimensions", "created_by", "created_at"),
        ]
        read_only_fields = fields


class SuggestionSettingsSerializer(serializers.ModelSerializer):
    """Limits, and the prompt's version in use. `counts` has answers by status, tokens and cost."""

    prompt = SuggestionPromptSerializer(read_only=True)
    counts = serializers.SerializerMethodField()

    class Meta:
        model = SuggestionSettings
        fields = ["project", *suggestions.LIMIT_FIELDS, "seed", "prompt", "counts"]
        read_only_fields = fields

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_counts(self, row: SuggestionSettings) -> dict[str, Any]:
        return suggestions.counts(row.project_id)


class NewSettingsSerializer(serializers.Serializer):
    """What is absent stays as it is, or has its default the first time."""

    source_kind = serializers.CharField(required=False, help_text="With source_id; needed the first time.")
    source_id = serializers.IntegerField(required=False)
    template = serializers.CharField(
        required=False, allow_blank=True, trim_whitespace=False, help_text="Empty: the usual one."
    )
    answer_format = serializers.ChoiceField(choices=AnswerFormat.choices, required=False)
    with_labels = serializers.BooleanField(required=False)
    with_rewrite = serializers.BooleanField(required=False)
    max_tokens = serializers.IntegerField(required=False)
    is_on = serializers.BooleanField(required=False)
    rate_per_minute = serializers.IntegerField(required=False)
    budget = serializers.DecimalField(max_digits=16, decimal_places=8, required=False, allow_null=True)
    budget_tokens = serializers.IntegerField(required=False, allow_null=True, min_value=0)
    withheld_percent = serializers.IntegerField(required=False)
    automatic = serializers.BooleanField(required=False)

    def arguments(self) -> dict[str, Any]:
        """Of suggestions.change."""
        values = dict(self.validated_data)
        kind, pk = values.pop("source_kind", None), values.pop("source_id", None)
        if (kind is None) != (pk is None):
            raise serializers.ValidationError({"source_id": "Give source_kind and source_id together."})
        return values if kind is None else {"source": (kind, pk), **values}


class SuggestionSettingsViewSet(viewsets.GenericViewSet):
    """How a project asks for suggestions and whom it shows them; addressed by the project's id."""

    queryset = SuggestionSettings.objects.select_related("prompt__created_by")
    serializer_class = SuggestionSettingsSerializer
    lookup_field = "project_id"
    lookup_value_regex = r"\d{1,18}"

    def _project(self, project_id: int) -> Project:
        return access.project_for(self.request.user, project_id, Role.LEAD)

    def _answer(self, project: Project) -> Response:
        row = self.queryset.filter(project=project).first()
        if row is None:
            raise Http404("No model has been asked in this project yet.")
        return Response(SuggestionSettingsSerializer(row).data)

    def retrieve(self, request, project_id=None):
        return self._answer(self._project(project_id))

    @extend_schema(request=NewSettingsSerializer, responses=SuggestionSettingsSerializer)
    def partial_update(self, request, project_id=None):
        """Set up or change; another source or prompt makes a new version of the prompt."""
        project = self._project(project_id)
        serializer = NewSettingsSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        suggestions.change(project, request.user, **serializer.arguments())
        return self._answer(project)

    @extend_schema(responses=SourceSerializer(many=True))
    @action(detail=True, methods=["get"], pagination_class=None, filter_backends=[])
    def sources(self, request, project_id=None):
        """What the project may choose from."""
        found = suggesters.sources_for(self._project(project_id))
        return Response(SourceSerializer(found, many=True).data)

    @extend_schema(
        responses={200: OpenApiTypes.STR},
        parameters=[OpenApiParameter("item", int, description="A text of the project; the first when missing.")],
    )
    @action(detail=True, methods=["get"], filter_backends=[])
    def preview(self, request, project_id=None):
        """The prompt for a text, as it would be sent."""
        project = self._project(project_id)
        row = suggestions.settings_of(project)
        items = project.items.filter(kind__in=suggestions.KINDS).order_by("pk")
        if "item" in request.query_params:
            items = items.filter(pk=_whole(request.query_params["item"]))
        item = items.first()
        if row is None or item is None:
            raise Http404
        return Response(suggestion_prompts.render(row.prompt, item.text))


def _whole(value: str) -> int:
    return int(value) if value.isdecimal() and len(value) < 19 else 0


class SuggestionSerializer(serializers.ModelSerializer):
    external_id = serializers.CharField(source="item.external_id", read_only=True)

    class Meta:
        model = Suggestion
        fields = [
            *("id", "project", "item", "external_id", "job", "prompt", "status", "reason", "answer", "labels"),
            *("rewrite", "spans", "model", "input_tokens", "output_tokens", "usage_known", "cost", "seconds"),
            *("requests", "created_at", "answered_at"),
        ]
        read_only_fields = fields


class SuggestionViewSet(ScopedAPI, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Every answer of a model in the projects one leads, whatever became of it."""

    queryset = Suggestion.objects.select_related("item")
    serializer_class = SuggestionSerializer
    filterset_class = SuggestionFilter
    roles = {"*": (Role.LEAD,)}


class SuggestionPromptViewSet(ScopedAPI, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Every version of the prompts of the projects one leads."""

    queryset = SuggestionPrompt.objects.select_related("created_by")
    serializer_class = SuggestionPromptSerializer
    filterset_class = SuggestionPromptFilter
    roles = {"*": (Role.LEAD,)}


class SuggestionJobSerializer(serializers.ModelSerializer):
    class Meta:
        model = SuggestionJob
        fields = [*STATE, "prompt", "scope", "budget_reached"]
        read_only_fields = fields


class NewSuggestionJobSerializer(serializers.Serializer):
    project = serializers.IntegerField()
    scope = serializers.ChoiceField(choices=SuggestionScope.choices, default=SuggestionScope.MISSING)


class SuggestionJobViewSet(ScopedAPI, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Asking for suggestions, in the projects one leads."""

    queryset = SuggestionJob.objects.all()
    serializer_class = SuggestionJobSerializer
    filterset_class = SuggestionJobFilter
    roles = {"*": (Role.LEAD,)}

    @extend_schema(request=NewSuggestionJobSerializer, responses={201: SuggestionJobSerializer})
    def create(self, request):
        serializer = NewSuggestionJobSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        project = access.project_for(request.user, serializer.validated_data["project"], Role.LEAD)
        job = suggestions.start(project, request.user, serializer.validated_data["scope"])
        return Response(SuggestionJobSerializer(job).data, status=201)

    @extend_schema(request=None, responses=SuggestionJobSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request, pk=None):
        job = self.get_object()
        job.request_cancel()
        return Response(SuggestionJobSerializer(job).data)


class SuggestionReportSerializer(serializers.ModelSerializer):
    class Meta:
        model = SuggestionReport
        fields = [*STATE, "prompt", "seed", "results"]
        read_only_fields = fields


class NewSuggestionReportSerializer(serializers.Serializer):
    project = serializers.IntegerField()
    prompt = serializers.IntegerField(
        required=False, allow_null=True, help_text="The id of a version of the prompt; all versions when missing."
    )


class SuggestionReportViewSet(ScopedAPI, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """What suggestions do to people: every figure seen, unseen, and their difference, with intervals."""

    queryset = SuggestionReport.objects.defer("figure")
    serializer_class = SuggestionReportSerializer
    filterset_class = SuggestionReportFilter
    roles = {"*": (Role.LEAD,)}

    @extend_schema(request=NewSuggestionReportSerializer, responses={201: SuggestionReportSerializer})
    def create(self, request):
        serializer = NewSuggestionReportSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        project = access.project_for(request.user, serializer.validated_data["project"], Role.LEAD)
        prompt = None
        if (wanted := serializer.validated_data.get("prompt")) is not None:
            prompt = SuggestionPrompt.objects.filter(project=project, pk=wanted).first()
            if prompt is None:
                raise serializers.ValidationError({"prompt": "Choose a version of this project's prompt."})
        report = suggestions.start_report(project, request.user, prompt)
        return Response(SuggestionReportSerializer(report).data, status=201)


def register(router) -> None:
    router.register("suggestion-settings", SuggestionSettingsViewSet, basename="suggestion-settings")
    router.register("suggestions", SuggestionViewSet, basename="suggestion")
    router.register("suggestion-prompts", SuggestionPromptViewSet, basename="suggestion-prompt")
    router.register("suggestion-jobs", SuggestionJobViewSet, basename="suggestion-job")
    router.register("suggestion-reports", SuggestionReportViewSet, basename="suggestion-report")
