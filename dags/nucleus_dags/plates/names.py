"""Names of what lies in the inbox: which are left by systems, which can't be a plate's, and how they are shown."""

from __future__ import annotations

import os
import re

LEFT_BY_SYSTEMS = frozenset(
    {
        *("desktop.ini", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db"),  # Windows
        *("$recycle.bin", "recycler", "system volume information"),
        *(".ds_store", "__macosx", "icon\r", "network trash folder", "temporary items"),  # macOS
        *("@eadir", "#recycle", "#snapshot"),  # Synology
        *("@recycle", "@recently-snapshot"),  # QNAP
        *("lost+found", ".snapshot", "~snapshot"),  # Linux, NetApp
    }
)
"""In lower case. `ingest` ignores the same in images/ and labels/."""
MOST_BYTES = 200
"""A file name has 255 bytes; the report on a faulty plate adds date and time."""
MOST_SHOWN = 80


_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*@[0-9a-f]{12}")
_RESULT_KEY = re.compile(r"[0-9a-f]{16}")


def is_key(name: str) -> bool:
    """Whether a name is that of an imported plate in one version, `<name>@<digest>`, and so leads nowhere else."""
    return _KEY.fullmatch(name) is not None


def is_result_key(name: str) -> bool:
    """Whether a name is that of a result of any other task in the store, and so leads nowhere else."""
    return _RESULT_KEY.fullmatch(name) is not None


def is_of_a_system(name: str) -> bool:
    """Whether an operating system or a file server leaves files or folders of this name by itself."""
    return name.casefold() in LEFT_BY_SYSTEMS


def is_ignored(name: str) -> bool:
    """Whether an entry of the inbox counts for nothing: what systems and editors leave, and what is hidden."""
    return name.startswith((".", "~$")) or is_of_a_system(name)


def problem_of(name: str) -> str | None:
    """Say why a folder of this name can't be a plate, if so; None for a name that can be used."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return "has a name in another encoding than UTF-8; rename it"
    if any(not character.isprintable() for character in name):
        return "has a name with a line break or another character that can't be seen; rename it"
    if length > MOST_BYTES:
        return f"has a name of {length} bytes, and at most {MOST_BYTES} can be used; rename it"
    return None


def shown(name: str) -> str:
    """Give a name as people may read it: on one line, as UTF-8 text, and not too long.

    A byte that isn't UTF-8 is shown as `\\xe9`, a character that can't be seen as `\\n` or `\\u200b`.
    """
    text = os.fsencode(name).decode(errors="backslashreplace")
    text = "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 20]}…{text[-19:]}"
