"""Texts and annotations. Leads see all of their projects; annotators their own annotations."""

from typing import Any

from django.db.models import Q
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.response import Response

from annotation import pairs
from annotation.access import ScopedAPI
from annotation.api.pairs import PairSerializer
from annotation.filters import AnnotationFilter, ItemFilter
from annotation.models import Annotation, Item, Membership, Project, Role


class ItemSerializer(serializers.ModelSerializer):
    class Meta:
        model = Item
        fields = [
            "id",
            "project",
            "external_id",
            "kind",
            "text",
            "source",
            "language",
            "target_group",
            "metadata",
            "overlap",
            "taken",
            "finished",
            "created_at",
        ]
        read_only_fields = fields


class AnnotationSerializer(serializers.ModelSerializer):
    annotator = serializers.CharField(source="annotator.username", read_only=True)

    class Meta:
        model = Annotation
        fields = [
            "id",
            "project",
            "item",
            "kind",
            "assignment",
            "annotator",
            *Annotation.CONTENT,
            "active_seconds",
            "suggestion_shown",
            "revision",
            "created_at",
            "updated_at",
        ]
        read_only_fields = fields

    def to_representation(self, instance: Annotation) -> dict[str, Any]:
        """Only leads learn which item it was and of which kind: an item's id tells when it was made."""
        found = super().to_representation(instance)
        if instance.project_id not in self.context.get("led", set()):
            for name in ("item", "kind"):
                del found[name]
        return found


class ItemViewSet(ScopedAPI, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Texts of the projects one leads. New ones come through imports."""

    queryset = Item.objects.all()
    serializer_class = ItemSerializer
    filterset_class = ItemFilter
    roles = {"*": (Role.LEAD,)}

    @extend_schema(request=None, responses=PairSerializer)
    @action(detail=True, methods=["post"])
    def settle(self, request, pk=None):
        """Make the text's pair before everybody has annotated it; one that exists already is returned."""
        return Response(PairSerializer(pairs.propose_early(self.get_object())).data)


class AnnotationViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Annotations: all of the projects one leads, and one's own where one is a member."""

    queryset = Annotation.objects.all()
    serializer_class = AnnotationSerializer
    filterset_class = AnnotationFilter

    def get_queryset(self):
        if getattr(self, "swagger_fake_view", False):
            return Annotation.objects.none()
        user: Any = self.request.user
        annotations = Annotation.objects.select_related("annotator")
        if user.is_superuser:
            return annotations
        leads = Q(project__in=Membership.objects.filter(user=user, role=Role.LEAD).values("project"))
        if "item" in self.request.query_params:  # by an item's id annotators would learn which one each was
            return annotations.filter(leads)
        own = Q(annotator_id=user.pk, project__in=Membership.objects.filter(user=user).values("project"))
        return annotations.filter(leads | own)

    def get_serializer_context(self) -> dict[str, Any]:
        context = super().get_serializer_context()
        user: Any = self.request and self.request.user
        if user and user.is_authenticated:
            projects = Project.objects.all()
            if not user.is_superuser:
                projects = projects.filter(memberships__user=user, memberships__role=Role.LEAD)
            context["led"] = set(projects.values_list("pk", flat=True))
        return context


def register(router) -> None:
    router.register("items", ItemViewSet, basename="item")
    router.register("annotations", AnnotationViewSet, basename="annotation")
