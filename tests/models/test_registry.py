"""Models by name, of this package and of others."""

import pytest
import torch

from cesped.errors import ModelNotFoundError, OptionError, SymmetryError
from cesped.models import registry
from cesped.models.prediction import PosePrediction
from cesped.models.registry import PoseModel, build_model, model_names, register_model


@pytest.fixture
def own_model(monkeypatch):
    monkeypatch.setattr(registry, "_REGISTERED", dict(registry._REGISTERED))

    @register_model("still")
    class Still(PoseModel):
        """Predicts the identity."""

        def __init__(self, symmetry, width=3):
            super().__init__(symmetry, width=width)

        def loss(self, images, rotations, confidence):
            return confidence.mean()

        def predict(self, images):
            count = len(images)
            return PosePrediction(torch.eye(3).expand(count, 3, 3), torch.ones(count))

    return Still


def test_a_users_model_is_built_and_rebuilt_by_name(own_model):
    model = build_model("still", "d2", width=5)
    assert isinstance(model, own_model)
    assert model.config == {"name": "still", "symmetry": "D2", "width": 5}
    assert build_model(**model.config).config == model.config
    assert "still" in model_names()
    assert "image2sphere" in model_names()


def test_unknown_names_say_what_there_is(own_model):
    with pytest.raises(ModelNotFoundError, match="image2sphere"):
        build_model("image2cube", "C1")
    with pytest.raises(OptionError, match="has no preset 'huge'"):
        build_model("still", "C1", preset="huge")
    with pytest.raises(OptionError, match="did you mean 'width'"):
        build_model("still", "C1", widht=3)
    with pytest.raises(SymmetryError):
        build_model("still", "Q3")


def test_a_name_cannot_be_taken_twice(own_model):
    class Other(own_model):
        """Another one."""

    class Unfinished(PoseModel):
        """One that cannot learn."""

        def predict(self, images): ...

    with pytest.raises(OptionError, match="is taken by"):
        register_model("still")(Other)
    with pytest.raises(OptionError, match="Unfinished must define loss"):
        register_model("unfinished")(Unfinished)
    with pytest.raises(OptionError, match="does not derive from PoseModel"):
        register_model("number")(int)
