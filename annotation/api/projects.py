"""Projects with their dimensions and people. Same services and rules as the pages."""

from typing import Any

from django.contrib.auth import get_user_model
from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.response import Response

from annotation import access, groups, projects, validators
from annotation.api.agreement import AgreementActions
from annotation.api.quality import ProjectQuality
from annotation.api.wellbeing import WellbeingActions
from annotation.models import Dimension, Project, Role


class DimensionSerializer(serializers.ModelSerializer):
    key = serializers.SlugField(max_length=40, required=False, help_text="Made from the name when missing.")
    levels = serializers.ListField(child=serializers.CharField(max_length=40), help_text="Ordered, lowest first.")

    class Meta:
        model = Dimension
        fields = ["key", "name", "levels", "scale"]


class ContentKindSerializer(serializers.Serializer):
    name = serializers.CharField(max_length=validators.MAX_KIND_NAME)
    warning = serializers.CharField(max_length=validators.MAX_KIND_WARNING, allow_blank=True, default="")


class ProjectSerializer(serializers.ModelSerializer):
    content_kinds = ContentKindSerializer(
        many=True, required=False, help_text="What may upset in the texts. A kind that texts carry cannot go."
    )
    severe_dimensions = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        help_text="Keys of the dimensions whose highest level makes a text severe.",
    )
    dimensions = DimensionSerializer(
        many=True,
        required=False,
        help_text="The four of both papers when missing. Those left out are removed.",
    )

    class Meta:
        model = Project
        fields = [
            "id",
            "name",
            "guidelines",
            "guidelines_version",
            "content_warning",
            "overlap",
            "lease_minutes",
            "content_kinds",
            "blur_texts",
            "severe_dimensions",
            "pause_after",
            "daily_limit",
            "daily_severe_limit",
            "votes_per_rewrite",
            "voted_rewrites",
            "dimensions",
            "created_at",
        ]
        read_only_fields = ["id", "guidelines_version", "created_at"]

    def create(self, validated_data: dict[str, Any]) -> Project:
        return projects.create(user=self.context["request"].user, **_plain(validated_data))

    def update(self, instance: Project, validated_data: dict[str, Any]) -> Project:
        projects.change(instance, by=self.context["request"].user, **_plain(validated_data))
        return Project.objects.prefetch_related("dimensions").get(pk=instance.pk)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    if "content_kinds" in values:
        values["content_kinds"] = [{"warning": ""} | kind for kind in values["content_kinds"]]
    return values


class MemberSerializer(serializers.Serializer):
    user = serializers.IntegerField(read_only=True, source="user.pk")
    username = serializers.CharField(read_only=True, source="user.username")
    roles = serializers.ListField(child=serializers.ChoiceField(choices=Role.choices), allow_empty=False)
    annotations = serializers.IntegerField(read_only=True)
    invitation = serializers.CharField(
        read_only=True,
        allow_null=True,
        help_text="Link for a new person; only for the lead who invited them.",
    )


class NewMemberSerializer(serializers.Serializer):
    person = serializers.CharField(help_text="Username or e-mail. An e-mail that no account has makes one.")
    roles = serializers.ListField(child=serializers.ChoiceField(choices=Role.choices), allow_empty=False)


class RolesSerializer(serializers.Serializer):
    roles = serializers.ListField(child=serializers.ChoiceField(choices=Role.choices), allow_empty=False)


class NamedGroupSerializer(serializers.Serializer):
    name = serializers.CharField()


ProgressSerializer = inline_serializer(
    "ProjectProgress", {name: serializers.IntegerField(allow_null=name == "complete") for name in projects.NO_PROGRESS}
)
USER = OpenApiParameter("user_id", int, OpenApiParameter.PATH)


class ProjectViewSet(
    ProjectQuality,
    WellbeingActions,
    AgreementActions,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.CreateModelMixin,
    mixins.UpdateModelMixin,
    viewsets.GenericViewSet,
):
    """One's projects. Creating one needs the permission for it; changing one needs to be its lead."""

    queryset = Project.objects.all()
    serializer_class = ProjectSerializer

    def get_queryset(self):
        if getattr(self, "swagger_fake_view", False):
            return Project.objects.none()
        return Project.objects.visible_to(self.request.user).prefetch_related("dimensions")

    def _led(self) -> Project:
        return access.project_for(self.request.user, self.get_object().pk, Role.LEAD)

    def perform_create(self, serializer):
        if not access.may_create_projects(self.request.user):
            raise PermissionDenied("An administrator can give you the permission to create projects.")
        serializer.save()

    def update(self, request, *args, **kwargs):
        self._led()  # before the body is looked at
        return super().update(request, *args, **kwargs)

    @extend_schema(responses=ProgressSerializer)
    @action(detail=True, methods=["get"])
    def progress(self, request, pk=None):
        """How far the project is. Annotators are not told how many texts are complete."""
        project = self.get_object()
        held = access.require(request.user, project.pk, *Role.values)
        progress = projects.progress([project.pk], for_annotators=not held & {Role.LEAD, Role.TRAINER})
        return Response(progress.get(project.pk, projects.NO_PROGRESS))

    @extend_schema(
        parameters=[OpenApiParameter("q", str, description="A part of the name; those that begin with it come first.")],
        responses=NamedGroupSerializer(many=True),
    )
    @action(detail=True, methods=["get"], url_path="target-groups", pagination_class=None, filter_backends=[])
    def target_groups(self, request, pk=None):
        """Target groups that you or at least two annotators have named so far, most used first, at most 50."""
        names = groups.named(self.get_object(), request.user, request.query_params.get("q", ""))
        return Response([{"name": name} for name in names])

    def _members(self, project: Project) -> list[dict[str, Any]]:
        rows = projects.people(project)
        for row in rows:
            path = projects.invitation_path(row["user"], self.request.user)
            row["invitation"] = self.request.build_absolute_uri(path) if path else None
        return rows

    def _member(self, project: Project, user) -> Response:
        found = next(row for row in self._members(project) if row["user"].pk == user.pk)
        return Response(MemberSerializer(found).data)

    @extend_schema(methods=["get"], responses=MemberSerializer(many=True))
    @extend_schema(methods=["post"], request=NewMemberSerializer, responses={201: MemberSerializer})
    @action(detail=True, methods=["get", "post"], pagination_class=None, filter_backends=[])
    def members(self, request, pk=None):
        """Everybody in the project, for its leads; post to add somebody."""
        project = self._led()
        if request.method == "GET":
            return Response(MemberSerializer(self._members(project), many=True).data)
        serializer = NewMemberSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        user = projects.add_member(project, **serializer.validated_data, invited_by=request.user)
        response = self._member(project, user)
        response.status_code = 201
        return response

    @extend_schema(methods=["put"], parameters=[USER], request=RolesSerializer, responses=MemberSerializer)
    @extend_schema(methods=["delete"], parameters=[USER], request=None, responses={204: None})
    @action(detail=True, methods=["put", "delete"], url_path=r"members/(?P<user_id>\d{1,18})")
    def member(self, request, pk=None, user_id=None):
        """Replace somebody's roles, or remove them. The last lead stays."""
        project = self._led()
        user = get_user_model().objects.filter(pk=user_id, memberships__project=project).first()
        if user is None:
            raise Http404
        if request.method == "DELETE":
            projects.remove_member(project, user, request.user)
            return Response(status=204)
        serializer = RolesSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        projects.set_roles(project, user, serializer.validated_data["roles"], request.user)
        return self._member(project, user)


def register(router) -> None:
    router.register("projects", ProjectViewSet, basename="project")
