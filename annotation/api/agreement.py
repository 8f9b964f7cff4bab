"""Agreement of a project's annotators: the figures of the page, with the same filters."""

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.response import Response

from annotation import access, agreement, agreement_data, agreement_report
from annotation.models import Role

PARAMETERS = [
    OpenApiParameter("since", OpenApiTypes.DATE, description="First day on which an annotation was made."),
    OpenApiParameter("until", OpenApiTypes.DATE, description="Last day, included."),
    OpenApiParameter("target_group", str, description="Of the text, as imported."),
    OpenApiParameter("language", str, description="Of the text."),
    OpenApiParameter("source", str, description="Of the text."),
    OpenApiParameter("first", str, description="Username of one of two annotators; only their common texts count."),
    OpenApiParameter("second", str, description="Username of the other."),
]
FIGURE = OpenApiParameter("figure", str, enum=list(agreement.NAMES), description="The coefficient over time.")
DIMENSION = OpenApiParameter("dimension", str, description="Key of the dimension; the first when missing.")


class AgreementActions:
    """Mixin for the view set of projects."""

    @extend_schema(parameters=[*PARAMETERS, FIGURE], responses=OpenApiTypes.OBJECT)
    @action(detail=True, methods=["get"], pagination_class=None, filter_backends=[])
    def agreement(self, request, pk=None):
        """Coefficients with 95 % intervals for each dimension, their course over time, marks, methods in words."""
        project = access.project_for(request.user, self.get_object().pk, Role.LEAD, Role.TRAINER)  # type: ignore[attr-defined]
        filters = agreement_data.clean_filters(project, request.query_params)
        figure = request.query_params.get("figure") or agreement_report.DEFAULT_FIGURE
        return Response(agreement_report.build(project, filters, figure))

    @extend_schema(parameters=[*PARAMETERS, DIMENSION], responses=OpenApiTypes.OBJECT)
    @action(
        detail=True,
        methods=["get"],
        url_path="agreement/pairs",
        url_name="agreement-pairs",
        pagination_class=None,
        filter_backends=[],
    )
    def agreement_pairs(self, request, pk=None):
        """Percent agreement and Cohen's kappa of every two annotators for one dimension, by their names."""
        project = access.project_for(request.user, self.get_object().pk, Role.LEAD, Role.TRAINER)  # type: ignore[attr-defined]
        filters = agreement_data.clean_filters(project, request.query_params)
        wanted = request.query_params.get("dimension")
        dimension = (project.dimensions.filter(key=wanted) if wanted else project.dimensions.all()).first()
        if dimension is None:
            raise Http404
        return Response(agreement_report.pairs(project, filters, dimension))
