"""Find the model a run starts from: a folder, a hub id, or the scratch model. Runs in GPU workers only.

Weights are read from safetensors only, and no code that comes with a model is ever run.
"""

import dataclasses
import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from django.conf import settings

from training import artifacts

SCRATCH = "scratch-model/"
SCRATCH_FORMAT = 1  # raise it when training/engine/scratch.py changes
SCRATCH_TEXTS = 5_000
HUB_SECONDS = 5.0

TOKENIZER_FILES = {"tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model"}
WANTED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]


class BaseModelError(Exception):
    """The base model cannot be used. The message says what is missing."""


@dataclass(frozen=True)
class Base:
    """A base model on this machine's disk.

    `name` is what people call it (a hub id, a folder, or "scratch-model/..."), `revision` a commit of the hub or a
    hash of the folder's content, `instead_of` why the server's default model was not taken.
    """

    name: str
    revision: str
    folder: Path
    is_scratch: bool = False
    instead_of: str = ""


def resolve(base_model: str, texts: Callable[[], Iterable[str]], encoder_decoder: bool = False) -> Base:
    """The base model a recipe names; for "" the BASE_MODEL setting, or the scratch model where that cannot be loaded.

    Args:
        base_model: hub id, folder, or "".
        texts: gives the texts that the scratch model's tokenizer is trained on, if it comes to that.
        encoder_decoder: whether the recipe's method needs one; the BASE_MODEL setting names a causal model.
    Raises:
        BaseModelError: a model that was named cannot be loaded.
    """
    if base_model:
        return locate(base_model)
    if encoder_decoder:
        return dataclasses.replace(
            scratch(texts(), encoder_decoder=True), instead_of="it is no encoder-decoder, which seq2seq needs."
        )
    try:
        return locate(settings.BASE_MODEL)
    except BaseModelError as error:
        return dataclasses.replace(scratch(texts()), instead_of=str(error))


def locate(name: str, revision: str = "") -> Base:
    """The model on disk, downloaded first where it is a hub id.

    Args:
        revision: what an earlier `Base` said; with it exactly that model is found or none.
    Raises:
        BaseModelError: with a sentence that says what is missing.
    """
    if name.startswith(SCRATCH):
        folder = settings.ARTIFACT_ROOT / "scratch" / Path(name).name
        if not folder.is_dir() and not artifacts.fetch_scratch(folder):
            raise BaseModelError(f"The scratch model {name} is not in the artifact folder of this worker.")
        return Base(name, Path(name).name, folder, is_scratch=True)
    if name.startswith(("/", "~", ".")):
        return _from_folder(name, revision)
    return _from_hub(name, revision)


