"""Names of reviewers that tell nothing, for reports and raw data: reviewer-1, reviewer-2 and so on."""

from django.utils.crypto import salted_hmac

from evaluation.models import Study


def names_of(study: Study) -> dict[int, str]:
    """User id -> name. The order is random, the same for one study whenever asked, and another in the next study.

    A study's reviewers do not change once it has started, so neither do the names.
    """
    people = study.reviewers.values_list("user_id", flat=True)
    ordered = sorted(people, key=lambda pk: salted_hmac("evaluation.anonymous", f"{study.pk}/{pk}").hexdigest())
    return {pk: f"reviewer-{number}" for number, pk in enumerate(ordered, start=1)}
