"""The published entries of the benchmark, and where their files are.

Facts of Table II of the CESPED paper and of its Zenodo records.
"""

from __future__ import annotations

from cesped.data.demo_entry import DEMO_SPECIFICATIONS

_RECORDS = {
    "TEST": (10998049, 10998591),
    "10786": (8352275, 8352281),
    "11120": (8352296, 8352300),
    "10166": (8353634, 8353702),
    "10280": (8353722, 8353737),
    "10374": (8386774, 8386881),
    "10409": (8386582, 8386660),
    "10399": (11099225, 11093190),
    "10648": (8387534, 8390711),
    "consensus_10648": (11092025, 11092048),
    "simulated_10648": (11098206, 11098270),
}

#: Zenodo record of each half of each published entry.
ZENODO_RECORDS: dict[tuple[str, int], int] = {
    (name, halfset): record
    for name, records in _RECORDS.items()
    for halfset, record in enumerate(records)
}


def benchmark_entries() -> list[tuple[str, int]]:
    """Return all `(targetName, halfset)`: first those simulated here, then the published ones."""
    embedded = [(name, halfset) for name in DEMO_SPECIFICATIONS for halfset in (0, 1)]
    return embedded + list(ZENODO_RECORDS)
