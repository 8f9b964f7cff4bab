"""What the report says about its own figures, from results made for the purpose."""

import pytest

from evaluation import figures
from evaluation.analysis.groups import POOLED
from evaluation.reports import documents, methods, tables, words

SYSTEMS = [{"system": place, "name": name, "is_reference": not place} for place, name in enumerate(("Base", "Tuned"))]
CRITERIA = [{"key": "safe", "name": "Safe", "levels": 5, "margin": None, "hypothesis": "none"}]


def estimate(value, reach=0.2, reason="", **more):
    known = value is not None and reach is not None
    ends = (value - reach, value + reach) if known else (None, None)
    sizes = {"n_ratings": 10, "n_items": 5, "n_reviewers": 2}
    return {"estimate": value, "low": ends[0], "high": ends[1], "reason": reason, **sizes, **more}


def group(by, name, pooled):
    return {
        "by": by,
        "group": name,
        "criterion": "safe",
        "system": 1,
        "plain": estimate(0.5, None, "Fewer than 5 texts."),
        "pooled": pooled,
    }


def results_of(*groups):
    return {"systems": SYSTEMS, "criteria": CRITERIA, "groups": list(groups)}


IS_POOLED, IS_NOT = estimate(0.4, reason=POOLED), estimate(None, reason="One text in every group.")


def test_pooled_intervals_are_said_to_be_over_texts_only():
    results = results_of(group("target_group", "women", IS_POOLED), group("target_group", "men", IS_POOLED))
    assert "over texts only" in documents._groups(results)
    (row, _) = tables._groups(results).rows
    assert row["pooled_reason"] == POOLED


def test_groups_that_could_not_be_pooled_are_not_called_so():
    results = results_of(group("target_group", "women", IS_NOT), group("target_group", "men", IS_NOT))
    caption = documents._groups(results)
    assert "pooled" not in caption.lower() and "One text in every group." in caption
    assert "One text in every group." in tables._groups(results).body[0][-1]
    both = documents._groups(results_of(group("target_group", "women", IS_NOT), group("stratum", "short", IS_POOLED)))
    assert "Hollow ones are groups' own figures" in both and "by target group and stratum" in both


def test_a_target_group_and_a_stratum_of_one_name_have_places_of_their_own():
    results = results_of(group("target_group", "women", IS_POOLED), group("stratum", "women", IS_POOLED))
    drawn = figures.groups(results)
    assert "(target group)" in drawn and "(stratum)" in drawn
    assert [row[2] for row in tables._groups(results).body] == ["target group", "stratum"]
    assert "(target group)" not in figures.groups(results_of(group("target_group", "women", IS_POOLED)))


def test_reviewers_are_listed_without_their_roles():
    row = {"reviewer": "reviewer-1", "pages": 3, "checks": 0, "passed": 0, "failed": False, "excluded": False}
    table = tables._attention({"attention": {"reviewers": [row], "with_other_roles": 1}})
    assert table.rows == [row] and "1 reviewer had other roles" in table.note
    assert not any("role" in label.lower() for label in table.head)


def judge(**choices):
    return {"model": "judge-1", "usable": 4, "asked": 4, "also_systems": [], "criteria": [], **choices}


def test_how_often_a_judge_chose_as_people_did_stands_beside_two_people():
    one = judge(
        choices={"reason": "", "with_people": estimate(0.6, 0.1), "among_people": estimate(0.7, 0.1)},
        position={"reason": "", "verdict": "Leans to the first place.", "first_place": estimate(0.6, 0.1)},
    )
    (row,) = tables._judges({"judges": {"judges": [one]}}).body
    said = f"Chose as a person did: 60{words.SPACE}% [50, 70]; two people: 70{words.SPACE}% [60, 80]."
    assert row[-1] == f"{said} Leans to the first place."


def compared(*by, left_out=()):
    rows = [
        {"criterion": "safe", "method": method, "why_not_mixed": why, "difference": estimate(value)}
        for method, why, value in by
    ]
    models = [{"criterion": "safe", "left_out": list(left_out)}]
    return " ".join(methods.compared({"comparisons": {"rows": rows, "models": models}}))


def test_the_methods_name_the_model_only_where_it_was_fitted():
    said = compared(("mixed", "", 0.4), left_out=["Effects of reviewers by system: no reviewer rated a system twice."])
    assert "text by reviewer" in said and "Not told apart: effects of reviewers by system" in said
    assert "bootstrap" not in said and "Wilcoxon" not in said
    said = compared(("bootstrap", "The mixed model did not converge.", 0.4), ("bootstrap", "", None))
    assert "linear mixed model" not in said and "In 1 of 2 comparisons there is no mixed model" in said
    assert "did not converge" in said and "In 1 of 2 comparisons there is nothing to compare" in said


def test_a_test_replaced_by_wilcoxons_is_said_to_speak_for_texts_only():
    said = compared(("mixed", "", 0.4), ("wilcoxon", "", 2.0))
    assert "In 1 of 2 comparisons systems were compared" in said
    assert "replaced by Wilcoxon's signed-rank test" in said and "other texts only, not for other reviewers" in said


@pytest.mark.parametrize(
    ("planned", "adjusted", "expected"),
    [
        (0, [None, None], "No test of preferences was planned"),
        (2, [0.01, 0.2], "for each system; the p-values of all are adjusted by Holm's method"),
        (2, [0.01], "1 of 2 could be made; the others count as if p were 1."),
        (1, [None], "none could be made"),
    ],
)
def test_the_methods_say_whether_tests_of_preference_were_planned(planned, adjusted, expected):
    contrasts = [{"p_holm": p} for p in adjusted]
    assert expected in methods.tested_preferences({"preferences": {"contrasts": contrasts, "planned": planned}})


def test_nothing_is_printed_where_there_is_no_test():
    assert words.with_p(None) == "" and words.with_p(0.0231) == f", p{words.SPACE}={words.SPACE}0.023"


def test_a_margin_in_the_figure_is_before_the_adjustment():
    assert "before the adjustment for the number of tests" in documents.FIGURES["differences"][1]
