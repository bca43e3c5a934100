"""Models that are split over several GGUF files, ``name-00001-of-00003.gguf`` and so on.

Each file says which part it is (``split.no``, from 0), of how many (``split.count``), and how many
tensors the whole model has (``split.tensors.count``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from phigguf.errors import GGUFError
from phigguf.io.gguf_header import GGUFHeader

INDEX_KEY = "split.no"
COUNT_KEY = "split.count"
TENSORS_KEY = "split.tensors.count"
SPLIT_KEYS = frozenset({INDEX_KEY, COUNT_KEY, TENSORS_KEY})

_NAME = re.compile(r"(?P<stem>.*)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})\.gguf", re.DOTALL)


def shard_paths(path: Path, header: GGUFHeader) -> list[Path]:
    """The files of the model that ``path`` belongs to, in order; itself alone if it is whole.

    Raises
    ------
    GGUFError
        The file is one of several, and its name does not tell which.
    """
    count = _split_value(path, header, COUNT_KEY)
    if count is None or count <= 1:
        return [path]
    name = _NAME.fullmatch(path.name)
    if name is None or int(name["count"]) != count or not 1 <= int(name["number"]) <= count:
        raise GGUFError(
            f"the file is one of {count}, so its name must end in -00001-of-{count:05d}.gguf "
            "or a later number",
            file=path,
            field=COUNT_KEY,
            value=path.name,
        )
    return [
        path.with_name(f"{name['stem']}-{number:05d}-of-{count:05d}.gguf")
        for number in range(1, count + 1)
    ]


def check_shards(headers: Mapping[Path, GGUFHeader]) -> None:
    """Refuse files that are not the parts of one model, in order and complete.

    Raises
    ------
    GGUFError
        A file's number, the number of files or the number of tensors is not as it must be, or two
        files hold a tensor of the same name.
    """
    tensors: set[str] = set()
    for path, header in headers.items():
        for name in header.tensors:
            if name in tensors:
                raise GGUFError("is in an earlier file too", file=path, field=f"tensor {name}")
            tensors.add(name)
    for index, (path, header) in enumerate(headers.items()):
        expected = {INDEX_KEY: index, COUNT_KEY: len(headers), TENSORS_KEY: len(tensors)}
        for key, value in expected.items():
            found = _split_value(path, header, key)
            if found != value:
                raise GGUFError(
                    f"must be {value}",
                    file=path,
                    field=key,
                    value="nothing" if found is None else found,
                )


def _split_value(path: Path, header: GGUFHeader, key: str) -> int | None:
    """The value of a ``split.*`` key; writers differ in the integer's width."""
    value = header.metadata[key].value if key in header.metadata else None
    if value is not None and type(value) is not int:
        raise GGUFError("must be an integer", file=path, field=key, value=value)
    return value
