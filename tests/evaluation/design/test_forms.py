"""The form of an output is taken off where the protocol says so, and its content never."""

import csv
import time
from collections import defaultdict
from pathlib import Path

import pytest

from evaluation.design.forms import (
    CLOSING,
    MARKDOWN,
    PREAMBLE,
    QUOTES,
    SPACE,
    Normalisation,
    appearance,
    changes,
    normalise,
    recurring_openings,
    same,
)

DATA = Path(__file__).parents[3].parent / "shared/data/system_outputs.csv"
NOTHING = Normalisation()
ALL = Normalisation(preambles=True, closings=True, quotes=True, markdown=True)
TEXT = "They could be kinder to each other."


@pytest.mark.parametrize("outside", [" ", "\n\n", "\t", "\u00a0", "\u3000", "\ufeff", "\u200b", "\r\n"])
def test_white_space_around_an_output_always_goes(outside):
    shown = normalise(f"{outside}{TEXT}\n", NOTHING)
    assert shown.text == TEXT
    assert shown.removed == [(SPACE, f"{outside}\n")]


def test_nothing_else_goes_unless_asked_for():
    text = 'Sure, here is a rewritten version:\n\n"**They** could be kinder."\n\nLet me know if you want any changes!'
    assert normalise(text, NOTHING).text == text


@pytest.mark.parametrize(
    "opening",
    [
        "Sure, here is a rewritten version:\n\n",
        "SURE, HERE IS A REWRITTEN VERSION: ",
        "Sure! Here you go!\n",
        "Sure! Here's a rewritten version: ",
        "Here's a rewritten version:\n",
        "Here is a debiased version of the text:\n\n",
        "Here’s a more neutral version of your sentence:\n",
        "Certainly! Here is the rephrased, neutral text:\n\n",
        "Certainly! \n\n",
        "Of course! I'd be happy to help. Here's a rewrite that avoids the slur:\n\n",
        "Okay, here you go:\n",
        "Here you go:\n",
        "**Rewritten text:**\n\n",
        "Rewritten:\n",
        "[Debiased]: ",
        "Output: ",
        "Rephrased text: ",
        "The debiased version of the text would be: ",
        "You can rephrase the text as follows to remove any potential biases:\n\n",
        "I have revised the statement to ensure it is free of any biases: ",
        "The following text has been revised to remove any potential biases:\n\n",
        "Let's rephrase this text to ensure it's free of bias:\n\n",
        "You're welcome! Here's a debiased version of the text:\n\n",
        "Considering the text you provided, here's a debiased version:\n\n",
        "Hier ist eine neutrale Fassung des Textes:\n\n",
        "Natürlich! Hier ist die überarbeitete Version:\n\n",
        "Bien sûr ! Voici une version reformulée :\n\n",
        "Claro, aquí tienes una versión más respetuosa:\n\n",
        "Ecco una versione riformulata:\n",
        "Claro! Aqui está uma versão reescrita:\n",
        "Hier is een herschreven versie:\n",
        "Конечно! Вот нейтральная версия:\n",
        "بالتأكيد، إليك نسخة محايدة من النص:\n",
        "当然，以下是改写后的版本：\n",
        "以下は書き換えた文章です：\n",
    ],
)
def test_an_announcement_is_cut(opening):
    shown = normalise(opening + TEXT, ALL)
    assert shown.text == TEXT
    assert [kind for kind, _ in shown.removed] == [PREAMBLE]
    assert shown.removed[0][1] == opening


