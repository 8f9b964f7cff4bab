"""What was made of pairs, and which pairs were withdrawn since: as the pages say it."""

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from annotation import access
from annotation.models import Pair, Project, Role
from annotation.pagination import Page
from training import lineage
from training.models import Dataset, Run

READERS = (Role.LEAD, Role.TRAINER)
AFTER = OpenApiParameter("after", int, description="What `next_after` of the page before says.")


class ShortRunSerializer(serializers.ModelSerializer):
    class Meta:
        model = Run
        fields = ["id", "name", "status", "dataset", "done"]
        read_only_fields = fields


class DecisionSerializer(serializers.Serializer):
    """By what a pair ceased to be approved."""

    action = serializers.CharField(help_text="pair.rejected, pair.reopened or pair.undone.")
    actor = serializers.CharField(source="actor.username", allow_null=True, default=None)
    at = serializers.DateTimeField()


class ProductSerializer(serializers.Serializer):
    kind = serializers.CharField()
    name = serializers.CharField()
    url = serializers.CharField(help_text="Of its page, or where it was published; empty where there is none.")


class UseSerializer(serializers.Serializer):
    run = ShortRunSerializer()
    split = serializers.CharField(help_text="train: the run was trained on it. test: the run never saw it.")
    how = serializers.CharField(help_text="The same in words.")
    changed = serializers.BooleanField(help_text="The pair reads otherwise now than in that dataset.")
    products = ProductSerializer(many=True)


class HoldingSerializer(serializers.Serializer):
    id = serializers.IntegerField(source="dataset_id")
    name = serializers.CharField(source="dataset.name")
    content_hash = serializers.CharField(source="dataset.content_hash")
    split = serializers.CharField()


class PromptUseSerializer(serializers.Serializer):
    id = serializers.IntegerField()
    name = serializers.CharField()
    version = serializers.IntegerField()


class UsesSerializer(serializers.Serializer):
    pair = serializers.IntegerField(source="pair.pk")
    status = serializers.CharField(source="pair.status")
    withdrawn = serializers.BooleanField(help_text="A dataset holds it, and it is not approved any more.")
    decision = DecisionSerializer(allow_null=True)
    number_of_datasets = serializers.IntegerField()
    datasets = HoldingSerializer(many=True, help_text=f"The newest {lineage.MOST} that hold it.")
    prompts = PromptUseSerializer(many=True, help_text="Prompts that show its text as an example.")
    runs = UseSerializer(many=True, source="page.rows", help_text="Newest first, a page of them.")
    next_after = serializers.IntegerField(source="page.next_after", allow_null=True)


class WithdrawnSerializer(serializers.Serializer):
    pair = serializers.IntegerField(source="pair.pk")
    item = serializers.IntegerField(source="pair.item_id")
    external_id = serializers.CharField(source="pair.item.external_id")
    text = serializers.CharField(source="pair.item.text")
    status = serializers.CharField(source="pair.status")
    reason = serializers.CharField(source="pair.reason")
    decision = DecisionSerializer(allow_null=True)
    split = serializers.CharField(help_text="In the dataset asked about; empty for a project.")
    runs = ShortRunSerializer(many=True, help_text=f"The newest {lineage.RUNS_SHOWN} trained on it.")
    number_of_runs = serializers.IntegerField(help_text="All runs trained on it, or about to be.")


class WithdrawnPageSerializer(serializers.Serializer):
    next_after = serializers.IntegerField(allow_null=True)
    results = WithdrawnSerializer(many=True, source="rows")


class LineageViewSet(viewsets.GenericViewSet):
    """For leads and trainers. Pages hold 50 rows; `after` asks for the next one."""

    queryset = Pair.objects.none()
    serializer_class = UsesSerializer
    filter_backends: list = []
    pagination_class = None

    @extend_schema(parameters=[AFTER], responses=UsesSerializer)
    @action(detail=False, url_path=r"pairs/(?P<pk>\d{1,18})/uses", url_name="pair-uses")
    def uses(self, request: Request, pk: str) -> Response:
        """Datasets and prompts that hold the pair, and every run of those datasets with what came of it."""
        pair = access.object_for(request.user, Pair.objects.select_related("item"), pk, *READERS)
        found = lineage.uses(pair, request.user, request.query_params.get("after"))
        return Response(UsesSerializer(found).data)

    @extend_schema(parameters=[AFTER], responses=WithdrawnPageSerializer)
    @action(detail=False, url_path=r"datasets/(?P<pk>\d{1,18})/withdrawn", url_name="dataset-withdrawn")
    def of_dataset(self, request: Request, pk: str) -> Response:
        """The dataset's pairs that are not approved any more, the newest decision first."""
        dataset = access.object_for(request.user, Dataset.objects.all(), pk, *READERS)
        pairs = lineage.withdrawn(dataset.project_id, dataset)
        return _page(lineage.page_of_withdrawn(pairs, request.query_params.get("after"), dataset))

    @extend_schema(parameters=[AFTER], responses=WithdrawnPageSerializer)
    @action(detail=False, url_path=r"projects/(?P<pk>\d{1,18})/withdrawn", url_name="project-withdrawn")
    def of_project(self, request: Request, pk: str) -> Response:
        """Pairs that runs were trained on, or are about to be, and that are not approved any more."""
        project: Project = access.project_for(request.user, int(pk), *READERS)
        return _page(lineage.page_of_withdrawn(lineage.trained_on(project.pk), request.query_params.get("after")))


def _page(page: Page) -> Response:
    return Response(WithdrawnPageSerializer(page).data)


def register(router) -> None:
    router.register("", LineageViewSet, basename="lineage")
