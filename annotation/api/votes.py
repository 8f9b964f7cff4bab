"""Votes on rewrites: a voter takes the next one and gives it; leads read what was voted on. Same rules as the pages."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.response import Response

from annotation import access, vote_results, votes
from annotation.access import ScopedAPI
from annotation.filters import RewriteFilter
from annotation.models import Rewrite, RewriteVote, Role


class OwnVoteSerializer(serializers.ModelSerializer):
    """What a voter may see: the text and the rewrite, not who wrote it nor what others think."""

    text = serializers.CharField(source="rewrite.item.text", read_only=True)
    language = serializers.CharField(source="rewrite.item.language", read_only=True)
    rewrite = serializers.CharField(source="rewrite.text", read_only=True)

    class Meta:
        model = RewriteVote
        fields = [
            "id",
            "project",
            "text",
            "language",
            "rewrite",
            "state",
            *RewriteVote.ANSWERS,
            "draft",
            "revision",
            "lease_until",
            "given_at",
        ]
        read_only_fields = fields


class VoteAnswersSerializer(serializers.Serializer):
    safe = serializers.BooleanField(allow_null=True, default=None, help_text="Whether the rewrite is safe.")
    keeps_meaning = serializers.BooleanField(
        allow_null=True, default=None, help_text="Whether it says what the text says."
    )
    cannot_judge = serializers.BooleanField(default=False, help_text="True: somebody else is asked instead.")
    comment = serializers.CharField(allow_blank=True, trim_whitespace=False, default="")


class ChangedVoteSerializer(VoteAnswersSerializer):
    revision = serializers.IntegerField(
        required=False, allow_null=True, help_text="To change a vote that was given: the revision this is based on."
    )


class NextVoteSerializer(serializers.Serializer):
    project = serializers.IntegerField()


class VoteViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """One's own votes. `next` hands out a rewrite to judge; when nothing is left it answers 204."""

    queryset = RewriteVote.objects.all()
    serializer_class = OwnVoteSerializer
    filterset_fields = ["project", "state"]

    def get_queryset(self):
        if getattr(self, "swagger_fake_view", False):
            return RewriteVote.objects.none()
        return RewriteVote.objects.of(self.request.user)

    def _content(self, serializer_class) -> dict:
        serializer = serializer_class(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    @extend_schema(
        request=NextVoteSerializer,
        responses={200: OwnVoteSerializer, 204: OpenApiResponse(description="Nothing is left for you.")},
    )
    @action(detail=False, methods=["post"])
    def next(self, request):
        project = access.project_for(request.user, self._content(NextVoteSerializer)["project"], Role.ANNOTATOR)
        vote = votes.next_vote(request.user, project)
        return Response(status=204) if vote is None else Response(OwnVoteSerializer(vote).data)

    @extend_schema(request=VoteAnswersSerializer, responses=OwnVoteSerializer)
    @action(detail=True, methods=["put"])
    def draft(self, request, pk=None):
        return Response(
            OwnVoteSerializer(
                votes.save_draft(request.user, self.get_object().pk, self._content(VoteAnswersSerializer))
            ).data
        )

    @extend_schema(request=ChangedVoteSerializer, responses=OwnVoteSerializer)
    @action(detail=True, methods=["post"])
    def give(self, request, pk=None):
        """Give the vote, or change it."""
        answers = self._content(ChangedVoteSerializer)
        vote = votes.give(request.user, self.get_object().pk, answers, answers.pop("revision", None))
        return Response(OwnVoteSerializer(vote).data)


class CastSerializer(serializers.ModelSerializer):
    voter = serializers.CharField(source="voter.username", read_only=True)

    class Meta:
        model = RewriteVote
        fields = ["id", "voter", *RewriteVote.ANSWERS, "revision", "earlier", "given_at"]
        read_only_fields = fields


class RewriteSerializer(serializers.ModelSerializer):
    cast = CastSerializer(many=True, read_only=True, source="given")

    class Meta:
        model = Rewrite
        fields = [
            "id",
            "project",
            "item",
            "text",
            "open",
            "wanted",
            "votes",
            "safe",
            "meaning",
            "accepted",
            "cast",
            "created_at",
        ]
        read_only_fields = fields


class RewriteViewSet(ScopedAPI, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Rewrites that were put to the vote in the projects one leads, with every vote on them.

    `votes` counts those who judged it, `safe` and `meaning` those who said yes, `accepted` those who said yes to both.
    """

    queryset = Rewrite.objects.prefetch_related(votes.GIVEN)
    serializer_class = RewriteSerializer
    filterset_class = RewriteFilter
    roles = {"results": (Role.LEAD, Role.TRAINER), "*": (Role.LEAD,)}

    @extend_schema(
        parameters=[OpenApiParameter("project", int, required=True)],
        responses=OpenApiTypes.OBJECT,
        filters=False,
    )
    @action(detail=False, methods=["get"], pagination_class=None, filter_backends=[])
    def results(self, request):
        """What a project's votes say: one object a question, with Fleiss' kappa. Percentages are from 0 to 100."""
        wanted = request.query_params.get("project", "")
        if not (wanted.isdecimal() and len(wanted) < 19):
            raise serializers.ValidationError({"project": "Name the project by its id."})
        project = access.project_for(request.user, int(wanted), *self.roles["results"])
        return Response([vote_results.as_json(result) for result in vote_results.results(project)])


def register(router) -> None:
    router.register("votes", VoteViewSet, basename="vote")
    router.register("rewrites", RewriteViewSet, basename="rewrite")