def _from_folder(name: str, revision: str) -> Base:
    folder = Path(name).expanduser()
    if not folder.is_absolute():
        raise BaseModelError(f"Give the full path of the base model's folder, not {name}.")
    if not folder.is_dir():
        raise BaseModelError(f"The base model's folder {name} does not exist on the worker.")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    _check_files(name, {path.name for path in files})
    _check_config(name, folder)
    digest = hashlib.sha256()
    for path in files:
        if path.suffix in {".json", ".safetensors", ".model", ".txt", ".jinja"}:
            with path.open("rb") as stream:
                digest.update(f"{path.name}:{hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    found = f"sha256:{digest.hexdigest()}"
    if revision and found != revision:
        raise BaseModelError(
            f"The base model in {name} has changed since it was used; put the former files back, or train again."
        )
    return Base(name, found, folder)


def _from_hub(name: str, revision: str) -> Base:
    """Ask the hub once, briefly; without an answer take what an earlier download left on this machine."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        info = HfApi().model_info(name, revision=revision or None, timeout=HUB_SECONDS)
        commit = info.sha or ""
        _check_files(name, {sibling.rfilename for sibling in info.siblings or []})
    except BaseModelError:
        raise
    except HFValidationError:
        raise BaseModelError(
            f"{name} is neither a hub id (organisation/model) nor the full path of a folder."
        ) from None
    except GatedRepoError:
        raise BaseModelError(
            f"The hub gives {name} only to those who accepted its terms: accept them there, and set HF_TOKEN for the "
            "worker."
        ) from None
    except RevisionNotFoundError:
        raise BaseModelError(f"The hub has no revision {revision} of {name}.") from None
    except RepositoryNotFoundError:
        raise BaseModelError(
            f"The hub has no model {name}, or it is private: check its name, and HF_TOKEN of the worker."
        ) from None
    except Exception:  # no network, no answer in time, offline by setting: a former download will do
        commit = ""
    try:
        folder = Path(
            snapshot_download(
                name,
                revision=commit or revision or None,
                allow_patterns=WANTED,
                ignore_patterns=["*/*", "consolidated*"],
                local_files_only=not commit,
                etag_timeout=HUB_SECONDS,
            )
        )
    except LocalEntryNotFoundError:
        raise BaseModelError(
            f"The base model {name} is not on this machine, and the hub could not be reached: check the network of the "
            "worker, or give the full path of a folder."
        ) from None
    except OSError as error:
        raise BaseModelError(f"Downloading the base model {name} failed: {error}") from error
    _check_files(name, {path.name for path in folder.iterdir()})
    _check_config(name, folder)
    return Base(name, commit or folder.name, folder)  # the cache names a snapshot's folder by its commit


def _check_files(name: str, files: set[str]) -> None:
    if "config.json" not in files:
        raise BaseModelError(
            f"The base model {name} has no config.json: it is not a model of the transformers library."
        )
    if not any(file.endswith(".safetensors") for file in files):
        pickles = any(file.endswith((".bin", ".pt", ".pth")) for file in files)
        raise BaseModelError(
            f"The base model {name} has no weights as safetensors"
            + (", only pickles, which can run code and are not loaded: convert it." if pickles else ".")
        )
    if not files & TOKENIZER_FILES:
        raise BaseModelError(f"The base model {name} has no tokenizer: add its tokenizer.json.")


def _check_config(name: str, folder: Path) -> None:
    try:
        config = json.loads((folder / "config.json").read_text())
    except ValueError:
        raise BaseModelError(f"The config.json of the base model {name} is not valid JSON.") from None
    if "auto_map" in config:
        raise BaseModelError(f"The base model {name} needs code of its own, which is not run here: choose another.")
    if "quantization_config" in config:
        raise BaseModelError(f"The base model {name} is already quantised: give the original weights.")


def scratch(texts: Iterable[str], encoder_decoder: bool = False) -> Base:
    """A tiny random Llama, or T5, with a tokenizer trained on the texts; the same texts give the same model byte for
    byte.

    It proves the pipeline, not the method. Two workers may build it at once: the first to finish wins.
    """
    from training.engine import scratch as scratch_model  # here, so that web processes never load torch

    chosen = list(islice(texts, SCRATCH_TEXTS))
    digest = hashlib.sha256(f"{SCRATCH_FORMAT}{' encoder-decoder' if encoder_decoder else ''}\n".encode())
    for text in chosen:
        digest.update(hashlib.sha256(text.encode()).digest())
    key = digest.hexdigest()[:16]
    folder = settings.ARTIFACT_ROOT / "scratch" / key
    if not folder.is_dir() and not artifacts.fetch_scratch(folder):
        half = folder.with_name(f".{key}-{uuid.uuid4().hex}")
        half.mkdir(parents=True)
        try:
            scratch_model.build(half, chosen, encoder_decoder=encoder_decoder)
            half.rename(folder)
        except OSError:
            if not folder.is_dir():  # not merely slower than another worker
                raise
        finally:
            shutil.rmtree(half, ignore_errors=True)
    artifacts.put_scratch(folder)
    return Base(f"{SCRATCH}{key}", key, folder, is_scratch=True)
