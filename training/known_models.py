"""What is known about base models: from the table that workers fill, from folders this process can read, from the hub.

The web server asks the hub without a token: what only a token opens is known once a worker has taken the model.
"""

import json
import math
import socket
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.utils import timezone

from annotation.jobs import patiently
from annotation.redaction import holds_token
from training import base_models
from training.base_models import COMMIT, Base, BaseModelError
from training.facts import ModelFacts, from_config, kept
from training.models import BaseModelFacts

LOOK_SECONDS = 2.5  # for the hub's answer to a page
FRESH = timedelta(days=1)  # how long a branch's facts are taken without asking the hub again
NOT_AGAIN = 60  # seconds in which a hub that did not answer, or had nothing, is not asked for the same
MAX_CONFIG = 1_000_000  # bytes
MAX_HEADER = 50_000_000


@dataclass(frozen=True)
class Known:
    """What is known about a base model. `facts` is None where nobody has seen it; `trouble` is why it cannot be used;
    `doubt` is why it is not known. `commit` is where the revision pointed when somebody looked.
    """

    name: str
    facts: ModelFacts | None = None
    commit: str = ""
    source: str = ""
    trouble: str = ""
    doubt: str = ""
    code_allowed: bool = False


def known(name: str, revision: str = "", *, look: bool = True) -> Known:
    """What is known about the model; "" is the server's default.

    Args:
        look: whether the hub may be asked.
    """
    name = name or settings.BASE_MODEL
    if base_models.is_folder(name):
        return _folder(name) or _stored(name, revision) or Known(name)
    stored = _stored(name, revision)
    fresh = stored and (stored.facts and stored.facts.weights) and _is_fresh(name, revision)
    if not look or fresh:
        return stored or Known(name)
    key = f"looked:{name}:{revision}"
    if (answer := cache.get(key)) is None:
        answer = _look(name, revision)
        if not answer.facts:
            cache.set(key, answer, NOT_AGAIN)
    if answer.facts and answer.facts.hidden:
        return answer
    if stored and not answer.trouble:
        return stored
    return answer


def learn(base: Base, asked: str) -> None:
    """Keep what a worker found out about a base model, for the checks of later recipes."""
    columns: dict[str, Any] = {
        "commit": base.revision,
        "config": kept(base_models.read_config(base.name, base.folder)),
        "weights": count_weights(base.folder),
        "chat_template": _has_chat_template(base.folder),
        "by": f"worker {socket.gethostname()}"[:200],
    }
    patiently(lambda: _store(base.name, {asked, base.revision}, **columns))


def _store(name: str, revisions: set[str], *, by: str, **columns: Any) -> None:
    columns |= {"reported_by": by, "reported_at": timezone.now()}
    for revision in sorted(revisions):
        BaseModelFacts.objects.update_or_create(name=name, revision=revision, defaults=columns)


def _stored(name: str, revision: str) -> Known | None:
    row = BaseModelFacts.objects.filter(name=name, revision=revision).first()
    if row is None:
        return None
    allowed = base_models.is_allowed(name, row.commit)
    source = f"as {row.reported_by} found it on {row.reported_at:%d %b %Y}"
    return Known(name, row.facts, row.commit, source, code_allowed=allowed)


def _is_fresh(name: str, revision: str) -> bool:
    rows = BaseModelFacts.objects.filter(name=name, revision=revision)
    if not COMMIT.fullmatch(revision):
        rows = rows.filter(reported_at__gt=timezone.now() - FRESH)
    return rows.exists()


def _folder(name: str) -> Known | None:
    """A folder that this process can read; None where it cannot, since workers may well."""
    try:
        folder = Path(name).expanduser()
    except RuntimeError:  # ~somebody who has no home here
        return None
    try:
        if not folder.is_absolute() or not folder.is_dir():
            return None
        base_models.check_files(name, {path.name for path in folder.iterdir() if path.is_file()})
        if (folder / "config.json").stat().st_size > MAX_CONFIG:
            return Known(name, trouble=f"The config.json of the base model {name} is too large to be one.")
        config = base_models.read_config(name, folder)
        facts = from_config(kept(config), weights=count_weights(folder), chat_template=_has_chat_template(folder))
    except BaseModelError as error:
        return Known(name, trouble=str(error))
    except OSError:
        return None
    # The hash of its content, which an allowance names, takes long to compute: that is left to the worker.
    allowed = facts.remote_code and bool(_allowances(name))
    return Known(name, facts, source="as its folder says", code_allowed=allowed)


