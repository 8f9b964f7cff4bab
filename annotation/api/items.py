"""Texts and annotations. Leads see all of their projects; annotators their own annotations."""

from typing import Any

from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.response import Response

from annotation import access, pairs, queueing
from annotation.access import ScopedAPI
from annotation.api.pairs import PairSerializer
from annotation.filters import AnnotationFilter, ItemFilter
from annotation.models import Annotation, Item, Membership, Project, Role


class ItemSerializer(serializers.ModelSerializer):
    reserved_for = serializers.SerializerMethodField(help_text="Usernames; empty for everybody.")

    def get_reserved_for(self, item: Item) -> list[str]:
        return sorted(reservation.user.get_username() for reservation in item.reservations.all())

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
            "content_kinds",
            "priority",
            "retired_at",
            "reserved_for",
            "settled",
            "extra",
            "overlap",
            "taken",
            "finished",
            "created_at",
        ]
        read_only_fields = fields


class DecisionSerializer(serializers.Serializer):
    """What a lead decides; what each decision needs is checked by annotation.queueing, as for the page."""

    decision = serializers.ChoiceField(choices=[(name, title) for name, (title, _) in queueing.DECISIONS.items()])
    priority = serializers.IntegerField(required=False, help_text="For priority: -100 to 100.")
    more = serializers.IntegerField(required=False, help_text="For more: how many annotators beyond those now.")
    people = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="For reserve: usernames of annotators."
    )
    content_kinds = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="For add_kinds and remove_kinds."
    )


class ManyDecisionSerializer(DecisionSerializer):
    project = serializers.IntegerField()
    items = serializers.ListField(child=serializers.IntegerField(), required=False, help_text="Ids of texts.")
    filter = serializers.DictField(
        required=False, help_text="Instead of items: the parameters of the list; {} for every text of the project."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("items" in attrs) == ("filter" in attrs):
            raise serializers.ValidationError({"items": "Give either items or a filter."})
        return attrs


class OutcomeSerializer(serializers.Serializer):
    changed = serializers.IntegerField()
    left = serializers.DictField(child=serializers.IntegerField(), help_text="Texts left alone, by the reason.")
    notes = serializers.ListField(child=serializers.CharField())


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

    queryset = Item.objects.prefetch_related("reservations__user")
    serializer_class = ItemSerializer
    filterset_class = ItemFilter
    roles = {"*": (Role.LEAD,)}

    @extend_schema(request=None, responses=PairSerializer)
    @action(detail=True, methods=["post"])
    def settle(self, request, pk=None):
        """Make the text's pair before everybody has annotated it; one that exists already is returned."""
        return Response(PairSerializer(pairs.propose_early(self.get_object())).data)

    @extend_schema(request=DecisionSerializer, responses=ItemSerializer)
    @action(detail=True, methods=["post"])
    def decide(self, request, pk=None):
        """Set one text's priority, retire it, keep it for people, and so on."""
        item = self.get_object()
        values = self._values(DecisionSerializer)
        decision = values.pop("decision")
        chosen = queueing.chosen(item.project, [item.pk], decision)
        queueing.decide(item.project, request.user, chosen, decision, values)
        return Response(ItemSerializer(self.get_object()).data)

    @extend_schema(request=ManyDecisionSerializer, responses=OutcomeSerializer, filters=False)
    @action(detail=False, methods=["post"], url_path="decide-many", url_name="decide-many")
    def decide_many(self, request):
        """The same about many texts: those given, or all that a filter of the list finds. All of it or nothing."""
        values = self._values(ManyDecisionSerializer)
        project = access.project_for(request.user, values.pop("project"), Role.LEAD)
        if "items" in values:
            chosen = queueing.chosen(project, values.pop("items"), values["decision"])
        else:
            chosen = self._filtered(queueing.work_items(project), values.pop("filter"))
        outcome = queueing.decide(project, request.user, chosen, values.pop("decision"), values)
        return Response({"changed": outcome.changed, "left": outcome.left, "notes": outcome.notes})

    def _values(self, serializer_class) -> dict[str, Any]:
        serializer = serializer_class(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def _filtered(self, items: QuerySet[Item], given: dict[str, Any]) -> QuerySet[Item]:
        if unknown := set(given) - set(ItemFilter.base_filters):
            raise serializers.ValidationError({"filter": f"There is no filter {sorted(unknown)[0]!r}."})
        found = ItemFilter(given, items)
        if not found.is_valid():
            raise serializers.ValidationError({"filter": found.errors})
        return found.qs


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
        context = dict(super().get_serializer_context())
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
