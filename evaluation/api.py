"""REST routes of the evaluation application. Same services, rules and blinding as the pages."""

from typing import Any

from django.core.exceptions import ValidationError
from django.http import Http404
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.pagination import CursorPagination
from rest_framework.parsers import FormParser, JSONParser, MultiPartParser
from rest_framework.response import Response

from annotation import access
from annotation.access import ScopedAPI
from annotation.models import Role
from evaluation import output_imports, studies
from evaluation.models import (
    Criterion,
    Output,
    OutputImport,
    RejectedOutput,
    Report,
    ReviewTask,
    Slot,
    Study,
    StudyMembership,
    System,
)
from evaluation.views.systems import with_counts

READERS = (Role.LEAD, Role.TRAINER)
JOB_FIELDS = ["status", "done", "total", "message", "error", "created_at", "started_at", "ended_at"]


# Systems and outputs


class SystemSerializer(serializers.ModelSerializer):
    outputs_count = serializers.IntegerField(read_only=True)

    class Meta:
        model = System
        fields = [
            "id",
            "project",
            "name",
            "kind",
            "base_model",
            "prompt_template",
            "settings",
            "is_scratch",
            "outputs_count",
            "created_at",
        ]
        read_only_fields = fields


class SystemViewSet(ScopedAPI, viewsets.ReadOnlyModelViewSet):
    """Systems, without those that the caller is rating blind at the moment."""

    queryset = System.objects.all()
    serializer_class = SystemSerializer
    filterset_fields = ["project", "kind"]
    roles = {"*": READERS}

    def get_queryset(self):
        return with_counts(super().get_queryset().shown_to(self.request.user))


class OutputSerializer(serializers.ModelSerializer):
    external_id = serializers.CharField(source="item.external_id", read_only=True)

    class Meta:
        model = Output
        fields = [
            "id",
            "project",
            "system",
            "item",
            "external_id",
            "text",
            "tokens",
            "seconds",
            "created_at",
        ]
        read_only_fields = fields


class OutputViewSet(ScopedAPI, viewsets.ReadOnlyModelViewSet):
    """Outputs, without those of systems that the caller is rating blind at the moment."""

    queryset = Output.objects.select_related("item")
    serializer_class = OutputSerializer
    filterset_fields = ["project", "system", "item"]
    roles = {"*": READERS}

    def get_queryset(self):
        hidden = System.objects.all().hidden_from(self.request.user)
        return super().get_queryset().exclude(system__in=hidden.values("pk"))


class RejectedOutputSerializer(serializers.ModelSerializer):
    class Meta:
        model = RejectedOutput
        fields = ["row", "field", "reason", "excerpt"]
        read_only_fields = fields


class OutputImportSerializer(serializers.ModelSerializer):
    class Meta:
        model = OutputImport
        fields = ["id", "project", "file_name", "imported", "rejected", *JOB_FIELDS]
        read_only_fields = fields


class OutputUploadSerializer(serializers.Serializer):
    project = serializers.IntegerField()
    file = serializers.FileField(help_text="CSV in UTF-8: external_id (or text), system, output.")


class OutputImportViewSet(
    ScopedAPI, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet
):
    """Uploads of outputs. A new one is imported by a worker; its state, counts and rejected rows are here."""

    queryset = OutputImport.objects.all()
    serializer_class = OutputImportSerializer
    filterset_fields = ["project", "status"]
    roles = {"*": READERS}

    parser_classes = [MultiPartParser, FormParser, JSONParser]

    @extend_schema(
        request={"multipart/form-data": OutputUploadSerializer}, responses={201: OutputImportSerializer}
    )
    def create(self, request):
        serializer = OutputUploadSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        project = access.project_for(request.user, serializer.validated_data["project"], *READERS)
        job = output_imports.upload(project, request.user, serializer.validated_data["file"])
        return Response(OutputImportSerializer(job).data, status=201)

    @extend_schema(responses=RejectedOutputSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None)
    def rejected(self, request, pk=None):
        """The first thousand rejected rows."""
        rows = self.get_object().rejected_rows.all()[:1000]
        return Response(RejectedOutputSerializer(rows, many=True).data)

    @extend_schema(request=None, responses=OutputImportSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request, pk=None):
        job = self.get_object()
        job.request_cancel()
        return Response(OutputImportSerializer(job).data)


