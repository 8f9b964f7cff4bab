"""The log of a project and the versions of its guidelines."""

from rest_framework import mixins, serializers, viewsets

from annotation.access import ScopedAPI
from annotation.filters import EventFilter, GuidelinesFilter
from annotation.models import Event, GuidelinesVersion, Role


class EventSerializer(serializers.ModelSerializer):
    actor = serializers.CharField(source="actor.username", read_only=True, default=None, allow_null=True)

    class Meta:
        model = Event
        fields = ["id", "project", "at", "actor", "action", "item", "subject", "before", "after"]
        read_only_fields = fields


class GuidelinesSerializer(serializers.ModelSerializer):
    created_by = serializers.CharField(source="created_by.username", read_only=True)

    class Meta:
        model = GuidelinesVersion
        fields = ["id", "project", "number", "text", "created_by", "created_at"]
        read_only_fields = fields


class EventViewSet(ScopedAPI, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Who did what in the projects one leads."""

    queryset = Event.objects.select_related("actor")
    serializer_class = EventSerializer
    filterset_class = EventFilter
    roles = {"*": (Role.LEAD,)}


class GuidelinesViewSet(ScopedAPI, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Every version of the guidelines of one's projects."""

    queryset = GuidelinesVersion.objects.select_related("created_by")
    serializer_class = GuidelinesSerializer
    filterset_class = GuidelinesFilter


def register(router) -> None:
    router.register("events", EventViewSet, basename="event")
    router.register("guidelines", GuidelinesViewSet, basename="guidelines")
