"""Finds scalers and executors by name and imports each on first use, so that unused SDKs cost nothing."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import Generic, TypeVar, cast

from scaler.errors import ConfigError
from scaler.ports.executor import ExecutorType
from scaler.ports.feed import FeedType
from scaler.ports.scaler import AnyScalerType

P = TypeVar("P")


class Registry(Generic[P]):
    """Names of one kind of plugin.

    Built-in ones are modules of `package` (`azure-queue` is `azure_queue.py`; a leading underscore is a
    helper, not a plugin; `form` names modules otherwise); third-party ones are entry points of `group` that name
    a module.
    """

    def __init__(
        self, *, kind: str, package: str, group: str, constant: str, form: str = "([a-z0-9][a-z0-9_]*)"
    ) -> None:
        self._form = re.compile(form)
        self._kind = kind
        self._package = package
        self._group = group
        self._constant = constant
        self._loaded: dict[str, P] = {}

    def _built_in(self) -> dict[str, str]:
        spec = importlib.util.find_spec(self._package)
        if spec is None or spec.submodule_search_locations is None:
            return {}
        folders = [str(Path(place)) for place in spec.submodule_search_locations]
        return {
            found[1].replace("_", "-"): f"{self._package}.{module.name}"
            for module in pkgutil.iter_modules(folders)
            if (found := self._form.fullmatch(module.name))
        }

    def _modules(self) -> dict[str, str]:
        foreign = {point.name: point.value for point in entry_points(group=self._group)}
        return foreign | self._built_in()

    def known(self) -> list[str]:
        """List all names, importing none."""
        return sorted(self._modules())

    def load(self, name: str) -> P:
        """Import the plugin of that name; once imported it is kept, for a search reads every installed package.

        Raises:
            ConfigError: no such name (the nearest one is suggested), or its SDK is not installed (the
                extra to install is named).
        """
        if name not in self._loaded:
            self._loaded[name] = self._import(name)
        return self._loaded[name]

    def _import(self, name: str) -> P:
        modules = self._modules()
        if name not in modules:
            near = difflib.get_close_matches(name, modules, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(modules))}"
            raise ConfigError(f"unknown {self._kind} '{name}'; {hint}")
        try:
            module = importlib.import_module(modules[name])
        except ModuleNotFoundError as exc:
            raise ConfigError(
                f"{self._kind} '{name}' needs the package '{exc.name}'; "
                f"run: pip install 'queue-scaler[{name}]'"
            ) from exc
        return cast(P, getattr(module, self._constant))


SCALERS: Registry[AnyScalerType] = Registry(
    kind="scaler", package="scaler.scalers", group="scaler.scalers", constant="SCALER"
)
EXECUTORS: Registry[ExecutorType] = Registry(
    kind="executor", package="executors", group="scaler.executors", constant="EXECUTOR"
)
FEEDS: Registry[FeedType] = Registry(
    kind="feed", package="scaler.scalers", group="scaler.feeds", constant="FEED", form="_([a-z0-9_]+)_feed"
)
