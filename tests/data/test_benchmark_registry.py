"""The registry holds the facts of the paper, and the cards follow from it."""

from pathlib import Path

import pytest

from cesped.data.demo_specifications import DEMO_SPECIFICATIONS
from cesped.data.entry_cards import entry_cards
from cesped.data.registry import (
    benchmark_entries,
    benchmark_source,
    nearest_names,
    published_entries,
)

CARDS = Path(__file__).resolve().parents[2] / "benchmarks" / "entries"

#: Table II of the paper, typed in a second time: name, symmetry, box, resolutions, particles.
TABLE_II = """
10166 C1 284 5.0 3.9 238631
10786 C1 184 3.3 3.0 288659
10280 C2 182 3.6 3.0 459504
11120 C1 232 3.4 3.0 244973
10409 C1 240 3.3 3.0 406001
10374 C2 216 3.7 3.0 323681
10399 C1 184 3.2 3.1 490616
10648 D2 222 3.7 3.3 234956
simulated_10648 D2 222 3.5 3.4 234956
consensus_10648 D2 222 3.8 3.4 138848
"""


@pytest.mark.parametrize("row", TABLE_II.split("\n")[1:-1])
def test_table_ii(row):
    name, symmetry, *numbers = row.split()
    entry = published_entries()[name]
    assert entry.symmetry == symmetry
    found = [entry.box, entry.resolution_angst, entry.masked_resolution_angst, entry.n_particles]
    assert found == [float(number) for number in numbers]
    assert entry.pixel_size_angst == 1.5


def test_eleven_targets_of_two_records_each():
    entries = published_entries()
    assert len(entries) == 11
    records = [record for entry in entries.values() for record in entry.records]
    assert len(set(records)) == 22
    assert {entry.mask_record for entry in entries.values()} == {11092291}
    assert entries["TEST"].n_particles is None  # the paper does not say


def test_the_mean_size_is_that_of_the_text():
    """'an average number of 300 000 particles' over the eight sets of real images."""
    real = [e for e in published_entries().values() if "_" not in e.name and e.name != "TEST"]
    assert len(real) == 8
    assert sum(e.n_particles for e in real) / 8 == pytest.approx(300_000, rel=0.15)


def test_masks_and_stacks_that_entries_share():
    entries = published_entries()
    assert entries["TEST"].mask_file == "11120_mask.mrc"
    for name in ("10648", "consensus_10648", "simulated_10648"):
        assert entries[name].mask_file == "10648_mask.mrc"
    shared = {e.name: e.images_of for e in entries.values() if e.images_of}
    assert shared == {"consensus_10648": "10648"}


def test_embedded_entries_come_first():
    assert benchmark_entries()[:3] == [("DEMO", 0), ("DEMO", 1), ("DEMO-D2", 0)]
    assert benchmark_entries()[-1] == ("simulated_10648", 1)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("EMPIAR-10280", "10280"),
        ("empiar_10166", "10166"),
        ("10648_consensus", "consensus_10648"),
        ("Consensus-10648", "consensus_10648"),
        ("test", "TEST"),
        ("demo_d2", "DEMO-D2"),
        ("1112", "11120"),
        ("myprotien", "myprotein"),
    ],
)
def test_the_nearest_name(written, meant):
    assert nearest_names(written, ["myprotein"])[0] == meant


def test_nothing_is_near_to_nonsense():
    assert nearest_names("ribosome") == []


def test_cards_are_what_the_script_writes():
    written = {path.name: path.read_text(encoding="utf-8") for path in CARDS.glob("*.md")}
    assert written == entry_cards(), "run: python benchmarks/entries/write_cards.py"


def test_a_card_for_every_entry_says_what_it_is():
    cards = entry_cards()
    for name, halfset in benchmark_entries():
        card = cards[f"{name}.md"]
        if name in DEMO_SPECIFICATIONS:
            assert DEMO_SPECIFICATIONS[name].fingerprint in card
        else:
            assert str(published_entries()[name].records[halfset]) in card
            assert benchmark_source().doi in card
    assert "not stated in the paper" in cards["TEST.md"]
