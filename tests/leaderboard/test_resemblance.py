"""One submission under two names: said on the pages, and nothing else is."""

import board_rows as board
import numpy as np
import pandas as pd
import pytest

from cesped.leaderboard.markdown import leaderboard_markdown
from cesped.leaderboard.particle_errors import ParticleErrors
from cesped.leaderboard.ranking import make_boards
from cesped.leaderboard.resemblance import remarks_on_resemblance, resemblance
from cesped.leaderboard.rows import published_facts

N = 6000


def errors(angles, names=None):
    return ParticleErrors(pd.Index(names or [f"{i}@a" for i in range(N)]), angles, np.ones(N))


@pytest.fixture
def angles():
    return np.random.default_rng(0).rayleigh(8.0, N)


def test_copies_moved_or_in_another_order_resemble(angles):
    generator = np.random.default_rng(1)
    own = errors(angles)
    assert resemblance(own, errors(angles.round(4))) == 1
    assert resemblance(own, errors(angles + generator.normal(scale=0.01, size=N))) > 0.99
    order = generator.permutation(N)
    shuffled = errors(angles[order], [f"{i}@a" for i in order])
    assert resemblance(own, shuffled) == 1
    partly = np.where(np.arange(N) % 20 == 0, generator.rayleigh(8.0, N), angles)
    assert 0.94 < resemblance(own, errors(partly)) < 0.97


def test_good_models_do_not(angles):
    generator = np.random.default_rng(2)
    own = errors(angles)
    near = errors(np.abs(angles + generator.normal(scale=1.0, size=N)))
    assert resemblance(own, near) < 0.1
    precise, other = (errors(generator.rayleigh(0.04, N)) for _ in range(2))
    assert resemblance(precise, other) < 0.2  # all errors are small, yet not the same
    assert resemblance(own, errors(angles, [f"{i}@b" for i in range(N)])) == 0


def test_the_page_names_both_and_ranks_both(angles):
    rows = [
        board.row("mine", 8.0, errors=errors(angles)),
        board.row("<b>yours", 8.0, errors=errors(angles)),
        board.row("third", 9.0, errors=errors(angles + 1.0)),
        board.row("unknown", 9.5),
    ]
    remarks = remarks_on_resemblance(rows)
    assert len(remarks) == 1
    boards = make_boards(rows)
    assert [one.rank for one in boards[0].sections[0].rows] == [1, 1, 3, 4]
    page = leaderboard_markdown(boards, published_facts())
    assert page.count("nearly the same errors for 100.0% of the particles") == 1
    assert "<b>" not in page
