"""Names that are not there: an error that says which are."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from stopgap.actions.contract import PermanentError

if TYPE_CHECKING:
    from collections.abc import Collection

    from stopgap.actions.aws.client import Api


def unknown(api: Api, what: str, name: str, there: Collection[str]) -> PermanentError:
    """Return the error for something that an account does not have, with the nearest names that it has."""
    here = api.access.title
    if not there:
        return PermanentError(f'{here} has no {what} "{name}", and no other; is this the right account and region?')
    near = difflib.get_close_matches(name, there, n=3) or sorted(there)[:5]
    return PermanentError(f'{here} has no {what} "{name}". It has: {", ".join(near)}.')
