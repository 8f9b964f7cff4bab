"""Pairs: leads and trainers read them, leads settle them."""

from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.response import Response

from annotation import pairs
from annotation.access import ScopedAPI
from annotation.filters import PairFilter
from annotation.models import Pair, Role


class PairSerializer(serializers.ModelSerializer):
    external_id = serializers.CharField(source="item.external_id", read_only=True)
    text = serializers.CharField(source="item.text", read_only=True)
    settled_by = serializers.CharField(source="settled_by.username", read_only=True, allow_null=True, default=None)

    class Meta:
        model = Pair
        fields = [
            "id",
            "project",
            "item",
            "external_id",
            "text",
            "rewrite",
            "labels",
            "status",
            "disagreement",
            "contested",
            "annotation_count",
            "agreement",
            "written_alike",
            "has_comment",
            "votes",
            "votes_safe",
            "votes_meaning",
            "votes_accepted",
            "sent_back",
            "batch",
            "reason",
            "imported_rewrite",
            "imported_labels",
            "annotations",
            "chosen",
            "settled_by",
            "settled_at",
            "version",
            "created_at",
        ]
        read_only_fields = fields


class VersionSerializer(serializers.Serializer):
    version = serializers.IntegerField(help_text="The pair's version that this decision is based on.")


class ApprovalSerializer(VersionSerializer):
    rewrite = serializers.CharField(allow_blank=True, trim_whitespace=False)
    labels = serializers.DictField(
        child=serializers.CharField(), default=dict, help_text="Dimensions left out stay undecided."
    )
    chosen = serializers.IntegerField(
        required=False,
        allow_null=True,
        help_text="Id of the annotation whose rewrite was taken, edited or not.",
    )


class RejectionSerializer(VersionSerializer):
    reason = serializers.CharField(allow_blank=True)


class SendBackSerializer(VersionSerializer):
    annotation = serializers.IntegerField(help_text="Id of the annotation to look at again.")
    reason = serializers.CharField(allow_blank=True, help_text="What to look at again; the annotator sees it.")


class PairViewSet(ScopedAPI, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Pairs of the projects one leads or trains with. A decision on an outdated version answers 400."""

    queryset = Pair.objects.select_related("item", "settled_by").prefetch_related("annotations")
    serializer_class = PairSerializer
    filterset_class = PairFilter
    roles = {
        "list": (Role.LEAD, Role.TRAINER),
        "retrieve": (Role.LEAD, Role.TRAINER),
        "*": (Role.LEAD,),
    }

    def _decide(self, service, serializer_class) -> Response:
        pair = self.get_object()
        serializer = serializer_class(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        service(pair, self.request.user, **serializer.validated_data)
        return Response(PairSerializer(self.get_object()).data)

    @extend_schema(request=ApprovalSerializer, responses=PairSerializer)
    @action(detail=True, methods=["post"])
    def approve(self, request, pk=None):
        return self._decide(pairs.approve, ApprovalSerializer)

    @extend_schema(request=RejectionSerializer, responses=PairSerializer)
    @action(detail=True, methods=["post"])
    def reject(self, request, pk=None):
        return self._decide(pairs.reject, RejectionSerializer)

    @extend_schema(request=VersionSerializer, responses=PairSerializer)
    @action(detail=True, methods=["post"])
    def reopen(self, request, pk=None):
        return self._decide(pairs.reopen, VersionSerializer)

    @extend_schema(request=VersionSerializer, responses=PairSerializer)
    @action(detail=True, methods=["post"])
    def undo(self, request, pk=None):
        """Take the last decision on it back: all is as it was before."""
        return self._decide(pairs.undo, VersionSerializer)

    @extend_schema(request=SendBackSerializer, responses=PairSerializer)
    @action(detail=True, methods=["post"], url_path="send-back")
    def send_back(self, request, pk=None):
        """Ask one annotator to look at their annotation again."""
        return self._decide(pairs.send_back, SendBackSerializer)


def register(router) -> None:
    router.register("pairs", PairViewSet, basename="pair")
