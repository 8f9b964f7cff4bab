"""REST routes of power analyses. Same services and rules as the page."""

from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.response import Response

from annotation import access
from annotation.access import ScopedAPI
from annotation.models import Role
from evaluation import planning
from evaluation.models import PowerAnalysis, Study

READERS = (Role.LEAD, Role.TRAINER)


class PowerAnalysisSerializer(serializers.ModelSerializer):
    parameters = serializers.JSONField(read_only=True)
    results = serializers.JSONField(read_only=True)

    class Meta:
        model = PowerAnalysis
        fields = [
            *("id", "project", "study", "parameters", "results", "status", "done", "total", "message", "error"),
            *("created_at", "started_at", "ended_at"),
        ]
        read_only_fields = fields


class PowerAnalysisWriteSerializer(serializers.Serializer):
    """What is left out is taken from the study's plan."""

    study = serializers.IntegerField()
    criterion = serializers.CharField(required=False, help_text="Key of one of the study's criteria.")
    goal = serializers.ChoiceField(list(planning.GOALS), required=False)
    difference = serializers.FloatField(required=False, help_text="To be found, in levels.")
    margin = serializers.FloatField(required=False, help_text="Of non-inferiority, in levels.")
    pilot = serializers.IntegerField(
        required=False,
        allow_null=True,
        help_text="Id of a criterion of a closed study, for distribution and spread in place of the values here.",
    )
    shares = serializers.ListField(
        child=serializers.FloatField(), required=False, help_text="Of the reference's levels, worst first, in percent."
    )
    sd_item = serializers.FloatField(required=False)
    sd_item_system = serializers.FloatField(required=False)
    sd_reviewer = serializers.FloatField(required=False)
    sd_reviewer_system = serializers.FloatField(required=False)
    alpha = serializers.FloatField(required=False)
    tests = serializers.IntegerField(required=False, help_text="Planned tests, over criteria and systems.")
    target = serializers.FloatField(required=False, help_text="The power wanted, from 0 to 1.")
    reviewers = serializers.IntegerField(required=False)
    items = serializers.ListField(child=serializers.IntegerField(), required=False, max_length=100)
    ratings_per_output = serializers.ListField(child=serializers.IntegerField(), required=False, max_length=100)
    seed = serializers.IntegerField(required=False, min_value=0, max_value=2**31 - 1)


class PowerAnalysisViewSet(ScopedAPI, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """What difference a planned study would find with what certainty: made by leads, of drafts, by a worker."""

    queryset = PowerAnalysis.objects.all()
    serializer_class = PowerAnalysisSerializer
    filterset_fields = ["project", "study", "status"]
    roles = {"list": READERS, "retrieve": READERS, "*": (Role.LEAD,)}

    @extend_schema(request=PowerAnalysisWriteSerializer, responses={201: PowerAnalysisSerializer})
    def create(self, request):
        serializer = PowerAnalysisWriteSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        values = dict(serializer.validated_data)
        study = access.object_for(request.user, Study.objects.all(), values.pop("study"), Role.LEAD)
        return Response(PowerAnalysisSerializer(planning.request(study, request.user, **values)).data, status=201)

    @extend_schema(request=None, responses=PowerAnalysisSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request, pk=None):
        job = self.get_object()
        job.request_cancel()
        return Response(PowerAnalysisSerializer(job).data)
