"""Judges through the API: the same services, rules and roles as the pages."""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.response import Response

from annotation import access
from annotation.access import ScopedAPI
from annotation.models import Endpoint, Role
from evaluation import judging, studies
from evaluation.models import Judge, JudgeAnswer, Study
from evaluation.systems import usable_endpoints

READERS = (Role.LEAD, Role.TRAINER)
JOB_FIELDS = ["status", "done", "total", "message", "error", "created_at", "started_at", "ended_at"]


class JudgeSerializer(serializers.ModelSerializer):
    spent = serializers.SerializerMethodField()

    class Meta:
        model = Judge
        fields = [
            *("id", "project", "study", "endpoint", "endpoint_name", "model", "prompt_version", "prompt_template"),
            *("parameters", "seed", "swap", "by_schema", "max_tokens", "rate_per_minute", "budget", "budget_tokens"),
            *("failed", "spent", *JOB_FIELDS),
        ]
        read_only_fields = fields

    @extend_schema_field(
        {
            "type": "object",
            "properties": {
                "money": {"type": "string"},
                "currency": {"type": "string"},
                "tokens": {"type": "integer"},
            },
        }
    )
    def get_spent(self, judge) -> dict[str, Any]:
        listed = hasattr(judge, "spent_money")
        money, tokens = (judge.spent_money, judge.spent_tokens) if listed else judging.spent(judge)
        return {"money": str(money), "currency": settings.CURRENCY, "tokens": tokens}


class JudgeLimitsSerializer(serializers.Serializer):
    rate_per_minute = serializers.IntegerField(required=False, min_value=1, max_value=100_000)
    budget = serializers.DecimalField(16, 8, required=False, allow_null=True, min_value=0)
    budget_tokens = serializers.IntegerField(required=False, allow_null=True, min_value=0, max_value=2**62)


class JudgeWriteSerializer(JudgeLimitsSerializer):
    study = serializers.IntegerField()
    endpoint = serializers.IntegerField()
    prompt_template = serializers.CharField(
        allow_blank=True, trim_whitespace=False, default="", help_text="Empty: the usual prompt."
    )
    temperature = serializers.FloatField(required=False, allow_null=True)
    seed = serializers.IntegerField(default=1, min_value=0, max_value=2**31 - 1)
    swap = serializers.BooleanField(default=True, help_text="Ask about each page a second time, in reversed order.")
    by_schema = serializers.BooleanField(default=True, help_text="Have the server force the answer's form.")
    max_tokens = serializers.IntegerField(default=1_000, min_value=1, max_value=Judge.MAX_TOKENS)


class JudgeEstimateSerializer(serializers.Serializer):
    pages = serializers.IntegerField()
    questions = serializers.IntegerField()
    tokens = serializers.IntegerField(help_text="About.")
    cost = serializers.DecimalField(16, 8)
    most_tokens = serializers.IntegerField()
    most_cost = serializers.DecimalField(16, 8)


class JudgeFailuresSerializer(serializers.Serializer):
    status = serializers.CharField()
    problem = serializers.CharField()
    count = serializers.IntegerField()


class JudgeAnswerSerializer(serializers.ModelSerializer):
    external_id = serializers.CharField(source="page.item.external_id", read_only=True)

    class Meta:
        model = JudgeAnswer
        fields = [
            *("id", "external_id", "page", "swapped", "shown", "content", "reason", "answer", "problem", "attempts"),
            *("model", "input_tokens", "output_tokens", "charged_tokens", "cost", "seconds", "answered_at"),
        ]
        read_only_fields = fields


class JudgeViewSet(ScopedAPI, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """LLM judges of studies: started, stopped and continued by leads and trainers. What they found is part of the
    study's report; nothing of it can be read before the study is closed.
    """

    queryset = Judge.objects.select_related("study", "endpoint")
    serializer_class = JudgeSerializer
    filterset_fields = ["project", "study", "status"]
    roles = {"*": READERS}

    def get_queryset(self):
        judges = super().get_queryset()
        return judging.with_spent(judges) if self.action == "list" else judges

    def _asked(self) -> tuple[Study, dict[str, Any]]:
        serializer = JudgeWriteSerializer(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        values = dict(serializer.validated_data)
        study = access.object_for(self.request.user, Study.objects.all(), values.pop("study"), *READERS)
        endpoint: Endpoint | None = usable_endpoints().filter(pk=values["endpoint"]).first()
        if endpoint is None:
            raise ValidationError({"endpoint": "Choose one of the endpoints that an administrator offers."})
        return study, values | {"endpoint": endpoint}

    @extend_schema(request=JudgeWriteSerializer, responses={201: JudgeSerializer})
    def create(self, request):
        """Have a model judge the pages of a study that has started."""
        study, values = self._asked()
        return Response(JudgeSerializer(judging.create(study, request.user, **values)).data, status=201)

    @extend_schema(request=JudgeWriteSerializer, responses=JudgeEstimateSerializer)
    @action(detail=False, methods=["post"])
    def estimate(self, request):
        """What such a judge would be asked and would cost. Nothing is stored or sent."""
        study, values = self._asked()
        if study.is_draft:
            raise ValidationError("Start the study first: until then there are no pages to judge.")
        chosen = {name: values[name] for name in ("swap", "max_tokens")}
        if values["prompt_template"].strip():
            chosen["template"] = values["prompt_template"]
        found = judging.estimate(study, values["endpoint"], **chosen)
        return Response(JudgeEstimateSerializer(found).data)

    @extend_schema(request=None, responses=JudgeSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request, pk=None):
        return Response(JudgeSerializer(judging.cancel(self.get_object())).data)

    @extend_schema(request=JudgeLimitsSerializer, responses=JudgeSerializer)
    @action(detail=True, methods=["post"], url_path="go-on")
    def go_on(self, request, pk=None):
        """Ask on where it stopped, within new limits if any are given."""
        judge = self.get_object()
        serializer = JudgeLimitsSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        return Response(JudgeSerializer(judging.go_on(judge, **serializer.validated_data)).data)

    @extend_schema(responses=JudgeFailuresSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None, filter_backends=[])
    def failures(self, request, pk=None):
        """Why questions have no usable answer, the most frequent first."""
        return Response(JudgeFailuresSerializer(judging.failures(self.get_object()), many=True).data)

    @extend_schema(responses=JudgeAnswerSerializer(many=True), filters=False)
    @action(detail=True, filter_backends=[])
    def answers(self, request, pk=None):
        """Every answer, usable or not, of a closed study. 400 before."""
        judge = self.get_object()
        studies.check_results(request.user, judge.study)
        page = self.paginate_queryset(judging.answers(judge))
        return self.get_paginated_response(JudgeAnswerSerializer(page, many=True).data)


def register(router) -> None:
    router.register("judges", JudgeViewSet, basename="judge")
