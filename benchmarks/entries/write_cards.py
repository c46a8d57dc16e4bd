"""Write the cards of this folder anew: `python benchmarks/entries/write_cards.py`."""

from pathlib import Path

from cesped.data.entry_cards import entry_cards
from cesped.io.files import write_text_atomic

if __name__ == "__main__":
    for name, text in entry_cards().items():
        write_text_atomic(Path(__file__).with_name(name), text)
