"""The API of links for reviewers without an account. Its address is in the answer that makes it, once."""

import django_filters
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.response import Response

from annotation import access
from annotation.access import ScopedAPI
from annotation.filters import ProjectFilterSet
from annotation.models import Role
from evaluation import guests
from evaluation.models import GuestLink, GuestState, Study


class GuestLinkSerializer(serializers.ModelSerializer):
    study = serializers.IntegerField(source="membership.study_id")
    user = serializers.CharField(source="membership.user.username", help_text="As in ratings and progress.")
    state = serializers.ChoiceField(choices=GuestState.choices)

    class Meta:
        model = GuestLink
        fields = [
            *("id", "project", "study", "number", "user", "label", "state", "expires_at", "first_used_at"),
            *("last_used_at", "created_at"),
        ]
        read_only_fields = fields


class NewGuestLinkSerializer(GuestLinkSerializer):
    link = serializers.CharField(help_text="The address to send. It is shown in this answer only.")

    class Meta(GuestLinkSerializer.Meta):
        fields = [*GuestLinkSerializer.Meta.fields, "link"]
        read_only_fields = fields


class GuestLinkWriteSerializer(serializers.Serializer):
    study = serializers.IntegerField()
    label = serializers.CharField(  # type: ignore[assignment]
        default="", allow_blank=True, max_length=guests.MAX_LABEL_LENGTH
    )
    count = serializers.IntegerField(default=1, min_value=1, max_value=guests.MAX_AT_ONCE)
    days = serializers.IntegerField(default=guests.DEFAULT_DAYS, min_value=1, max_value=guests.MAX_DAYS)


class GuestDaysSerializer(serializers.Serializer):
    days = serializers.IntegerField(min_value=1, max_value=guests.MAX_DAYS, help_text="From now.")


class GuestRenewSerializer(serializers.Serializer):
    days = serializers.IntegerField(
        min_value=1, max_value=guests.MAX_DAYS, required=False, help_text="From now; without it the end stays."
    )


class GuestRevokeSerializer(serializers.Serializer):
    reason = serializers.CharField(default="", allow_blank=True, help_text="Needed while the study runs.")


class GuestLinkFilter(ProjectFilterSet):
    study = django_filters.NumberFilter(field_name="membership__study_id", label="Study")


class GuestLinkViewSet(ScopedAPI, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Reviewers without an account, by links that expire. Made before a study starts; for the project's leads."""

    queryset = GuestLink.objects.select_related("membership__study", "membership__user")
    serializer_class = GuestLinkSerializer
    filterset_class = GuestLinkFilter
    roles = {"*": (Role.LEAD,)}

    def _valid(self, kind: type[serializers.Serializer]) -> dict:
        serializer = kind(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data

    def _new(self, made: list[guests.NewLink]) -> list[dict]:
        rows = []
        for new in made:
            path = reverse("evaluation:review", args=[new.token])
            link = {"link": self.request.build_absolute_uri(path)}
            rows.append(GuestLinkSerializer(new.link).data | link)
        return rows

    @extend_schema(request=GuestLinkWriteSerializer, responses={201: NewGuestLinkSerializer(many=True)}, filters=False)
    def create(self, request):
        values = self._valid(GuestLinkWriteSerializer)
        study = access.object_for(request.user, Study.objects.all(), values.pop("study"), Role.LEAD)
        return Response(self._new(guests.create(study, request.user, **values)), status=201)

    @extend_schema(request=GuestRenewSerializer, responses=NewGuestLinkSerializer)
    @action(detail=True, methods=["post"])
    def renew(self, request, pk=None):
        """A new link in place of the old one, which ends with all sessions that it started."""
        link = self.get_object()
        return Response(self._new([guests.renew(link, request.user, **self._valid(GuestRenewSerializer))])[0])

    @extend_schema(request=GuestDaysSerializer, responses=GuestLinkSerializer)
    @action(detail=True, methods=["post"])
    def extend(self, request, pk=None):
        """Let the link hold longer, or again."""
        link = self.get_object()
        return Response(self.get_serializer(guests.extend(link, request.user, **self._valid(GuestDaysSerializer))).data)

    @extend_schema(request=GuestRevokeSerializer, responses={204: None})
    @action(detail=True, methods=["post"])
    def revoke(self, request, pk=None):
        """End the link for good; while the study runs this takes its reviewer off, as an amendment."""
        guests.revoke(self.get_object(), request.user, **self._valid(GuestRevokeSerializer))
        return Response(status=204)
