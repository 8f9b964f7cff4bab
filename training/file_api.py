"""Files and publications of runs through the API: the same services, rules and roles as the pages."""

from collections.abc import Callable
from typing import Any, TypeVar

from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.response import Response

from annotation import access
from annotation.models import Role
from training import artifacts, publishing
from training.models import Publication, PublicationPlace, PublicationWhat, Run

T = TypeVar("T")


class Unavailable(exceptions.APIException):
    status_code = 503
    default_code = "unavailable"


def reachable(answer: Callable[..., T], *values: Any) -> T:
    """The answer; 503 with the reason while the artifacts bucket is away."""
    try:
        return answer(*values)
    except artifacts.Unreachable as error:
        raise Unavailable(str(error)) from error


class PublicationSerializer(serializers.ModelSerializer):
    created_by = serializers.CharField(source="created_by.username", read_only=True)

    class Meta:
        model = Publication
        fields = [
            "id", "project", "run", "run_name", "what", "place", "target", "public", "url", "status", "done", "total",
            "message", "error", "created_by", "created_at", "started_at", "ended_at",
        ]  # fmt: skip
        read_only_fields = fields


class NewPublicationSerializer(serializers.Serializer):
    run = serializers.IntegerField()
    what = serializers.ChoiceField(PublicationWhat.choices, default=PublicationWhat.ADAPTER)
    place = serializers.ChoiceField(PublicationPlace.choices)
    target = serializers.CharField(max_length=500)
    public = serializers.BooleanField(default=False)


class PublicationViewSet(access.ScopedAPI, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Copies of runs' models in folders or on the Hugging Face Hub. They stay when the run is deleted."""

    queryset = Publication.objects.select_related("created_by")
    serializer_class = PublicationSerializer
    filterset_fields = ["project", "run", "status", "place"]
    roles = {"*": (Role.LEAD, Role.TRAINER), "cancel": (Role.TRAINER,)}

    @extend_schema(request=NewPublicationSerializer, responses={201: PublicationSerializer})
    def create(self, request):
        serializer = NewPublicationSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        values = serializer.validated_data
        run = access.object_for(request.user, Run.objects.all(), values.pop("run"), Role.TRAINER)
        publication = publishing.publish(run, request.user, **values)
        return Response(PublicationSerializer(publication).data, status=201)

    @extend_schema(request=None, responses=PublicationSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request, pk=None):
        """Stop it. Nothing half-written stays."""
        publication = self.get_object()
        publication.request_cancel()
        return Response(PublicationSerializer(publication).data)


def register(router) -> None:
    router.register("publications", PublicationViewSet, basename="publication")
