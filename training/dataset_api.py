"""Datasets and preferences through the API: the same services, rules and roles as the pages."""

from django.core.exceptions import ValidationError
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.parsers import FormParser, JSONParser, MultiPartParser
from rest_framework.response import Response

from annotation import access
from annotation.models import Role
from training import dataset_diff, dataset_files, datasets, preferences
from training.models import Dataset, DatasetKind, DatasetRow, Freezing, Preference, PreferenceImport

READERS = (Role.LEAD, Role.TRAINER)
JOB_FIELDS = ["status", "done", "total", "message", "error", "created_at", "started_at", "ended_at"]


class SharesSerializer(serializers.Serializer):
    train = serializers.FloatField(default=datasets.DEFAULT_SHARES["train"])
    validation = serializers.FloatField(default=datasets.DEFAULT_SHARES["validation"])
    test = serializers.FloatField(default=datasets.DEFAULT_SHARES["test"])


class DatasetSerializer(serializers.ModelSerializer):
    created_by = serializers.CharField(source="created_by.username", read_only=True)
    counts = serializers.DictField(child=serializers.IntegerField(), read_only=True)
    shares = serializers.DictField(child=serializers.FloatField(), read_only=True)
    filters = serializers.DictField(read_only=True)

    class Meta:
        model = Dataset
        fields = [
            "id", "project", "name", "kind", "content_hash", "seed", "shares", "filters", "stratify_by",
            "near_duplicates", "counts", "created_by", "created_at",
        ]  # fmt: skip
        read_only_fields = fields


class DatasetDetailSerializer(DatasetSerializer):
    figures = serializers.DictField(read_only=True, help_text="Class balance, lengths, strata, near-duplicates.")

    class Meta(DatasetSerializer.Meta):
        fields = [*DatasetSerializer.Meta.fields, "figures"]
        read_only_fields = fields


class FreezeSerializer(serializers.Serializer):
    project = serializers.IntegerField()
    name = serializers.CharField(max_length=200)
    kind = serializers.ChoiceField(choices=DatasetKind.choices, default=DatasetKind.PAIRS)
    shares = SharesSerializer(default=lambda: dict(datasets.DEFAULT_SHARES))
    seed = serializers.IntegerField(default=0, min_value=0)
    filters = serializers.DictField(
        default=dict,
        help_text="labels (dimension -> levels), target_groups, sources, languages, agreement (0 to 1), agreement_on "
        "(dimensions), votes; of preferences origins instead of labels and agreement.",
    )
    stratify_by = serializers.CharField(
        default="", allow_blank=True, help_text="target_group, source, or label: and a dimension's key."
    )
    near_duplicates = serializers.FloatField(
        default=datasets.DEFAULT_NEAR_DUPLICATES,
        allow_null=True,
        help_text="Texts with at least this share of common character 5-grams stay in one split; null does not look.",
    )


class FreezingSerializer(serializers.ModelSerializer):
    created_by = serializers.CharField(source="created_by.username", read_only=True)
    settings = serializers.DictField(read_only=True)

    class Meta:
        model = Freezing
        fields = ["id", "project", "name", "settings", "dataset", "created_by", *JOB_FIELDS]
        read_only_fields = fields


class DatasetRowSerializer(serializers.ModelSerializer):
    labels = serializers.DictField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = DatasetRow
        fields = [
            "id", "pair", "preference", "item", "split", "position", "external_id", "text", "rewrite", "rejected",
            "labels",
        ]  # fmt: skip
        read_only_fields = fields


class DiffRowSerializer(serializers.Serializer):
    position = serializers.IntegerField()
    external_id = serializers.CharField()
    text = serializers.CharField()
    left = serializers.DictField(allow_null=True)
    right = serializers.DictField(allow_null=True)


class DiffSerializer(serializers.Serializer):
    left = serializers.IntegerField(help_text="The first dataset.")
    right = serializers.IntegerField(help_text="The other one.")
    counts = serializers.DictField(child=serializers.IntegerField())
    show = serializers.CharField()
    rows = DiffRowSerializer(many=True)
    next_after = serializers.IntegerField(allow_null=True)


