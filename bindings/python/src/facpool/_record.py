"""What the package gives back as named values: reports, failures, progress, file information. Used by
the modules that make them; knows nothing of their content."""

from __future__ import annotations

from typing import Any, Callable, Dict, List


class Record(Dict[str, Any]):
    """A dict whose values are attributes too: ``report["ok"]`` and ``report.ok`` are the same."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            names = ", ".join(map(str, self))
            raise AttributeError(f"there is no {name!r} here: there are {names}") from None

    def __dir__(self) -> List[str]:
        return sorted({*super().__dir__(), *self})

    def __repr__(self) -> str:
        return f"Record({', '.join(f'{name}={_short(value)}' for name, value in self.items())})"

    def __str__(self) -> str:
        return "\n".join(f"{name}: {_short(value, str)}" for name, value in self.items())

    def __reduce__(self) -> Any:
        return Record, (dict(self),)


def record(values: Any) -> Record:
    """A Record of a mapping; mappings in its lists become Records too."""
    return Record((name, _inner(value)) for name, value in values.items())


def _inner(value: Any) -> Any:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [record(each) for each in value]
    return value


def _short(value: Any, show: Callable[[Any], str] = repr) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return f"[{len(value)} records]"
    text = show(value)
    return text if len(text) <= 200 else f"{text[:100]} ... {text[-90:]}"