def _allowances(name: str) -> int:
    from training.models import RemoteCodeAllowance

    return RemoteCodeAllowance.objects.filter(name=name).count()


def _look(name: str, revision: str) -> Known:
    """Ask the hub, without a token and briefly."""
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    if holds_token(name) or holds_token(revision):
        return Known(name, trouble="This holds an access token. Tokens belong into the worker's environment, HF_TOKEN.")
    try:
        info = HfApi().model_info(name, revision=revision or None, timeout=LOOK_SECONDS, token=False)
    except HFValidationError:
        return Known(name, trouble=f"{name} is neither a hub id (organisation/model) nor the full path of a folder.")
    except RevisionNotFoundError:
        return Known(name, trouble=f"The hub has no revision {revision} of {name}.")
    except GatedRepoError:
        return Known(name, doubt="The hub shows this model only to those who accepted its terms.")
    except RepositoryNotFoundError:
        return Known(
            name,
            doubt="The hub shows no such model without a token: it is private, or its name is not quite this.",
        )
    except Exception:  # no network, no answer in time, offline by setting
        return _cached(name, revision)
    try:
        base_models.check_files(name, {sibling.rfilename for sibling in info.siblings or []})
    except BaseModelError as error:
        return Known(name, trouble=str(error))
    commit = info.sha or ""
    config = info.config or {}
    try:
        path = hf_hub_download(name, "config.json", revision=commit, etag_timeout=LOOK_SECONDS, token=False)
        config = base_models.read_config(name, Path(path).parent) if Path(path).stat().st_size < MAX_CONFIG else {}
    except Exception:  # noqa: S110 - gated: the hub tells its kind and number of weights, but not its sizes
        pass
    weights = getattr(info.safetensors, "total", None)
    template = "chat_template" in ((info.config or {}).get("tokenizer_config") or {}) or any(
        sibling.rfilename == "chat_template.jinja" for sibling in info.siblings or []
    )
    part = kept(config)
    if "hidden_size" in part or from_config(part).hidden:
        _store(
            name, {revision, commit}, commit=commit, config=part, weights=weights, chat_template=template, by="the hub"
        )
    facts = from_config(part, weights=weights, chat_template=template)
    allowed = base_models.is_allowed(name, commit)
    return Known(name, facts, commit, "as the hub says", code_allowed=allowed)


def _cached(name: str, revision: str) -> Known:
    """What an earlier download left on this machine."""
    from huggingface_hub import try_to_load_from_cache

    try:
        path = try_to_load_from_cache(name, "config.json", revision=revision or None)
        if not isinstance(path, str):
            raise OSError
        folder = Path(path).parent
        config = base_models.read_config(name, folder)
    except (OSError, ValueError, BaseModelError):
        return Known(name, doubt="The hub could not be reached from the web server.")
    facts = from_config(kept(config), weights=count_weights(folder), chat_template=_has_chat_template(folder))
    return Known(
        name,
        facts,
        folder.name,
        "as this machine's copy says",
        code_allowed=base_models.is_allowed(name, folder.name),
    )


def count_weights(folder: Path) -> int | None:
    """The number of weights in a folder's safetensors files, from their headers; None where there are none or one
    cannot be read. A name in two files counts once.
    """
    sizes: dict[str, int] = {}
    try:
        for path in sorted(folder.glob("*.safetensors")):
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                if not 0 < length <= MAX_HEADER:
                    return None
                header = json.loads(file.read(length))
            sizes |= {name: math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return sum(sizes.values()) or None


def _has_chat_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file():
        return True
    try:
        return bool(json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("chat_template"))
    except (OSError, ValueError, AttributeError, RecursionError):
        return False
