"""Imports and exports: start one, watch it, fetch what it made."""

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.parsers import JSONParser, MultiPartParser
from rest_framework.response import Response

from annotation import access, exports, imports
from annotation.access import ScopedAPI
from annotation.filters import ExportFilter, ImportFilter
from annotation.models import Export, FileFormat, ItemImport, RejectedRow, Review, Role

STATE = [
    "id",
    "project",
    "status",
    "done",
    "total",
    "message",
    "error",
    "cancel_requested",
    "created_at",
    "started_at",
    "ended_at",
]


class ImportSerializer(serializers.ModelSerializer):
    class Meta:
        model = ItemImport
        fields = [
            *STATE,
            *("file_name", "file_format", "with_pairs", "review", "inspection", "mapping"),
            *("imported", "annotations", "proposed", "rejected", "findings"),
        ]
        read_only_fields = fields


class NewImportSerializer(serializers.Serializer):
    project = serializers.IntegerField()
    file = serializers.FileField(allow_empty_file=True)
    file_format = serializers.ChoiceField(
        choices=FileFormat.choices, required=False, help_text="By the file's name when missing."
    )
    with_pairs = serializers.BooleanField(
        default=True, help_text="Import rewrites and labels as proposed pairs; otherwise leave them out."
    )
    review = serializers.ChoiceField(
        choices=Review.choices,
        default=Review.AUTO,
        help_text="When to pause and ask what the columns mean. With a mapping, auto does not pause.",
    )
    mapping = serializers.JSONField(
        required=False,
        help_text='What becomes of the columns, as in {"columns": {"comment": "text"}}; see the formats.',
    )


class MappingSerializer(serializers.Serializer):
    mapping = serializers.JSONField(
        default=dict, help_text="What differs from the guess in `inspection`; see the formats."
    )


class RejectedRowSerializer(serializers.ModelSerializer):
    class Meta:
        model = RejectedRow
        fields = ["id", "row", "field", "reason", "excerpt"]
        read_only_fields = fields


class ImportViewSet(ScopedAPI, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Imports of texts into the projects one leads."""

    queryset = ItemImport.objects.all()
    serializer_class = ImportSerializer
    filterset_class = ImportFilter
    parser_classes = [MultiPartParser]
    roles = {"*": (Role.LEAD,)}

    @extend_schema(request={"multipart/form-data": NewImportSerializer}, responses={201: ImportSerializer})
    def create(self, request):
        serializer = NewImportSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        values = dict(serializer.validated_data)
        project = access.project_for(request.user, values.pop("project"), Role.LEAD)
        chosen = values.pop("mapping", None)
        job = imports.upload(project, request.user, values.pop("file"), chosen=chosen, **values)
        return Response(ImportSerializer(job).data, status=201)

    @extend_schema(request=MappingSerializer, responses=ImportSerializer)
    @action(detail=True, methods=["post"], parser_classes=[JSONParser])
    def confirm(self, request, pk=None):
        """Answer a paused import: the guess holds for whatever the mapping does not name."""
        job = self.get_object()
        serializer = MappingSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        imports.confirm(job, serializer.validated_data["mapping"])
        return Response(ImportSerializer(job).data)

    @extend_schema(request=None, responses=ImportSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request, pk=None):
        job = self.get_object()
        job.request_cancel()
        return Response(ImportSerializer(job).data)

    @extend_schema(responses=RejectedRowSerializer(many=True), filters=False)
    @action(detail=True, methods=["get"], filter_backends=[])
    def rejected(self, request, pk=None):
        """Every rejected row with its reason."""
        page = self.paginate_queryset(RejectedRow.objects.filter(item_import=self.get_object()))
        return self.get_paginated_response(RejectedRowSerializer(page, many=True).data)


class ExportSerializer(serializers.ModelSerializer):
    class Meta:
        model = Export
        fields = [*STATE, "kind", "file_format", "filters", "rows"]
        read_only_fields = fields


class NewExportSerializer(serializers.Serializer):
    project = serializers.IntegerField()
    kind = serializers.CharField(
        help_text="annotations, annotations_wide, adjudicated, pairs, agreement, dataset, or what other parts register."
    )
    file_format = serializers.CharField(help_text="csv, jsonl, parquet; for pairs alpaca too; for dataset zip.")
    filters = serializers.DictField(
        default=dict,
        help_text='label: for example {"bias": "high"}. status: a pair\'s. since, until: days. language. kinds: work '
        "or all, with practice, gold and repeats. annotators: names or pseudonyms. license: of a dataset.",
    )


class ExportViewSet(ScopedAPI, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Files written from a project's rows, for its leads and trainers."""

    queryset = Export.objects.select_related("project")
    serializer_class = ExportSerializer
    filterset_class = ExportFilter
    roles = {"*": (Role.LEAD, Role.TRAINER)}

    def get_object(self):
        export = super().get_object()
        if not getattr(self, "swagger_fake_view", False):
            exports.check_allowed(self.request.user, export)
        return export

    @extend_schema(request=NewExportSerializer, responses={201: ExportSerializer})
    def create(self, request):
        serializer = NewExportSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        values = dict(serializer.validated_data)
        project = access.project_for(request.user, values.pop("project"), *self.roles["*"])
        return Response(ExportSerializer(exports.create(project, request.user, **values)).data, status=201)

    @extend_schema(request=None, responses=ExportSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request, pk=None):
        job = self.get_object()
        job.request_cancel()
        return Response(ExportSerializer(job).data)

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    @action(detail=True, methods=["get"])
    def download(self, request, pk=None):
        """The file; 404 until the export has finished."""
        try:
            return exports.download(self.get_object())
        except Http404:
            raise Http404("This export has no file (yet).") from None


def register(router) -> None:
    router.register("imports", ImportViewSet, basename="import")
    router.register("exports", ExportViewSet, basename="export")
