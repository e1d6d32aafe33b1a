"""In-memory file systems for fsspec with injectable faults."""

from __future__ import annotations

from typing import Any, ClassVar

from fsspec.implementations.memory import MemoryFileSystem


class FaultyFileSystem(MemoryFileSystem):
    """The file system of `faulty://`, which is not an object store: files grow, and can be renamed.

    Attributes:
        faults: The error raised by an operation (`pipe_file`, `mv`, `cat_file`, `ls`); a failed put
            leaves half of its data.
        log: The operations so far, with the last part of their path.
        late: Listings of folders that are not up to date.
    """

    protocol = "faulty"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    faults: ClassVar[dict[str, Exception]] = {}
    log: ClassVar[list[tuple[str, str]]] = []
    late: ClassVar[dict[str, list[str]]] = {}

    @classmethod
    def forget(cls) -> None:
        cls.store.clear()
        cls.pseudo_dirs[:] = [""]
        cls.faults.clear()
        cls.log.clear()
        cls.late.clear()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.removeprefix("faulty://"))

    @classmethod
    def content(cls) -> dict[str, bytes]:
        """The content of all files, by path."""
        return {path: file.getvalue() for path, file in sorted(cls.store.items())}

    def _record_call(self, name: str, path: str) -> Exception | None:
        self.log.append((name, path.rpartition("/")[2]))
        return self.faults.get(name)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: Any) -> None:
        error = self._record_call("pipe_file", path)
        super().pipe_file(path, value[: len(value) // 2] if error else value, mode, **more)
        if error:
            raise error

    def mv(self, path1: str, path2: str, **more: Any) -> None:
        if error := self._record_call("mv", path2):
            raise error
        self.store[self._strip_protocol(path2)] = self.store.pop(self._strip_protocol(path1))

    def cat_file(self, path: str, *more: Any, **most: Any) -> bytes:
        if error := self._record_call("cat_file", path):
            raise error
        return super().cat_file(path, *more, **most)

    def ls(self, path: str, detail: bool = True, **more: Any) -> list[Any]:
        if error := self._record_call("ls", path):
            raise error
        if path in self.late:
            return self.late[path]
        return super().ls(path, detail, **more)


class FaultyObjectStore(FaultyFileSystem):
    """The file system of `bucket://`, an object store: a failed put leaves nothing."""

    protocol = "bucket"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    faults: ClassVar[dict[str, Exception]] = {}
    log: ClassVar[list[tuple[str, str]]] = []
    late: ClassVar[dict[str, list[str]]] = {}

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.removeprefix("bucket://"))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: Any) -> None:
        if error := self._record_call("pipe_file", path):
            raise error
        MemoryFileSystem.pipe_file(self, path, value, mode, **more)