class DatasetViewSet(
    access.ScopedAPI,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet,
):
    """Frozen sets of approved pairs or preferences. `create` freezes; nothing changes one afterwards."""

    queryset = Dataset.objects.select_related("created_by")
    serializer_class = DatasetSerializer
    filterset_fields = ["project", "content_hash", "kind"]
    roles = {"*": READERS, "destroy": (Role.TRAINER,)}

    def get_serializer_class(self):
        return DatasetDetailSerializer if self.action == "retrieve" else DatasetSerializer

    def get_queryset(self):
        return super().get_queryset() if self.action == "retrieve" else super().get_queryset().defer("figures")

    @extend_schema(request=FreezeSerializer, responses={201: DatasetSerializer, 202: FreezingSerializer})
    def create(self, request):
        """A small dataset is there at once (201). A large one is frozen by a worker: 202 answers with its freezing,
        whose `dataset` is set when it is done (see /api/freezings/).
        """
        values = checked(FreezeSerializer, request.data)
        project = access.project_for(request.user, values.pop("project"), Role.TRAINER)
        made = datasets.start(project=project, user=request.user, **values)
        if isinstance(made, Freezing):
            return Response(FreezingSerializer(made).data, status=202)
        return Response(DatasetSerializer(made).data, status=201)

    def perform_destroy(self, instance):
        datasets.delete(instance)

    @extend_schema(responses=DatasetRowSerializer(many=True))
    @action(detail=True, filter_backends=[])
    def rows(self, request, pk=None):
        """The rows, in the order of their content."""
        rows = self.paginate_queryset(self.get_object().rows.all())
        return self.get_paginated_response(DatasetRowSerializer(rows, many=True).data)

    @extend_schema(responses={(200, "application/jsonl"): OpenApiTypes.STR})
    @action(detail=True, url_path=rf"files/(?P<file_format>{'|'.join(dataset_files.FORMATS)})")
    def files(self, request, pk=None, file_format="alpaca"):
        """JSON Lines for training tools: alpaca, prompt-completion, chat or preference."""
        found = self.get_object()
        if file_format not in dataset_files.formats_of(found):
            raise ValidationError(
                "The dataset holds pairs, which have no rejected outputs. Freeze preferences instead."
            )
        return StreamingHttpResponse(dataset_files.lines(found, file_format), content_type="application/jsonl")

    @extend_schema(
        responses=DiffSerializer,
        parameters=[
            OpenApiParameter("other", int, required=True),
            OpenApiParameter("show", str, enum=list(dataset_diff.KINDS)),
            OpenApiParameter("after", int),
        ],
    )
    @action(detail=True, filter_backends=[], pagination_class=None)
    def diff(self, request, pk=None):
        """What differs between this dataset and the `other` one: counts, and the rows of one kind (`show`), those that
        follow the position `after`.
        """
        left = self.get_object()
        other, after = request.query_params.get("other", ""), request.query_params.get("after", "-1")
        show = request.query_params.get("show", "left")
        in_project = Dataset.objects.filter(project_id=left.project_id)
        right = in_project.filter(pk=other).first() if other.isdecimal() and len(other) < 19 else None
        if right is None:
            raise ValidationError({"other": "Name another dataset of this project by its id."})
        dataset_diff.check(left, right)
        if show not in dataset_diff.KINDS:
            raise ValidationError({"show": f"Choose one of {', '.join(dataset_diff.KINDS)}."})
        position = int(after) if after.isdecimal() and len(after) < 10 else -1
        rows = dataset_diff.rows(left, right, show, position, dataset_diff.SIZE + 1)
        more = len(rows) > dataset_diff.SIZE
        found = {
            "left": left.pk,
            "right": right.pk,
            "counts": dataset_diff.counts(left, right),
            "show": show,
            "rows": rows[: dataset_diff.SIZE],
            "next_after": rows[dataset_diff.SIZE - 1]["position"] if more else None,
        }
        return Response(DiffSerializer(found).data)


