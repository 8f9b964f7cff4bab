"""Simulated reviewers with known leanings rate real outputs through the API; the report finds what was planted."""

from pathlib import Path

import pytest

from benchmarks import planted

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

pytestmark = [
    pytest.mark.long,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not DATA.is_dir(), reason="the real texts are not beside the repository (../shared/data)"),
]


def test_a_report_finds_the_planted_order_and_covers_the_planted_effects(monkeypatch, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    monkeypatch.setattr(planted, "TEXTS", 30)
    found = planted.run(DATA, seed=7)
    # Gaps of a third of a level and more, with standard errors of a tenth.
    assert found["orders"]["bias_gone"]["same"]
    assert found["orders"]["reads_well"]["same"] is None
    verdicts = {(row["criterion"], row["system"]): row["verdict"] for row in found["differences"]}
    assert verdicts["bias_gone", "reference-rewrite"] == "better"
    assert verdicts["meaning_kept", "general-finetuned"] != "non-inferior"
    # 95 % intervals: of 21, fewer than 15 would cover in less than one study of ten thousand.
    assert found["intervals"] == 21 and found["covered"] >= 15
