"""Recipes as YAML: written, and read again with messages that name the key. Knows nothing of Django or torch.

Format 2 is what `dump` writes. Format 1 is what recipes were before they had methods, prompts with names and examples;
it is read with the defaults of what it lacks.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from training.parameters import METHODS, Hyperparameters, encodable
from training.prompts import DEFAULT_TEMPLATE

FORMAT = 2
MAX_LENGTH = 200_000  # characters
ODD_BREAKS = {0x0D, 0x85, 0x2028, 0x2029, 0xFEFF}
KEYS = ("format", "name", "method", "base_model", "revision", "prompt", "parameters")
FORMAT_1_KEYS = ("format", "name", "method", "base_model", "prompt_template", "parameters")
PROMPT_KEYS = ("name", "template", "examples")
# Of a run's recipe.json, what belongs to the run and not to the recipe.
RUN_KEYS = ("method", "base_model", "base_revision", "is_scratch", "remote_code", "prompt_template", "examples",
            "dataset_hash", "seed")  # fmt: skip


class RecipeErrors(ValueError):
    """What is wrong, per key: `messages` maps a key to one sentence."""

    def __init__(self, messages: dict[str, str]) -> None:
        self.messages = messages = encodable(messages)
        super().__init__(" ".join(f"{name}: {message}" for name, message in messages.items()))


@dataclass(frozen=True)
class Loaded:
    """A recipe that was read: what `recipes.create_recipe` takes, and the names of what had to be filled in."""

    name: str = ""
    method: str = "qlora"
    base_model: str = ""
    revision: str = ""
    prompt_name: str = ""
    prompt_template: str = DEFAULT_TEMPLATE
    examples: list[list[str]] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT
    filled: list[str] = field(default_factory=list)

    def values(self) -> dict[str, Any]:
        return {
            spec.name: getattr(self, spec.name)
            for spec in dataclasses.fields(self)
            if spec.name not in ("format", "filled")
        }


def dump(
    *,
    name: str,
    method: str,
    base_model: str,
    revision: str,
    prompt_name: str,
    prompt_template: str,
    examples: Sequence[Sequence[str]],
    parameters: Mapping[str, Any],
) -> str:
    """The recipe as YAML, keys in a fixed order."""
    order = [spec.name for spec in dataclasses.fields(Hyperparameters)]
    document = {
        "format": FORMAT,
        "name": name,
        "method": method,
        "base_model": base_model,
        "revision": revision,
        "prompt": {
            "name": prompt_name,
            "template": prompt_template,
            "examples": [{"text": text, "rewrite": rewrite} for text, rewrite in examples],
        },
        "parameters": {key: parameters[key] for key in order if key in parameters},
    }
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def load(text: str) -> Loaded:
    """Read a recipe; JSON is YAML too, so an adapter's recipe.json is read as well.

    Raises:
        RecipeErrors: keyed by the key that is wrong, "yaml" where the text itself cannot be read.
    """
    if len(text) > MAX_LENGTH:
        raise RecipeErrors({"yaml": f"This has {len(text):,} characters; a recipe has at most {MAX_LENGTH:,}."})
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader without aliases
    except RecursionError:
        raise RecipeErrors({"yaml": "This is nested too deeply for a recipe."}) from None
    except (yaml.YAMLError, ValueError) as error:
        raise RecipeErrors({"yaml": f"This is not valid YAML: {_sentence(error)}"}) from None
    except (LookupError, TypeError, AttributeError, OverflowError):  # PyYAML's constructors check little
        raise RecipeErrors(
            {"yaml": "This is not valid YAML: a value does not fit its tag, or an escape is no character."}
        ) from None
    if not isinstance(document, dict):
        raise RecipeErrors({"yaml": "A recipe is a list of keys and values, such as `method: qlora`."})
    if "library_versions" in document and isinstance(document.get("parameters"), dict):
        document = _of_a_run(document["parameters"])
    version = document.get("format", 1)
    if version not in (1, FORMAT) or isinstance(version, bool):
        raise RecipeErrors(
            {"format": f"This recipe has format {_shown(version)}; this version of Redress reads 1 and {FORMAT}."}
        )
    return _format_1(document) if version == 1 else _format_2(document)


def _format_2(document: dict[Any, Any]) -> Loaded:
    errors = _unknown(document, KEYS)
    errors |= {key: "This key is missing." for key in ("name", "method", "prompt", "parameters") if key not in document}
    prompt = document.get("prompt", {})
    if not isinstance(prompt, dict):
        errors["prompt"] = f"Give a prompt with {', '.join(PROMPT_KEYS)}."
        prompt = {}
    errors |= {f"prompt.{key}": message for key, message in _unknown(prompt, PROMPT_KEYS).items()}
    if "prompt" in document and "template" not in prompt and "prompt" not in errors:
        errors["prompt.template"] = "This key is missing."
    return _checked(
        document,
        errors,
        version=FORMAT,
        prompt_name=prompt.get("name", ""),
        prompt_template=prompt.get("template", ""),
        examples=prompt.get("examples", []),
        prefix="prompt.",
    )


def _format_1(document: dict[Any, Any]) -> Loaded:
    errors = _unknown(document, FORMAT_1_KEYS)
    if newer := [key for key in ("prompt", "revision") if key in errors]:
        for key in newer:
            errors[key] = f"This key came with format {FORMAT}: begin with `format: {FORMAT}`."
    if "parameters" not in document:
        errors["parameters"] = "This key is missing."
    return _checked(
        document,
        errors,
        version=1,
        prompt_name="",
        prompt_template=document.get("prompt_template", DEFAULT_TEMPLATE),
        examples=[],
    )


def _checked(
    document: dict[Any, Any],
    errors: dict[str, str],
    *,
    version: int,
    prompt_name: Any,
    prompt_template: Any,
    examples: Any,
    prefix: str = "",
) -> Loaded:
    """Types here; whether the values make sense is for `recipes.create_recipe` to say."""
    method = document.get("method", "qlora")
    if not isinstance(method, str) or method not in METHODS:
        errors.setdefault("method", f"Give one of {', '.join(METHODS)}, not {_shown(method)}.")
    texts = {key: document.get(key, "") for key in ("name", "base_model", "revision")}
    texts |= {f"{prefix}name" if prefix else "prompt_name": prompt_name}
    texts |= {f"{prefix}template" if prefix else "prompt_template": prompt_template}
    for key, value in texts.items():
        if not isinstance(value, str):
            errors.setdefault(key, f"Give a text, not {_shown(value)}; put it in quotes.")
    pairs = _examples(examples, errors)
    parameters = document.get("parameters", {})
    known = [spec.name for spec in dataclasses.fields(Hyperparameters)]
    filled: list[str] = []
    if not isinstance(parameters, dict):
        errors.setdefault("parameters", "Parameters are names with values.")
        parameters = {}
    else:
        for key in parameters:
            if key not in known:
                errors[f"parameters.{_shown(key, 60)}"] = _no_parameter(key, known)
        filled = [key for key in known if key not in parameters]
    if version == 1 and "method" not in document:
        filled.insert(0, "method")
    if version == 1 and "prompt_template" not in document:
        filled.insert(0, "prompt_template")
    if errors:
        raise RecipeErrors(errors)
    return Loaded(
        name=document.get("name", "").strip(),
        method=method,
        base_model=document.get("base_model", "").strip(),
        revision=document.get("revision", "").strip(),
        prompt_name=prompt_name,
        prompt_template=prompt_template,
        examples=pairs,
        parameters=dataclasses.asdict(Hyperparameters()) | parameters if filled else dict(parameters),
        format=version,
        filled=filled,
    )


def _examples(examples: Any, errors: dict[str, str]) -> list[list[str]]:
    if not isinstance(examples, list):
        errors["prompt.examples"] = "Give a list of examples, each with text and rewrite."
        return []
    pairs = []
    for number, example in enumerate(examples, start=1):
        if isinstance(example, dict) and example.keys() == {"text", "rewrite"}:
            example = [example["text"], example["rewrite"]]
        if not (isinstance(example, list) and len(example) == 2 and all(isinstance(part, str) for part in example)):
            errors["prompt.examples"] = f"Example {number} needs `text` and `rewrite`, both as texts."
            return []
        pairs.append(example)
    return pairs


def _of_a_run(parameters: dict[Any, Any]) -> dict[str, Any]:
    """A run's recipe.json as a recipe: without dataset and seed, pinned to the base that the run had."""
    rest = {key: value for key, value in parameters.items() if key not in RUN_KEYS}
    scratch = parameters.get("is_scratch") is True
    return {
        "format": FORMAT,
        "name": "",
        "method": parameters.get("method", "qlora"),
        "base_model": "" if scratch else parameters.get("base_model", ""),
        "revision": "" if scratch else parameters.get("base_revision", ""),
        "prompt": {
            "template": parameters.get("prompt_template", ""),
            "examples": parameters.get("examples", []),
        },
        "parameters": rest,
    }