# Studies


class CriterionSerializer(serializers.ModelSerializer):
    class Meta:
        model = Criterion
        fields = ["key", "name", "question", "low", "high"]
        read_only_fields = fields


class StudySerializer(serializers.ModelSerializer):
    """A study. While the caller is rating it, its systems, reference and seed are left out."""

    criteria = CriterionSerializer(many=True, read_only=True)

    class Meta:
        model = Study
        fields = [
            "id",
            "project",
            "name",
            "instructions",
            "status",
            "systems",
            "reference",
            "number_of_items",
            "chosen_ids",
            "seed",
            "criteria",
            "created_at",
            "started_at",
            "closed_at",
        ]
        read_only_fields = ["id", "project", "status", "criteria", "created_at", "started_at", "closed_at"]

    def to_representation(self, instance):
        shown = super().to_representation(instance)
        if studies.is_blind(self.context["request"].user, instance):
            for name in ("systems", "reference", "seed"):
                del shown[name]
        return shown


class StudyWriteSerializer(StudySerializer):
    project = serializers.IntegerField(write_only=True)

    class Meta(StudySerializer.Meta):
        read_only_fields = [
            name for name in StudySerializer.Meta.read_only_fields if name not in ("project", "criteria")
        ]


class PersonSerializer(serializers.Serializer):
    person = serializers.CharField(help_text="User name or e-mail address.")


class ReviewerSerializer(serializers.ModelSerializer):
    user = serializers.CharField(source="user.username", read_only=True)

    class Meta:
        model = StudyMembership
        fields = ["id", "user"]
        read_only_fields = fields


class ProgressSerializer(serializers.Serializer):
    user = serializers.CharField(source="user.username")
    total = serializers.IntegerField()
    done = serializers.IntegerField()
    seconds = serializers.IntegerField()
    last = serializers.DateTimeField(allow_null=True)


class ReadinessSerializer(serializers.Serializer):
    texts = serializers.SerializerMethodField()
    complete = serializers.IntegerField()
    incomplete = serializers.IntegerField()
    problems = serializers.ListField(child=serializers.CharField())

    def get_texts(self, ready) -> int:
        return len(ready.items)


class ReportSerializer(serializers.ModelSerializer):
    results = serializers.JSONField(read_only=True)

    class Meta:
        model = Report
        fields = ["id", "project", "study", "seed", "results", *JOB_FIELDS]
        read_only_fields = fields