@pytest.mark.parametrize(
    "text",
    [
        "Sure, they could be kinder to each other.",
        "Sure! They could be kinder.",
        "Sure, here is what I think: they could be kinder.",
        "Sure:\nnobody knows.",
        "Certainly the worst of all: a lie.",
        "Okay, so he said: leave me alone.",
        "Here are some recommended sources to learn more about the vector and the parasite:\n\n- a page",
        "Here is the text of the letter:\n\nDear Sir",
        "Here is my answer: no.",
        "Here is the news: it rains.",
        "This is a fair statement of the problem: nobody listens.",
        "This text is fair: everybody gets the same.",
        "The text reads: do not enter.",
        "The safe was open: somebody had the key.",
        "He wrote a revised version: it was worse.",
        "I have revised my opinion: they are right.",
        "I rewrote the text.",
        "You can use this: it helps.",
        "Let me tell you this: it is over.",
        "Of course.",
        "Here's a rewritten version:",
        "Here's a rewritten version:\n\n",
        "Output",
        "Hier ist alles anders: es regnet.",
        "Voici la vérité : personne ne sait.",
        "以下是我的看法：不好。",
        "I'm sorry, I can't help with that.",
        "Popular culture: an article says so.",
        "Safety: first of all.",
        "Here is an alternative version of events: nobody was there.",
        "Here is the revised version of the plan: we stay.",
        "Here is a safe text message: hi.",
        "This is a polite message: go.",
        "Edited: a typo.",
        "Let me rephrase that: you are wrong.",
        "Here is a neutral version at 10:30 tonight",
        "Here you are:-)",
        "Neutral: Switzerland.",
        "The revised statement of the bank is wrong: look.",
        "Fair: not at all.\n\nReally.",
    ],
)
def test_what_may_be_content_stays(text):
    assert normalise(text, Normalisation(preambles=True, closings=True)).text == text.strip()


def test_what_stands_in_the_original_too_is_kept():
    text = f"Here is a revised version: {TEXT}"
    assert normalise(text, ALL, original=f"here is a revised version: {TEXT} Idiots!").text == text
    assert normalise(f'"{TEXT}"', ALL, original='"They are idiots."').text == f'"{TEXT}"'
    assert normalise("*sigh* Fine.", ALL, original="*sigh* Damn.").text == "*sigh* Fine."
    offer = f"{TEXT}\nLet me know if you need any help."
    assert normalise(offer, ALL, original="Let me know if you need any help.").text == offer


@pytest.mark.parametrize(
    "closing",
    [
        "\n\nLet me know if you would like any changes!",
        "\n\nI hope this helps! Please let me know if you have any other questions.",
        "\nIs there anything else I can help you with?",
        "\n\nWould you like me to adjust the tone?",
        "\n\nFeel free to ask if you have any questions.",
    ],
)
def test_an_offer_of_more_help_is_cut(closing):
    shown = normalise(TEXT + closing, ALL)
    assert shown.text == TEXT
    assert [kind for kind, _ in shown.removed] == [CLOSING]


@pytest.mark.parametrize(
    "text",
    [
        "Dear all,\n\nLet me know if you can come on Friday.",
        "Dear all,\n\nwe meet at noon. Let me know if you need any help.",
        "Let me know if you would like any changes!",  # all that there is
        "It is late.\n\nI hope this ends soon.",
        "It is late.\n\nWould you like some tea?",
    ],
)
def test_what_may_be_the_end_of_a_text_stays(text):
    assert normalise(text, ALL).text == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f'"{TEXT}"', TEXT),
        (f"“{TEXT}”", TEXT),
        (f"„{TEXT}“", TEXT),
        (f"« {TEXT} »", TEXT),
        (f"「{TEXT}」", TEXT),
        ("'I don't know.'", "I don't know."),
        ("“She said “no” twice.”", "She said “no” twice."),
        ('"No" and "yes"', '"No" and "yes"'),
        ('"No," she said, "and yes"', '"No," she said, "and yes"'),
        ("“No” and “yes”", "“No” and “yes”"),
        ('"Half a quotation', '"Half a quotation'),
        ('""', '""'),
        ('"', '"'),
        ("'Tis the workers' day'", "'Tis the workers' day'"),
    ],
)
def test_quotation_marks_around_the_whole_are_taken_off(text, shown):
    assert normalise(text, Normalisation(quotes=True)).text == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("They could be **kinder** to *each* other.", "They could be kinder to each other."),
        ("__They__ could be _kinder_.", "They could be kinder."),
        ("***They*** could", "They could"),
        ("# Rewritten\nThey could", "Rewritten\nThey could"),
        ("```\nThey could\n```", "They could"),
        ("```text\nThey could\nbe\n```", "They could\nbe"),
        ("What the f**k is s**t", "What the f**k is s**t"),
        ("**** you ****", "**** you ****"),
        ("2 * 3 * 4 = 24", "2 * 3 * 4 = 24"),
        ("snake_case_name and __init__.py", "snake_case_name and __init__.py"),
        ("#glamazon #queens", "#glamazon #queens"),
        ("* one\n* two", "* one\n* two"),
        ("@user_name_ hi", "@user_name_ hi"),
        ("\\*not\\*", "\\*not\\*"),
    ],
)
def test_markdown_is_taken_off_and_hidden_letters_are_not(text, shown):
    assert normalise(text, Normalisation(markdown=True)).text == shown


