"""Steps are done once, and again when anything that determines them changes."""

import pytest

from cesped.workflows.steps import run_once


@pytest.fixture
def product(tmp_path):
    return tmp_path / "product.txt"


def writer(product, calls):
    def make():
        calls.append(1)
        product.write_text(f"version {len(calls)}")

    return make


def test_a_finished_step_is_not_done_again(product):
    calls = []
    assert run_once(product, {"seed": 1}, writer(product, calls))
    assert not run_once(product, {"seed": 1}, writer(product, calls))
    assert product.read_text() == "version 1"


def test_another_origin_makes_it_again(product):
    calls = []
    for seed in (1, 2, 1):
        assert run_once(product, {"seed": seed}, writer(product, calls))
    assert len(calls) == 3


def test_without_an_origin_it_is_always_made_and_never_trusted(product):
    calls = []
    assert run_once(product, None, writer(product, calls))
    assert run_once(product, None, writer(product, calls))
    assert run_once(product, {"seed": 1}, writer(product, calls))


def test_a_step_that_was_killed_is_done_again(product):
    def killed():
        product.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_once(product, {"seed": 1}, killed)
    assert run_once(product, {"seed": 1}, writer(product, []))


def test_a_product_that_was_deleted_is_made_again(product):
    calls = []
    run_once(product, {"seed": 1}, writer(product, calls))
    product.unlink()
    assert run_once(product, {"seed": 1}, writer(product, calls))
