"""Known answers, practice, figures and consensus. Same services and rules as the pages."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.parsers import MultiPartParser
from rest_framework.response import Response

from annotation import access, consensus, gold, practice, quality
from annotation.access import ScopedAPI
from annotation.api.jobs import STATE
from annotation.api.work import ContentSerializer, SpanSerializer, TaskItemSerializer
from annotation.filters import ConsensusFilter, GoldFilter, PracticeRoundFilter
from annotation.models import (
    AnnotatorConsensus,
    ConsensusRun,
    Gold,
    Item,
    PracticeAnswer,
    PracticeRound,
    Project,
    QualitySettings,
    Role,
)

# Known answers

ACCEPTED = "The accepted levels per dimension; a dimension that is absent is not judged."


ABOUT_NEW = "Of the text; with `item` leave it out: the text has its own."


class GoldSerializer(serializers.ModelSerializer):
    external_id = serializers.CharField(source="item.external_id", read_only=True)
    text = serializers.CharField(source="item.text", read_only=True)
    kind = serializers.CharField(source="item.kind", read_only=True)
    source = serializers.CharField(source="item.source", read_only=True)  # type: ignore[assignment]
    language = serializers.CharField(source="item.language", read_only=True)
    target_group = serializers.CharField(source="item.target_group", read_only=True)
    content_kinds = serializers.JSONField(source="item.content_kinds", read_only=True)
    retired_at = serializers.DateTimeField(source="item.retired_at", read_only=True)

    class Meta:
        model = Gold
        fields = [
            *("id", "project", "item", "external_id", "text", "kind", "labels", "spans", "rewrite", "explanation"),
            *gold.FACTS,
            *("copied_from", "retired_at", "created_at", "updated_at"),
        ]
        read_only_fields = fields


class GoldContentSerializer(serializers.Serializer):
    kind = serializers.ChoiceField(choices=gold.KIND_CHOICES)
    labels = serializers.DictField(child=serializers.ListField(child=serializers.CharField()), help_text=ACCEPTED)
    spans = SpanSerializer(many=True, required=False)
    rewrite = serializers.CharField(allow_blank=True, trim_whitespace=False, required=False)
    explanation = serializers.CharField(allow_blank=True, required=False)
    source = serializers.CharField(  # type: ignore[assignment]
        allow_blank=True, required=False, help_text=ABOUT_NEW
    )
    language = serializers.CharField(allow_blank=True, required=False, help_text=ABOUT_NEW)
    target_group = serializers.CharField(allow_blank=True, required=False, help_text=ABOUT_NEW)
    content_kinds = serializers.ListField(child=serializers.CharField(), required=False, help_text=ABOUT_NEW)


class NewGoldSerializer(GoldContentSerializer):
    project = serializers.IntegerField()
    item = serializers.IntegerField(required=False, help_text="A text of the project; or give `text` for a new one.")
    text = serializers.CharField(required=False, trim_whitespace=False)
    external_id = serializers.CharField(required=False, allow_blank=True)


class GoldFileSerializer(serializers.Serializer):
    project = serializers.IntegerField()
    file = serializers.FileField(allow_empty_file=True)
    kind = serializers.ChoiceField(
        choices=gold.KIND_CHOICES,
        default="gold",
        help_text="Where the file has no column kind.",
    )


class GoldViewSet(ScopedAPI, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Known answers of the projects one leads."""

    queryset = Gold.objects.select_related("item")
    serializer_class = GoldSerializer
    filterset_class = GoldFilter
    roles = {"*": (Role.LEAD,)}

    def _valid(self, serializer_class, **options: Any) -> dict[str, Any]:
        serializer = serializer_class(data=self.request.data, **options)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    @extend_schema(request=NewGoldSerializer, responses={201: GoldSerializer})
    def create(self, request):
        values = self._valid(NewGoldSerializer)
        project = access.project_for(request.user, values.pop("project"), Role.LEAD)
        item = None
        if "item" in values:
            item = access.object_for(request.user, Item.objects.filter(project=project), values.pop("item"), Role.LEAD)
        return Response(GoldSerializer(gold.create(project, request.user, item=item, **values)).data, status=201)

    @extend_schema(request=GoldContentSerializer(partial=True), responses=GoldSerializer)
    def partial_update(self, request, pk=None):
        found = self.get_object()
        gold.change(found, request.user, **self._valid(GoldContentSerializer, partial=True))
        return Response(GoldSerializer(self.get_object()).data)

    @extend_schema(responses={204: OpenApiResponse(description="It is gone, or out of use if it has answers.")})
    def destroy(self, request, pk=None):
        gold.remove(self.get_object(), request.user)
        return Response(status=204)

    @extend_schema(request=None, responses=GoldSerializer)
    @action(detail=True, methods=["post"])
    def restore(self, request, pk=None):
        gold.restore(self.get_object(), request.user)
        return Response(GoldSerializer(self.get_object()).data)

    @extend_schema(
        request={"multipart/form-data": GoldFileSerializer}, responses={201: GoldSerializer(many=True)}, filters=False
    )
    @action(detail=False, methods=["post"], url_path="import", parser_classes=[MultiPartParser])
    def import_file(self, request):
        """All rows of a CSV, or with every problem named none."""
        values = self._valid(GoldFileSerializer)
        project = access.project_for(request.user, values["project"], Role.LEAD)
        made = gold.import_csv(project, request.user, values["file"], kind=values["kind"])
        return Response(GoldSerializer(made, many=True).data, status=201)