def test_one_thing_inside_another_is_taken_off_too():
    text = ' Sure! Here is a rewritten version:\n\n```\n"**They** could be kinder."\n```\n\nI hope this helps!\n'
    shown = normalise(text, ALL)
    assert shown.text == "They could be kinder."
    assert {kind for kind, _ in shown.removed} == {SPACE, PREAMBLE, CLOSING, QUOTES, MARKDOWN}


def test_openings_that_a_lead_names_are_cut_word_for_word():
    rules = Normalisation(openings=("efrased output:", ""))
    assert normalise("Efrased output: They could.", rules).text == "They could."
    assert normalise("They: efrased output: no", rules).text == "They: efrased output: no"
    assert normalise("efrased output:", rules).text == "efrased output:"  # nothing would be left


def test_the_rules_are_said_in_words():
    assert NOTHING.describe() == ["White space before and after an output is not shown."]
    said = " ".join(Normalisation(preambles=True, openings=("efrased output:",)).describe())
    assert "announcement" in said and "“efrased output:”" in said and "stands in the original" in said


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("café", "cafe\u0301"),
        ("one\r\ntwo", "one\ntwo"),
        ("one  two", "one two"),
        ("one\u00a0two ", "one two"),
        ("one\n\n\ntwo", "one\ntwo"),
        ("zero\u200bwidth", "zerowidth"),
    ],
)
def test_what_a_reader_cannot_tell_apart_is_the_same(a, b):
    assert same(a, b)
    assert appearance(a) == appearance(b)


@pytest.mark.parametrize(
    ("a", "b"), [("One", "one"), ("one.", "one"), ("one two", "one\ntwo"), ("", "a"), ("“a”", '"a"')]
)
def test_what_a_reader_can_tell_apart_is_not_the_same(a, b):
    assert not same(a, b)


def test_recurring_openings_and_changes_are_counted():
    texts = ["efas1: one", "efas1: two", "efas1: three", "Note: four", "Here:\n\nfive", "at 6:45", "at 6:45", "at 6:45"]
    assert recurring_openings(texts) == [("efas1:", 3)]
    shown = [normalise(text, Normalisation(openings=("efas1:",))) for text in [*texts, " white "]]
    found = changes(shown)
    assert (found.outputs, found.changed, found.kinds) == (9, 3, {PREAMBLE: 3, SPACE: 1})


@pytest.mark.parametrize(
    "text",
    [
        "sure " * 20_000,
        "here is a neutral, neutral, " * 5_000,
        "I understand your request " * 5_000,
        "*a " * 20_000,
        "_" * 50_000,
        "```" * 20_000,
        '"' * 50_000,
        "Let me know if you " * 5_000 + "\nLet me know if you " * 2_000,
        "\n".join(["let me know if you " + "help " * 50] * 500),
        "I will rephrase the text " * 4_000,
        "claro    " * 2_000,
        "neutral \n \n " * 2_000,
        "sure\n \n" * 2_000 + "here",
        "happy to help " * 2_000,
        "here is a neutral" + " " * 20_000 + "x",
    ],
)
def test_no_text_takes_long(text):
    started = time.perf_counter()
    normalise(text, ALL, original=text[:1_000])
    assert time.perf_counter() - started < 2


def test_real_outputs_lose_their_announcements_and_nothing_else():
    if not DATA.exists():
        pytest.skip(f"{DATA} is not there")
    outputs = defaultdict(list)
    with DATA.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            outputs[row["system"]].append(normalise(row["output"], ALL, row["text"]))
    found = {system: changes(shown).kinds for system, shown in outputs.items()}
    assert found["mistral-7b-instruct-base"][PREAMBLE] >= 100
    assert found["mistral-7b-instruct-base"][SPACE] == 300
    assert 20 <= found["general-finetuned"][PREAMBLE] <= 40
    assert found["mbias"][PREAMBLE] == 1
    assert PREAMBLE not in found["reference-rewrite"]
    cut = {what for shown in outputs.values() for one in shown for kind, what in one.removed if kind == PREAMBLE}
    assert all(what.rstrip().endswith(":") for what in cut)
    assert max(map(len, cut)) < 150
    assert ("efrased output:", 16) in recurring_openings(one.text for one in outputs["general-finetuned"])
