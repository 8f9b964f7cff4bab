"""What annotators choose for themselves, their pauses, and what people have read. Same rules as the pages."""

from dataclasses import asdict
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.response import Response

from annotation import access, wellbeing
from annotation.models import AnnotatorChoices, Pause, Project, Role
from annotation.wellbeing import Exposure


class ChoicesSerializer(serializers.ModelSerializer):
    declined_kinds = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="Kinds of content that are never handed to you."
    )
    daily_limit = serializers.IntegerField(required=False, help_text="Your own limit of texts a day; 0 for none.")
    finished_today = serializers.SerializerMethodField(help_text="Texts that you annotated today.")
    read_today = serializers.SerializerMethodField(
        help_text="Texts that you read today, annotating, voting and in practice; what the limit is about."
    )
    limit = serializers.SerializerMethodField(help_text="What holds: the project's limit or your lower one; 0: none.")

    class Meta:
        model = AnnotatorChoices
        fields = ["project", "declined_kinds", "daily_limit", "limit", "finished_today", "read_today"]
        read_only_fields = ["project"]

    def get_finished_today(self, choices: AnnotatorChoices) -> int:
        return wellbeing.finished_today(choices.annotator, choices.project)

    def get_read_today(self, choices: AnnotatorChoices) -> int:
        return wellbeing.read_today(choices.annotator, choices.project)

    def get_limit(self, choices: AnnotatorChoices) -> int:
        return wellbeing.daily_limit(choices.project, choices)


class PauseSerializer(serializers.ModelSerializer):
    class Meta:
        model = Pause
        fields = ["project", "started_at", "ended_at"]
        read_only_fields = fields


class FigureSerializer(serializers.Serializer):
    today = serializers.IntegerField()
    week = serializers.IntegerField(help_text="Today and the six days before.")
    month = serializers.IntegerField(help_text="Today and the 29 days before.")
    total = serializers.IntegerField()


class HighestSerializer(serializers.Serializer):
    dimension = serializers.CharField(help_text="The dimension's key.")
    level = serializers.CharField()
    texts = FigureSerializer()


class ReadSerializer(serializers.Serializer):
    texts = FigureSerializer(help_text="Annotated texts.")
    voted = FigureSerializer(help_text="Texts read in voting, each once, however many rewrites of it.")
    practised = FigureSerializer(help_text="Texts read in practice.")
    severe = FigureSerializer(help_text="Annotated texts that the reader labelled as severe.")
    active_seconds = FigureSerializer(help_text="Annotating and in practice; voting is not timed.")


class ExposureSerializer(ReadSerializer):
    pauses = FigureSerializer()
    content_kinds = serializers.DictField(child=FigureSerializer(), help_text="Of all texts that were read.")
    highest_levels = HighestSerializer(many=True)


class OwnExposureSerializer(ExposureSerializer):
    project = serializers.IntegerField()


class PersonExposureSerializer(ReadSerializer):
    username = serializers.CharField()


class DeclinedSerializer(serializers.Serializer):
    name = serializers.CharField()
    declined = serializers.IntegerField(help_text="How many annotators; never who.")


class ProjectExposureSerializer(serializers.Serializer):
    together = ExposureSerializer()
    people = PersonExposureSerializer(many=True, help_text="By name.")
    declined = DeclinedSerializer(many=True)


def _shown(exposure: Exposure) -> dict[str, Any]:
    return {
        "texts": asdict(exposure.texts),
        "voted": asdict(exposure.voted),
        "practised": asdict(exposure.practised),
        "severe": asdict(exposure.severe),
        "active_seconds": asdict(exposure.seconds),
        "pauses": asdict(exposure.pauses),
        "content_kinds": {kind: asdict(figure) for kind, figure in exposure.kinds.items()},
        "highest_levels": [
            {"dimension": key, "level": level, "texts": asdict(figure)}
            for key, (_, level, figure) in exposure.highest.items()
        ],
    }


class WellbeingActions:
    """Routes below a project: one's own choices and pauses, and for leads what people have read."""

    def _annotated(self) -> Project:
        project = self.get_object()  # type: ignore[attr-defined]
        return access.project_for(self.request.user, project.pk, Role.ANNOTATOR)  # type: ignore[attr-defined]

    @extend_schema(methods=["get"], responses=ChoicesSerializer)
    @extend_schema(methods=["patch"], request=ChoicesSerializer, responses=ChoicesSerializer)
    @action(detail=True, methods=["get", "patch"])
    def wellbeing(self, request, pk=None):
        """What you choose in this project. Nobody else sees it; leads see how many declined a kind."""
        project = self._annotated()
        if request.method == "GET":
            return Response(ChoicesSerializer(wellbeing.choices_of(request.user, project)).data)
        serializer = ChoicesSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        return Response(ChoicesSerializer(wellbeing.choose(request.user, project, **serializer.validated_data)).data)

    @extend_schema(methods=["post"], request=None, responses=PauseSerializer)
    @extend_schema(methods=["delete"], request=None, responses={204: None})
    @action(detail=True, methods=["post", "delete"])
    def pause(self, request, pk=None):
        """Post to begin a pause, delete to end it."""
        project = self._annotated()
        if request.method == "DELETE":
            wellbeing.end_pause(request.user, project)
            return Response(status=204)
        return Response(PauseSerializer(wellbeing.begin_pause(request.user, project)).data)

    @extend_schema(responses=ProjectExposureSerializer)
    @action(detail=True, methods=["get"])
    def exposure(self, request, pk=None):
        """What the project's annotators have read, together and by name. For leads, to protect people."""
        project = access.project_for(request.user, self.get_object().pk, Role.LEAD)  # type: ignore[attr-defined]
        together, people = wellbeing.project_exposure(project)
        by_name = [
            {"username": person.get_username()}
            | {name: value for name, value in _shown(read).items() if name in ReadSerializer._declared_fields}
            for person, read in people
        ]
        return Response(
            {"together": _shown(together), "people": by_name, "declined": wellbeing.declined_counts(project)}
        )


class OwnExposureViewSet(viewsets.ViewSet):
    """What you have read, project by project. Only yours."""

    @extend_schema(responses=OwnExposureSerializer(many=True))
    def list(self, request):
        rows = wellbeing.own_exposure(request.user)
        return Response({"results": [{"project": project.pk} | _shown(exposure) for project, exposure in rows]})


def register(router) -> None:
    router.register("exposure", OwnExposureViewSet, basename="exposure")