# Practice


class PracticeAnswerSerializer(serializers.ModelSerializer):
    """A practice text. What is right is there once it is answered."""

    item = TaskItemSerializer(read_only=True)
    content = serializers.JSONField(read_only=True, help_text="What was answered; null before.")
    result = serializers.SerializerMethodField(help_text="Per dimension: chosen, accepted, worth (null: not judged).")
    rewrite = serializers.SerializerMethodField(help_text="The model rewrite, once it is answered.")
    explanation = serializers.SerializerMethodField(help_text="Why, once it is answered.")

    class Meta:
        model = PracticeAnswer
        fields = [
            *("id", "project", "round", "position", "item", "draft", "draft_saved_at", "content", "result"),
            *("rewrite", "explanation", "answered_at"),
        ]
        read_only_fields = fields

    def get_result(self, answer: PracticeAnswer) -> dict[str, Any] | None:
        if answer.answered_at is None:
            return None
        return {
            row["dimension"].key: {name: row[name] for name in ("chosen", "accepted", "worth")}
            for row in practice.compared(answer)
        }

    def _known(self, answer: PracticeAnswer, name: str) -> str | None:
        known = getattr(answer.item, "gold", None)
        return getattr(known, name) if answer.answered_at and known else None

    def get_rewrite(self, answer: PracticeAnswer) -> str | None:
        return self._known(answer, "rewrite")

    def get_explanation(self, answer: PracticeAnswer) -> str | None:
        return self._known(answer, "explanation")


class ProjectOnlySerializer(serializers.Serializer):
    project = serializers.IntegerField()


class PracticeViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """One's own practice. `next` begins a round, or goes on; with all tries used up it answers 409 `no_tries_left`."""

    queryset = PracticeAnswer.objects.all()
    serializer_class = PracticeAnswerSerializer
    filterset_fields = ["project", "round"]

    def get_queryset(self):
        if getattr(self, "swagger_fake_view", False):
            return PracticeAnswer.objects.none()
        return practice.answers_of(self.request.user).prefetch_related("project__dimensions")

    def _content(self) -> dict[str, Any]:
        serializer = ContentSerializer(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data

    @extend_schema(request=ProjectOnlySerializer, responses=PracticeAnswerSerializer)
    @action(detail=False, methods=["post"])
    def next(self, request):
        serializer = ProjectOnlySerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        project = access.project_for(request.user, serializer.validated_data["project"], Role.ANNOTATOR)
        practice.begin(request.user, project)
        return Response(PracticeAnswerSerializer(practice.current(request.user, project)).data)

    @extend_schema(request=ContentSerializer, responses=PracticeAnswerSerializer)
    @action(detail=True, methods=["put"])
    def draft(self, request, pk=None):
        practice.save_draft(request.user, self.get_object().pk, self._content())
        return Response(PracticeAnswerSerializer(self.get_object()).data)

    @extend_schema(request=ContentSerializer, responses=PracticeAnswerSerializer)
    @action(detail=True, methods=["post"])
    def submit(self, request, pk=None):
        practice.submit(request.user, self.get_object().pk, self._content())
        return Response(PracticeAnswerSerializer(self.get_object()).data)


class PracticeRoundSerializer(serializers.ModelSerializer):
    annotator = serializers.CharField(source="annotator.username", read_only=True)

    class Meta:
        model = PracticeRound
        fields = [
            *("id", "project", "annotator", "number", "state", "pass_mark", "near_misses", "voluntary"),
            *("score", "scores", "started_at", "ended_at"),
        ]
        read_only_fields = fields


class PracticeRoundViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Rounds of practice: one's own, and all of the projects one leads."""

    queryset = PracticeRound.objects.all()
    serializer_class = PracticeRoundSerializer
    filterset_class = PracticeRoundFilter

    def get_queryset(self):
        if getattr(self, "swagger_fake_view", False):
            return PracticeRound.objects.none()
        rounds = PracticeRound.objects.select_related("annotator")
        user: Any = self.request.user
        own = rounds.visible_to(user).filter(annotator=user)
        return (rounds.visible_to(user, Role.LEAD) | own).distinct()


# Consensus


class AnnotatorConsensusSerializer(serializers.ModelSerializer):
    annotator = serializers.CharField(source="annotator.username", read_only=True)

    class Meta:
        model = AnnotatorConsensus
        fields = ["annotator", "dimension", "annotations", "accuracy", "levels", "matrix"]
        read_only_fields = fields


class ConsensusSerializer(serializers.ModelSerializer):
    class Meta:
        model = ConsensusRun
        fields = [*STATE, "method", "annotations", "items", "dimensions"]
        read_only_fields = fields


class ItemConsensusSerializer(serializers.Serializer):
    item = serializers.IntegerField()
    labels = serializers.DictField(child=serializers.CharField())
    confidence = serializers.DictField(child=serializers.FloatField())
    annotations = serializers.IntegerField()


class ConsensusViewSet(ScopedAPI, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Estimations of the consensus of the projects one leads. Only the newest finished one keeps its labels."""

    queryset = ConsensusRun.objects.all()
    serializer_class = ConsensusSerializer
    filterset_class = ConsensusFilter
    roles = {"*": (Role.LEAD,)}

    @extend_schema(request=ProjectOnlySerializer, responses={201: ConsensusSerializer})
    def create(self, request):
        serializer = ProjectOnlySerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        project = access.project_for(request.user, serializer.validated_data["project"], Role.LEAD)
        return Response(ConsensusSerializer(consensus.start(project, request.user)).data, status=201)

    @extend_schema(request=None, responses=ConsensusSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request, pk=None):
        job = self.get_object()
        job.request_cancel()
        return Response(ConsensusSerializer(job).data)

    @extend_schema(responses=AnnotatorConsensusSerializer(many=True), filters=False)
    @action(detail=True, methods=["get"], pagination_class=None, filter_backends=[])
    def annotators(self, request, pk=None):
        """How annotators answer, as estimated: accuracy and confusion matrix per dimension."""
        rows = self.get_object().annotators.select_related("annotator").order_by("annotator__username", "dimension")
        return Response(AnnotatorConsensusSerializer(rows, many=True).data)

    @extend_schema(responses=ItemConsensusSerializer(many=True), filters=False)
    @action(detail=True, methods=["get"], filter_backends=[])
    def labels(self, request, pk=None):
        """The labels of every text, with their estimated probability."""
        page: list[Any] = self.paginate_queryset(self.get_object().item_labels.all()) or []
        rows = [
            {"item": r.item_id, "labels": r.labels, "confidence": r.confidence, "annotations": r.annotations}
            for r in page
        ]
        return self.get_paginated_response(rows)


# Below a project


class QualitySettingsSerializer(serializers.ModelSerializer):
    class Meta:
        model = QualitySettings
        fields = QualitySettings.FIELDS


class StandingSerializer(serializers.Serializer):
    username = serializers.CharField(source="user.username")
    user = serializers.IntegerField(source="user.pk")
    passed_at = serializers.DateTimeField(allow_null=True)
    let_pass_by = serializers.CharField(source="let_pass_by.username", allow_null=True, default=None)
    rounds = serializers.IntegerField()
    running = serializers.BooleanField()
    last_score = serializers.FloatField(source="last.score", allow_null=True, default=None)
    tries_left = serializers.IntegerField(source="left", allow_null=True, help_text="null: as many as they like")


class DecideStandingSerializer(serializers.Serializer):
    action = serializers.ChoiceField(choices=[("pass", "Let pass"), ("reset", "Begin anew")])


class ShareSerializer(serializers.Serializer):
    hits = serializers.IntegerField()
    n = serializers.IntegerField()
    percent = serializers.FloatField(allow_null=True)
    low = serializers.FloatField(allow_null=True, help_text="of the 95 % interval (Wilson)")
    high = serializers.FloatField(allow_null=True)


class ConsistencySerializer(serializers.Serializer):
    same = ShareSerializer()
    kappa = serializers.FloatField(allow_null=True)
    weighted = serializers.BooleanField()
    why = serializers.CharField(help_text="Why there is no kappa.")


class FiguresSerializer(serializers.Serializer):
    """The figures of one annotator, by dimension."""

    gold_texts = serializers.IntegerField()
    overall = ShareSerializer()
    gold = serializers.DictField(child=ShareSerializer())
    repeats = serializers.DictField(child=ConsistencySerializer())

    def to_representation(self, row: dict[str, Any]) -> dict[str, Any]:
        return {
            "gold_texts": row["gold_texts"],
            "overall": ShareSerializer(row["overall"]).data,
            "gold": {cell["dimension"].key: ShareSerializer(cell["share"]).data for cell in row["gold"]},
            "repeats": {
                cell["dimension"].key: ConsistencySerializer(cell["consistency"]).data for cell in row["repeats"]
            },
        }


class AnnotatorFiguresSerializer(FiguresSerializer):
    username = serializers.CharField()
    repeated_texts = serializers.IntegerField()

    def to_representation(self, row: dict[str, Any]) -> dict[str, Any]:
        named = {"username": row["user"].get_username(), "repeated_texts": row["repeated_texts"]}
        return named | super().to_representation(row)


class ProjectQuality:
    """Actions of the project's routes that are about quality."""

    def _quality_project(self, *roles: str) -> Project:
        return access.project_for(self.request.user, self.get_object().pk, *roles)  # type: ignore[attr-defined]

    @extend_schema(methods=["get"], responses=QualitySettingsSerializer)
    @extend_schema(
        methods=["patch"], request=QualitySettingsSerializer(partial=True), responses=QualitySettingsSerializer
    )
    @action(detail=True, methods=["get", "patch"], url_path="quality-settings")
    def quality_settings(self, request, pk=None):
        """Practice, and what is hidden among the work; for leads."""
        project = self._quality_project(Role.LEAD)
        if request.method == "PATCH":
            serializer = QualitySettingsSerializer(data=request.data, partial=True)
            serializer.is_valid(raise_exception=True)
            gold.change_settings(project, request.user, **serializer.validated_data)
        return Response(QualitySettingsSerializer(gold.settings_of(project)).data)

    @extend_schema(responses=AnnotatorFiguresSerializer(many=True))
    @action(detail=True, methods=["get"], pagination_class=None, filter_backends=[])
    def quality(self, request, pk=None):
        """Accuracy on gold and consistency on repeats, everybody by name; for leads."""
        rows = quality.per_annotator(self._quality_project(Role.LEAD))
        return Response(AnnotatorFiguresSerializer(rows, many=True).data)

    @extend_schema(
        responses={200: FiguresSerializer, 204: OpenApiResponse(description="There are not enough gold texts yet.")}
    )
    @action(detail=True, methods=["get"], url_path="own-quality")
    def own_quality(self, request, pk=None):
        """One's own figures, in steps and as of yesterday, so that they cannot tell which texts were gold."""
        own = quality.own(request.user, self._quality_project(Role.ANNOTATOR))
        return Response(status=204) if own is None else Response(FiguresSerializer(own).data)

    @extend_schema(responses=StandingSerializer(many=True))
    @action(detail=True, methods=["get"], pagination_class=None, filter_backends=[], url_path="practice-results")
    def practice_results(self, request, pk=None):
        """Who has passed the practice, and when; for leads."""
        rows = practice.results(self._quality_project(Role.LEAD))
        return Response(StandingSerializer(rows, many=True).data)

    @extend_schema(
        parameters=[OpenApiParameter("user_id", int, OpenApiParameter.PATH)],
        request=DecideStandingSerializer,
        responses=StandingSerializer,
    )
    @action(detail=True, methods=["post"], url_path=r"practice-results/(?P<user_id>\d{1,18})")
    def practice_result(self, request, pk=None, user_id=None):
        """Let somebody pass, or begin anew; for leads."""
        project = self._quality_project(Role.LEAD)
        person = get_user_model().objects.filter(pk=user_id, memberships__project=project).first()
        if person is None:
            raise Http404
        serializer = DecideStandingSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        decide = practice.let_pass if serializer.validated_data["action"] == "pass" else practice.reset
        decide(project, person, request.user)
        row = next((row for row in practice.results(project) if row["user"].pk == person.pk), None)
        if row is None:
            raise ValidationError(f"{person} is no annotator of this project.")
        return Response(StandingSerializer(row).data)


def register(router) -> None:
    router.register("gold", GoldViewSet, basename="gold")
    router.register("practice", PracticeViewSet, basename="practice")
    router.register("practice-rounds", PracticeRoundViewSet, basename="practice-round")
    router.register("consensus", ConsensusViewSet, basename="consensus")
