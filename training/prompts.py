"""The prompt around a text: one definition for training and generation. Knows nothing of Django or torch."""

from collections.abc import Iterable, Sequence

PLACE = "{text}"
MAX_EXAMPLES = 20
MAX_LENGTH = 4_000

DEFAULT_TEMPLATE = (
    "Rewrite the following text so that it is free of bias, toxicity and harm. Keep its meaning. "
    "Answer with the rewritten text only.\n\nText: {text}\n\nRewritten text:\n"
)


def check_template(template: str) -> None:
    """Raise ValueError unless the template holds the place for the text exactly once."""
    if len(template) > MAX_LENGTH:
        raise ValueError(f"The prompt template has {len(template):,} characters; the limit is {MAX_LENGTH:,}.")
    if "\x00" in template:
        raise ValueError("The prompt template holds a null byte; remove it.")
    if template.count(PLACE) != 1:
        raise ValueError(f"The prompt template must hold {PLACE} exactly once: the text goes there.")


def check_examples(examples: object) -> list[list[str]]:
    """The (text, rewrite) pairs of a few-shot prompt. Raises ValueError that names the example that is wrong."""
    if not isinstance(examples, list | tuple):
        raise ValueError("Examples are a list of texts with their rewrites.")
    if len(examples) > MAX_EXAMPLES:
        raise ValueError(f"A prompt has at most {MAX_EXAMPLES} examples, not {len(examples)}.")
    checked = []
    for number, example in enumerate(examples, start=1):
        if not isinstance(example, list | tuple) or len(example) != 2 or not all(isinstance(e, str) for e in example):
            raise ValueError(f"Example {number} is not a text with its rewrite.")
        if not all(part.strip() for part in example):
            raise ValueError(f"Example {number} needs a text and a rewrite; one of them is empty.")
        if any("\x00" in part or len(part) > MAX_LENGTH for part in example):
            raise ValueError(f"Example {number} holds a null byte, or has more than {MAX_LENGTH:,} characters.")
        checked.append([part.strip() for part in example])
    return checked


def render(template: str, text: str, examples: Iterable[Sequence[str]] = ()) -> str:
    """The prompt for one text, after the examples, each as the template with its rewrite behind.

    Other braces, in the template or the text, stay as they are.

    Blanks at the end are dropped: they would merge with the first word of the answer into tokens that the model does
    not see when it generates.
    """
    before, after = template.split(PLACE)
    shown = "".join(f"{before}{example}{after}{rewrite}\n\n" for example, rewrite in examples)
    return f"{shown}{before}{text}{after}".rstrip(" \t")
