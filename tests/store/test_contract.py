"""Both stores under the one suite."""

from __future__ import annotations

from scaler.testing.store_contract import StoreContract
from tests.store.both import BothStores


class TestBothStores(BothStores, StoreContract):
    pass