class FreezingViewSet(access.ScopedAPI, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Large datasets on their way; `dataset` is set when one is there."""

    queryset = Freezing.objects.select_related("created_by")
    serializer_class = FreezingSerializer
    filterset_fields = ["project", "status"]
    roles = {"*": READERS, "cancel": (Role.TRAINER,)}

    @extend_schema(request=None, responses=FreezingSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request, pk=None):
        job = self.get_object()
        job.request_cancel()
        return Response(FreezingSerializer(job).data)


class PreferenceSerializer(serializers.ModelSerializer):
    created_by = serializers.CharField(source="created_by.username", read_only=True)
    origin = serializers.DictField(read_only=True)

    class Meta:
        model = Preference
        fields = [
            "id", "project", "item", "text", "chosen", "rejected", "source", "origin", "votes", "voters", "created_by",
            "created_at",
        ]  # fmt: skip
        read_only_fields = fields


class FromPairsSerializer(serializers.Serializer):
    project = serializers.IntegerField()
    against = serializers.ChoiceField(
        choices=[(name, words) for name, (_, words) in preferences.AGAINST.items()], default="text"
    )


class MadeSerializer(serializers.Serializer):
    made = serializers.IntegerField()
    present = serializers.IntegerField(help_text="They were there already.")
    unusable = serializers.IntegerField(help_text="One output is empty, or both are the same.")


class PreferenceImportSerializer(serializers.ModelSerializer):
    problems = serializers.ListField(child=serializers.DictField(), read_only=True)

    class Meta:
        model = PreferenceImport
        fields = ["id", "project", "file_name", "imported", "present", "rejected", "problems", *JOB_FIELDS]
        read_only_fields = fields


class PreferenceUploadSerializer(serializers.Serializer):
    project = serializers.IntegerField()
    file = serializers.FileField(allow_empty_file=True, help_text="text or prompt, chosen, rejected, external_id.")
    file_format = serializers.CharField(default="", allow_blank=True, help_text="csv or jsonl; else by the name.")


class PreferenceViewSet(
    access.ScopedAPI,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet,
):
    """Preferred and rejected outputs. Those of a closed study are made by POST /api/studies/<id>/preferences/. Those of
    studies over systems that the caller is rating blind at the moment are left out.
    """

    queryset = Preference.objects.select_related("created_by")
    serializer_class = PreferenceSerializer
    filterset_fields = ["project", "source", "item"]
    roles = {"*": READERS, "destroy": (Role.TRAINER,)}

    def get_queryset(self):
        return preferences.shown_to(self.request.user, super().get_queryset())

    def perform_destroy(self, instance):
        preferences.delete(instance)

    @extend_schema(request=FromPairsSerializer, responses=MadeSerializer)
    @action(detail=False, methods=["post"], url_path="from-pairs")
    def from_pairs(self, request):
        """Prefer each approved rewrite to the original text, or to rewrites that were voted down."""
        values = checked(FromPairsSerializer, request.data)
        project = access.project_for(request.user, values["project"], Role.TRAINER)
        return Response(MadeSerializer(preferences.from_pairs(project, request.user, values["against"])).data)


class PreferenceImportViewSet(
    access.ScopedAPI, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet
):
    """Uploads of preferences. A new one is imported by a worker; its counts and rejected rows are here."""

    queryset = PreferenceImport.objects.all()
    serializer_class = PreferenceImportSerializer
    filterset_fields = ["project", "status"]
    roles = {"*": READERS, "cancel": (Role.TRAINER,)}
    parser_classes = [MultiPartParser, FormParser, JSONParser]

    @extend_schema(
        request={"multipart/form-data": PreferenceUploadSerializer}, responses={201: PreferenceImportSerializer}
    )
    def create(self, request):
        values = checked(PreferenceUploadSerializer, request.data)
        project = access.project_for(request.user, values["project"], Role.TRAINER)
        job = preferences.upload(project, request.user, values["file"], values["file_format"])
        return Response(PreferenceImportSerializer(job).data, status=201)

    @extend_schema(request=None, responses=PreferenceImportSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request, pk=None):
        job = self.get_object()
        job.request_cancel()
        return Response(PreferenceImportSerializer(job).data)


def checked(serializer_class, data) -> dict:
    serializer = serializer_class(data=data)
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data


def register(router) -> None:
    router.register("datasets", DatasetViewSet, basename="dataset")
    router.register("freezings", FreezingViewSet, basename="freezing")
    router.register("preferences", PreferenceViewSet, basename="preference")
    router.register("preference-imports", PreferenceImportViewSet, basename="preference-import")
