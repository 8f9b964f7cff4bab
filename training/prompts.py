"""The prompt around a text: one definition for training and generation. Knows nothing of Django or torch."""

PLACE = "{text}"
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


def render(template: str, text: str) -> str:
    """The prompt for one text. Other braces, in the template or the text, stay as they are.

    Blanks at the end are dropped: they would merge with the first word of the answer into tokens that the model does
    not see when it generates.
    """
    before, after = template.split(PLACE)
    return f"{before}{text}{after}".rstrip(" \t")