class StudyViewSet(
    ScopedAPI,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    viewsets.GenericViewSet,
):
    """Studies: made, started and closed by a project's leads; trainers may read."""

    queryset = Study.objects.prefetch_related("criteria", "systems")
    serializer_class = StudySerializer
    filterset_fields = ["project", "status"]
    roles = {"list": READERS, "retrieve": READERS, "*": (Role.LEAD,)}

    def _values(self, serializer: serializers.BaseSerializer) -> dict[str, Any]:
        serializer.is_valid(raise_exception=True)
        values = dict(serializer.validated_data)
        values.pop("project", None)
        return values

    def _systems(self, project_id: int, systems: list[System]) -> None:
        """A system that the caller may not see is answered like one that is not there."""
        shown = System.objects.filter(project_id=project_id).shown_to(self.request.user)
        known = set(shown.filter(pk__in=[system.pk for system in systems]).values_list("pk", flat=True))
        if missing := [system.pk for system in systems if system.pk not in known]:
            raise ValidationError({"systems": f"There is no system {missing[0]} in this project."})

    @extend_schema(request=StudyWriteSerializer, responses={201: StudySerializer})
    def create(self, request):
        serializer = StudyWriteSerializer(data=request.data, context=self.get_serializer_context())
        values = self._values(serializer)
        project = access.project_for(request.user, serializer.validated_data["project"], Role.LEAD)
        self._systems(project.pk, values["systems"])
        study = studies.create(project, request.user, **values)
        return Response(self.get_serializer(study).data, status=201)

    @extend_schema(request=StudySerializer, responses=StudySerializer)
    def partial_update(self, request, pk=None):
        study = self.get_object()
        serializer = self.get_serializer(study, data=request.data, partial=True)
        values = self._values(serializer)
        values.setdefault("systems", list(study.systems.all()))
        self._systems(study.project_id, values["systems"])
        return Response(self.get_serializer(studies.change(study, **values)).data)

    @extend_schema(responses=ReadinessSerializer)
    @action(detail=True)
    def readiness(self, request, pk=None):
        """What would be rated, and what keeps a draft from starting."""
        study = self.get_object()
        if not study.is_draft:
            raise ValidationError("The study has started.")
        return Response(ReadinessSerializer(studies.readiness(study)).data)

    @extend_schema(request=PersonSerializer, responses={201: ReviewerSerializer})
    @action(detail=True, methods=["post"])
    def reviewers(self, request, pk=None):
        """Make a person a reviewer."""
        serializer = PersonSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        membership = studies.invite(self.get_object(), request.user, serializer.validated_data["person"])
        return Response(ReviewerSerializer(membership).data, status=201)

    @extend_schema(request=PersonSerializer, responses={204: None})
    @action(detail=True, methods=["post"], url_path="remove-reviewer")
    def remove_reviewer(self, request, pk=None):
        """Take a person off a study that has not started."""
        serializer = PersonSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        study = self.get_object()
        membership = study.reviewers.filter(user__username=serializer.validated_data["person"]).first()
        if membership is None:
            raise ValidationError({"person": "Nobody of this name reviews the study."})
        studies.remove_reviewer(study, membership)
        return Response(status=204)

    @extend_schema(responses=ProgressSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None)
    def progress(self, request, pk=None):
        """How far each reviewer is: counts only."""
        return Response(ProgressSerializer(studies.progress(self.get_object()), many=True).data)

    @extend_schema(request=None, responses=StudySerializer)
    @action(detail=True, methods=["post"])
    def start(self, request, pk=None):
        return Response(self.get_serializer(studies.start(self.get_object())).data)

    @extend_schema(request=None, responses=StudySerializer)
    @action(detail=True, methods=["post"])
    def close(self, request, pk=None):
        return Response(self.get_serializer(studies.close(self.get_object(), request.user)).data)

    @extend_schema(request=None, responses={201: ReportSerializer})
    @action(detail=True, methods=["post"])
    def report(self, request, pk=None):
        """Compute the report of a closed study once more."""
        report = studies.request_report(self.get_object(), request.user)
        return Response(ReportSerializer(report).data, status=201)


class ReportViewSet(ScopedAPI, viewsets.ReadOnlyModelViewSet):
    """Reports of closed studies. There are none before a study is closed."""

    queryset = Report.objects.all()
    serializer_class = ReportSerializer
    filterset_fields = ["project", "study", "status"]
    roles = {"*": READERS}


# Reviewing


class SlotSerializer(serializers.ModelSerializer):
    """An output as its reviewer sees it: a letter, a random id and the text."""

    class Meta:
        model = Slot
        fields = ["id", "letter", "text"]
        read_only_fields = fields

    letter = serializers.CharField(read_only=True)


