"""Approval rules, batches of decisions, and what was sent back. Same services and rules as the pages."""

from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.response import Response

from annotation import access, batches, pairs, rules
from annotation.access import ScopedAPI
from annotation.api.jobs import STATE
from annotation.filters import BatchFilter, PairRefreshFilter
from annotation.models import ApprovalRule, Batch, BatchAction, PairRefresh, Role, SendBack


class RuleSerializer(serializers.ModelSerializer):
    words = serializers.SerializerMethodField(help_text="The rule as a sentence.")
    dimensions = serializers.ListField(
        child=serializers.CharField(max_length=40), required=False, help_text="Keys of the dimensions."
    )

    class Meta:
        model = ApprovalRule
        fields = ["project", *ApprovalRule.CONDITIONS, "words", "updated_at"]
        read_only_fields = ["project", "updated_at"]

    def get_words(self, rule: ApprovalRule) -> str:
        return rules.words(rule)


class PreviewSerializer(serializers.Serializer):
    words = serializers.CharField()
    proposed = serializers.IntegerField(help_text="Pairs that are proposed.")
    matching = serializers.IntegerField(help_text="Pairs that the rule would approve.")
    left_out = serializers.DictField(
        child=serializers.IntegerField(), help_text="Condition -> how many pairs do not meet it; one may miss several."
    )
    sample = serializers.ListField(child=serializers.IntegerField(), help_text="Ids, the most contested first.")


PROJECT = OpenApiParameter("id", int, OpenApiParameter.PATH, description="The project.")


class RuleViewSet(viewsets.GenericViewSet):
    """The approval rule of a project. `preview` says what the stored rule, or one that is sent, would approve now."""

    queryset = ApprovalRule.objects.all()
    serializer_class = RuleSerializer
    lookup_value_regex = r"\d{1,18}"

    def _project(self, *roles: str):
        return access.project_for(self.request.user, int(self.kwargs["pk"]), *roles)

    def _values(self) -> dict:
        serializer = RuleSerializer(data=self.request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data

    @extend_schema(parameters=[PROJECT])
    def retrieve(self, request, pk=None):
        return Response(RuleSerializer(rules.rule_of(self._project(Role.LEAD, Role.TRAINER))).data)

    @extend_schema(parameters=[PROJECT])
    def update(self, request, pk=None):
        """Write it; conditions that are not sent stay."""
        project = self._project(Role.LEAD)
        return Response(RuleSerializer(rules.save(project, request.user, self._values())).data)

    @extend_schema(parameters=[PROJECT], request=RuleSerializer, responses=PreviewSerializer)
    @action(detail=True, methods=["post"])
    def preview(self, request, pk=None):
        project = self._project(Role.LEAD)
        rule = rules.check(project, self._values())
        seen = rules.preview(rule)
        return Response(
            {
                "words": rules.words(rule),
                "proposed": seen.proposed,
                "matching": seen.matching,
                "left_out": dict(seen.left_out),
                "sample": [pair.pk for pair in seen.sample],
            }
        )


class BatchSerializer(serializers.ModelSerializer):
    class Meta:
        model = Batch
        fields = [*STATE, "action", "rule", "words", "reason", "undoes", "changed", "left_out"]
        read_only_fields = fields


class NewBatchSerializer(serializers.Serializer):
    project = serializers.IntegerField()
    action = serializers.ChoiceField(
        choices=[BatchAction.RULE, BatchAction.APPROVE, BatchAction.REJECT],
        help_text="rule: approve under the project's rule. approve, reject: the pairs named.",
    )
    pairs = serializers.ListField(
        child=serializers.ListField(child=serializers.IntegerField(), min_length=2, max_length=2),
        required=False,
        default=list,
        help_text="[id, version] each; pairs that changed since are left alone.",
    )
    reason = serializers.CharField(required=False, allow_blank=True, default="", help_text="Why they are rejected.")


class BatchViewSet(ScopedAPI, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Many pairs decided at once. A small batch has ended when the answer comes; else ask for it again."""

    queryset = Batch.objects.select_related("project")
    serializer_class = BatchSerializer
    filterset_class = BatchFilter
    roles = {
        "list": (Role.LEAD, Role.TRAINER),
        "retrieve": (Role.LEAD, Role.TRAINER),
        "*": (Role.LEAD,),
    }

    @extend_schema(request=NewBatchSerializer, responses={201: BatchSerializer})
    def create(self, request):
        serializer = NewBatchSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        values = serializer.validated_data
        project = access.project_for(request.user, values["project"], Role.LEAD)
        if values["action"] == BatchAction.RULE:
            batch = batches.approve_by_rule(project, request.user, rules.rule_of(project))
        else:
            chosen, reason = values["pairs"], values["reason"]
            batch = batches.decide(project, request.user, action=values["action"], chosen=chosen, reason=reason)
        return Response(BatchSerializer(batch).data, status=201)

    @extend_schema(request=None, responses=BatchSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request, pk=None):
        """Stop it. What it decided stays, and can be undone."""
        batch = self.get_object()
        batch.request_cancel()
        return Response(BatchSerializer(batch).data)

    @extend_schema(request=None, responses={201: BatchSerializer})
    @action(detail=True, methods=["post"])
    def undo(self, request, pk=None):
        """Bring back every pair that nobody has changed since, as another batch."""
        return Response(BatchSerializer(batches.undo(self.get_object(), request.user)).data, status=201)


class PairRefreshSerializer(serializers.ModelSerializer):
    class Meta:
        model = PairRefresh
        fields = [*STATE, "proposed"]
        read_only_fields = fields


class PairRefreshViewSet(ScopedAPI, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Jobs that bring pairs in line with a project's settings, after these were changed."""

    queryset = PairRefresh.objects.all()
    serializer_class = PairRefreshSerializer
    filterset_class = PairRefreshFilter
    roles = {"*": (Role.LEAD, Role.TRAINER)}


class OwnSendBackSerializer(serializers.ModelSerializer):
    text = serializers.CharField(source="annotation.item.text", read_only=True)
    assignment = serializers.IntegerField(source="annotation.assignment_id", read_only=True)

    class Meta:
        model = SendBack
        fields = ["id", "project", "annotation", "assignment", "text", "reason", "created_at"]
        read_only_fields = fields


class KeepSerializer(serializers.Serializer):
    answer = serializers.CharField(allow_blank=True, help_text="Why it should stay as it is.")


class SendBackViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """What was sent back to oneself and waits for an answer: revise the assignment, or keep it and say why."""

    queryset = SendBack.objects.all()
    serializer_class = OwnSendBackSerializer
    filterset_fields = ["project"]

    def get_queryset(self):
        if getattr(self, "swagger_fake_view", False):
            return SendBack.objects.none()
        return pairs.waiting(self.request.user)

    @extend_schema(request=KeepSerializer, responses={204: None})
    @action(detail=True, methods=["post"])
    def keep(self, request, pk=None):
        sent = self.get_object()
        serializer = KeepSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            pairs.keep(request.user, sent.pk, serializer.validated_data["answer"])
        except SendBack.DoesNotExist:  # answered or settled in this moment
            raise Http404 from None
        return Response(status=204)


def register(router) -> None:
    router.register("approval-rules", RuleViewSet, basename="approval-rule")
    router.register("batches", BatchViewSet, basename="batch")
    router.register("pair-refreshes", PairRefreshViewSet, basename="pair-refresh")
    router.register("sent-back", SendBackViewSet, basename="sent-back")
