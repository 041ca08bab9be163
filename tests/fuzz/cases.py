"""One hostile file of the campaign."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Case:
    """kind: what it attacks with. detail: where, for reports. suffix: of the file's name. readers: names of
    `readers.READERS` that it is given to."""

    kind: str
    detail: str
    contents: bytes
    suffix: str
    readers: Sequence[str]