class AnswersSerializer(serializers.Serializer):
    """What a reviewer decides. The rules are those of the page."""

    ratings = serializers.DictField(
        child=serializers.DictField(child=serializers.JSONField()),
        default=dict,
        help_text="Slot id -> criterion key -> 1 to 5.",
    )
    preferred = serializers.CharField(
        allow_blank=True, default="", help_text="The better slot's id, or “tie”."
    )
    comment = serializers.CharField(allow_blank=True, trim_whitespace=False, default="")
    active_seconds = serializers.IntegerField(min_value=0, default=0)


class ReviewTaskSerializer(serializers.ModelSerializer):
    """One text with its outputs. Nothing here tells which system wrote which output."""

    text = serializers.CharField(source="item.text", read_only=True)
    language = serializers.CharField(source="item.language", read_only=True)
    slots = SlotSerializer(many=True, read_only=True)
    criteria = CriterionSerializer(source="study.criteria", many=True, read_only=True)
    content = serializers.SerializerMethodField()

    class Meta:
        model = ReviewTask
        fields = [
            "token",
            "study",
            "position",
            "text",
            "language",
            "slots",
            "criteria",
            "content",
            "done_at",
        ]
        read_only_fields = fields

    @extend_schema_field(AnswersSerializer)
    def get_content(self, task) -> dict[str, Any]:
        return studies.content_of(task)


class ReviewTaskRowSerializer(serializers.ModelSerializer):
    class Meta:
        model = ReviewTask
        fields = ["token", "study", "position", "done_at"]
        read_only_fields = fields


class NextTaskSerializer(serializers.Serializer):
    study = serializers.IntegerField()


class ByPosition(CursorPagination):
    """A reviewer's tasks in their own order."""

    ordering = ("study_id", "position")
    page_size = 100


class ReviewTaskViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """One's own review tasks. `next` gives the first unfinished one of a study; 204 when all are finished."""

    queryset = ReviewTask.objects.none()
    lookup_field = "token"
    lookup_value_converter = "uuid"
    pagination_class = ByPosition
    filterset_fields = ["study"]

    def get_queryset(self):
        if getattr(self, "swagger_fake_view", False):
            return ReviewTask.objects.none()
        tasks = ReviewTask.objects.of(self.request.user)
        if self.action == "list":
            return tasks
        return tasks.select_related("study", "item").prefetch_related("slots", "study__criteria")

    def get_serializer_class(self):
        return ReviewTaskRowSerializer if self.action == "list" else ReviewTaskSerializer

    def _answers(self) -> dict[str, Any]:
        serializer = AnswersSerializer(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data

    def _shown(self, task: ReviewTask) -> Response:
        return Response(ReviewTaskSerializer(self.get_queryset().get(pk=task.pk)).data)

    @extend_schema(
        request=NextTaskSerializer,
        responses={200: ReviewTaskSerializer, 204: OpenApiResponse(description="You have finished all.")},
    )
    @action(detail=False, methods=["post"])
    def next(self, request):
        serializer = NextTaskSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        study = Study.objects.reviewed_by(request.user).filter(pk=serializer.validated_data["study"]).first()
        if study is None:
            raise Http404
        task = studies.next_task(request.user, study)
        return Response(status=204) if task is None else self._shown(task)

    @extend_schema(request=AnswersSerializer, responses=ReviewTaskSerializer)
    @action(detail=True, methods=["put"])
    def draft(self, request, token=None):
        return self._shown(studies.save_draft(request.user, self.get_object().token, self._answers()))

    @extend_schema(request=AnswersSerializer, responses=ReviewTaskSerializer)
    @action(detail=True, methods=["post"])
    def submit(self, request, token=None):
        return self._shown(studies.submit(request.user, self.get_object().token, self._answers()))


def register(router) -> None:
    router.register("systems", SystemViewSet, basename="system")
    router.register("outputs", OutputViewSet, basename="output")
    router.register("output-imports", OutputImportViewSet, basename="output-import")
    router.register("studies", StudyViewSet, basename="study")
    router.register("reports", ReportViewSet, basename="report")
    router.register("review-tasks", ReviewTaskViewSet, basename="review-task")