def _unknown(document: dict[Any, Any], known: Sequence[str]) -> dict[str, str]:
    return {
        _shown(key, 60): f"There is no such key; known are {', '.join(known)}." for key in document if key not in known
    }


def _no_parameter(key: Any, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(str(key), known, 1)
    return "There is no such parameter" + (f"; is {close[0]} meant?" if close else ".")


def _shown(value: Any, most: int = 60) -> str:
    return str(value)[:most]


def _sentence(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = str(getattr(error, "problem", None) or error).splitlines()[0][:200]
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}." if mark else f"{problem}."


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, which people can read and edit."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    style = "|" if "\n" in value else None
    if any(ord(character) in ODD_BREAKS for character in value):
        style = '"'  # where they are escaped: elsewhere they would be read as an end of line
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


class _Loader(yaml.SafeLoader):
    """Plain values only: no aliases (a few lines of them can mean gigabytes), no key twice, numbers such as 2e-4, and
    yes, no and dates as the texts they are.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.constructor.ConstructorError(
                None, None, "aliases (*name) are not used in recipes", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool | None):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key} stands here twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


# The core schema of YAML 1.2, which knows fewer surprises than PyYAML's 1.1. The writer puts in quotes what either of
# the two would not read as a text.
_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))
_Loader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: float(node.value))
