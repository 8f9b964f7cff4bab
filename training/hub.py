"""Upload a folder to the Hugging Face Hub, in a process of its own: `python -m training.hub < ORDER > RESULT`, both
JSON.

A process, because an upload cannot be interrupted but a process can be ended; what the hub has not got as a commit by
then is never seen there. Knows nothing of Django. The token is HF_TOKEN of the environment and goes nowhere else.
"""

import json
import os
import sys
from typing import Any


class Refused(Exception):
    """The hub did not take it. The message is a sentence for people."""


def upload(order: dict[str, Any], token: str) -> str:
    """Upload `folder` to the repository `target`. Returns the address of the commit.

    Args:
        order: `folder`, `target`, `private` (of a new repository), `message`, and `ours`: whether the repository may
        hold files already, because it was published from here before.
    Raises:
        Refused.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    api, target = HfApi(token=token), order["target"]
    try:
        if api.repo_exists(target):
            # a new repository holds .gitattributes; ours may be one that an attempt before this one made
            if not order["ours"] and any(name != ".gitattributes" for name in api.list_repo_files(target)):
                raise Refused(f"{target} exists on the hub and was not published from here: choose another name.")
        else:
            api.create_repo(target, private=order["private"], exist_ok=True)
        commit = api.upload_folder(
            repo_id=target, folder_path=order["folder"], ignore_patterns=[".*"], commit_message=order["message"]
        )
    except HfHubHTTPError as error:
        raise Refused(_words(error, target)) from None
    except OfflineModeIsEnabled:
        raise Refused("The worker is offline by its settings (HF_HUB_OFFLINE), so it cannot reach the hub.") from None
    except Refused:
        raise
    except Exception as error:  # of the network, in any of the libraries' own kinds
        words = str(error).replace(token, "[token]").strip().splitlines()
        raise Refused(
            f"The hub could not be reached, or refused: {(words or [type(error).__name__])[0][:300]}"
        ) from None
    return str(commit.commit_url)


def _words(error: Any, target: str) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    account = target.split("/")[0]
    if status == 401:
        return "The hub does not accept the worker's token: an administrator sets another HF_TOKEN."
    if status == 403:
        return f"The worker's token may not write to {account} on the hub: it needs the right to write there."
    if status == 404:
        return f"The hub does not know {account}, or the worker's token may not see it."
    if status == 429:
        return "The hub asks to wait (too many requests): publish again later."
    return f"The hub answered with status {status}: publish again later."


def main() -> None:
    order = json.load(sys.stdin)
    try:
        result = {"url": upload(order, os.environ["HF_TOKEN"].strip())}
    except Refused as refusal:
        result = {"refused": str(refusal)}
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
