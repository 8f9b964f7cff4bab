"""The annotator's API: take the next item, keep a draft, submit, skip, revise. Same rules as the page."""

from django.http import Http404
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.response import Response

from annotation import access, drafts, mine, suggestions, work
from annotation.filters import AssignmentFilter
from annotation.models import Annotation, Assignment, Item, Role


class TaskItemSerializer(serializers.ModelSerializer):
    """What an annotator may see of an item: nothing of other annotators' work.

    No id either: ids of items tell when an item was made, and so which one was hidden among the work.
    """

    class Meta:
        model = Item
        fields = ["text", "source", "language", "content_kinds"]
        read_only_fields = fields


class SpanSerializer(serializers.Serializer):
    start = serializers.IntegerField(help_text="First code point of the span.")
    end = serializers.IntegerField(help_text="First code point after the span.")


class ShownSuggestionSerializer(serializers.Serializer):
    """What a model proposes for a text, for the annotator to accept or change."""

    labels = serializers.DictField(child=serializers.CharField())
    rewrite = serializers.CharField()
    spans = SpanSerializer(many=True)


class AssignmentSerializer(serializers.ModelSerializer):
    item = TaskItemSerializer(read_only=True)
    suggestion = serializers.SerializerMethodField(help_text="Null where none is shown.")

    class Meta:
        model = Assignment
        fields = [
            "id",
            "project",
            "item",
            "state",
            "lease_until",
            "draft",
            "draft_saved_at",
            "draft_version",
            "suggestion",
        ]
        read_only_fields = fields

    @extend_schema_field(ShownSuggestionSerializer(allow_null=True))
    def get_suggestion(self, assignment: Assignment) -> dict | None:
        return suggestions.shown(assignment, assignment.item.project.dimensions_in_order)


class ContentSerializer(serializers.Serializer):
    """What an annotator decides. The rules are in annotation.validators, as for the page."""

    labels = serializers.DictField(child=serializers.CharField(), default=dict)
    spans = SpanSerializer(many=True, default=list)
    target_groups = serializers.ListField(child=serializers.CharField(), default=list)
    rewrite = serializers.CharField(allow_blank=True, trim_whitespace=False, default="")
    comment = serializers.CharField(allow_blank=True, trim_whitespace=False, default="")
    active_seconds = serializers.IntegerField(min_value=0, default=0)
    version = serializers.IntegerField(
        min_value=0,
        required=False,
        help_text="`draft_version` of the draft that this is based on. With another one there, the answer is 409 and "
        "holds it. Without a version, the last write wins.",
    )


class DraftSerializer(ContentSerializer):
    revision = serializers.IntegerField(
        required=False, help_text="For a finished text: the revision that this unsaved change is based on."
    )


class RevisionSerializer(ContentSerializer):
    revision = serializers.IntegerField(help_text="The revision that this change is based on.")


class ConflictSerializer(serializers.Serializer):
    """What is there instead."""

    detail = serializers.CharField()
    version = serializers.IntegerField(help_text="The draft's version.")
    saved_at = serializers.DateTimeField(allow_null=True)
    state = serializers.CharField(help_text="Of the assignment: held, finished, skipped or expired.")
    annotation = serializers.IntegerField(allow_null=True, help_text="Of a finished text: its annotation.")
    revision = serializers.IntegerField(allow_null=True)
    content = ContentSerializer(allow_null=True)


class OwnAnnotationSerializer(serializers.ModelSerializer):
    class Meta:
        model = Annotation
        fields = [
            "id",
            "project",
            "assignment",
            *Annotation.CONTENT,
            "active_seconds",
            "revision",
            "created_at",
            "updated_at",
        ]
        read_only_fields = fields


class NextSerializer(serializers.Serializer):
    project = serializers.IntegerField()


class AssignmentViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """One's own assignments. `next` hands one out; a project that has nothing left answers 204."""

    queryset = Assignment.objects.all()
    serializer_class = AssignmentSerializer
    filterset_class = AssignmentFilter

    def get_queryset(self):
        if getattr(self, "swagger_fake_view", False):
            return Assignment.objects.none()
        mine = Assignment.objects.of(self.request.user)
        return mine.select_related("suggestion").prefetch_related("item__project__dimensions")

    def _content(self, serializer_class) -> dict:
        serializer = serializer_class(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data

    @extend_schema(
        request=NextSerializer,
        responses={200: AssignmentSerializer, 204: OpenApiResponse(description="Nothing is left for you.")},
    )
    @action(detail=False, methods=["post"])
    def next(self, request):
        project = access.project_for(request.user, self._content(NextSerializer)["project"], Role.ANNOTATOR)
        assignment = work.next_assignment(request.user, project)
        return Response(status=204) if assignment is None else Response(AssignmentSerializer(assignment).data)

    @extend_schema(request=DraftSerializer, responses={200: AssignmentSerializer, 409: ConflictSerializer})
    @action(detail=True, methods=["put"])
    def draft(self, request, pk=None):
        content = self._content(DraftSerializer)
        assignment = work.save_draft(request.user, self.get_object().pk, content, _base(content))
        return Response(AssignmentSerializer(assignment).data)

    @extend_schema(request=ContentSerializer, responses={200: OwnAnnotationSerializer, 409: ConflictSerializer})
    @action(detail=True, methods=["post"])
    def submit(self, request, pk=None):
        content = self._content(ContentSerializer)
        annotation = work.submit(request.user, self.get_object().pk, content, _base(content))
        return Response(OwnAnnotationSerializer(annotation).data)

    @extend_schema(request=None, responses=AssignmentSerializer)
    @action(detail=True, methods=["post"])
    def skip(self, request, pk=None):
        work.skip(request.user, self.get_object().pk)
        return Response(AssignmentSerializer(self.get_object()).data)

    @extend_schema(request=None, responses=AssignmentSerializer)
    @action(detail=True, methods=["post"], url_path="take-up")
    def take_up(self, request, pk=None):
        """Hold a text again that you skipped or lost; 400 says why it cannot be yours."""
        mine.take_up(request.user, self.get_object().pk)
        return Response(AssignmentSerializer(self.get_object()).data)

    @extend_schema(request=RevisionSerializer, responses={200: OwnAnnotationSerializer, 409: ConflictSerializer})
    @action(detail=True, methods=["post"])
    def revise(self, request, pk=None):
        annotation = Annotation.objects.filter(assignment=self.get_object()).first()
        if annotation is None:
            raise Http404
        content = self._content(RevisionSerializer)
        annotation = work.revise(request.user, annotation.pk, content, content["revision"], _base(content))
        return Response(OwnAnnotationSerializer(annotation).data)


def _base(content: dict) -> drafts.Base:
    return drafts.Base(version=content.get("version"))


def register(router) -> None:
    router.register("assignments", AssignmentViewSet, basename="assignment")
