"""The contract of the papers' dataset classes: names, arguments, defaults, orders.

Sources: appendix C of the CESPED paper and the published package cesped 25.12.0. The one
default that differs is benchmarkDir: None here, for the environment variable or the user's folder.
"""

import inspect
import subprocess
import sys

import fake_entry as fake
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch.utils.data import DataLoader, Dataset

from cesped.data.dataset import ParticlesDataset, ParticlesRelionStarDataset

EMPTY = inspect.Parameter.empty
SIGNATURES = {
    (ParticlesDataset, "__init__"): {
        "targetName": EMPTY,
        "halfset": EMPTY,
        "benchmarkDir": None,
        "image_size": None,
        "apply_perImg_normalization": True,
        "ctf_correction": "phase_flip",
        "image_size_factor_for_crop": 0.25,
    },
    (ParticlesRelionStarDataset, "__init__"): {
        "starFname": EMPTY,
        "rootDir": EMPTY,
        "symmetry": EMPTY,
        "image_size": None,
        "perImg_normalization": "noiseStats",
        "ctf_correction": "none",
        "image_size_factor_for_crop": 0.0,
    },
    (ParticlesDataset, "updateMd"): {
        "ids": EMPTY,
        "angles": None,
        "shifts": None,
        "confidence": None,
        "angles_format": "rotmat",
        "shifts_format": "Angst",
    },
    (ParticlesDataset, "saveMd"): {"fname": EMPTY, "overwrite": True},
    (ParticlesDataset, "getCESPEDEntries"): {},
    (ParticlesDataset, "getLocallyAvailableEntries"): {"benchmarkDir": None},
    (ParticlesDataset, "addNewEntryLocally"): {
        "starFname": EMPTY,
        "particlesRootDir": EMPTY,
        "newTargetName": EMPTY,
        "halfset": EMPTY,
        "symmetry": EMPTY,
        "benchmarkDir": None,
    },
}
PROPERTIES = ["symmetry", "image_size", "sampling_rate", "datadir", "starFname", "stackFname"]
PUBLISHED_NAMES = [
    "TEST",
    "10786",
    "11120",
    "10166",
    "10280",
    "10374",
    "10409",
    "10399",
    "10648",
    "consensus_10648",
    "simulated_10648",
]


@pytest.fixture
def dataset(tmp_path):
    fake.write_fake_entry(tmp_path, "FAKE", symmetry="D2", n_particles=8)
    return ParticlesDataset("FAKE", 0, benchmarkDir=tmp_path)


@pytest.mark.parametrize(("owner", "method"), SIGNATURES, ids=lambda v: getattr(v, "__name__", v))
def test_arguments_and_defaults(owner, method):
    parameters = inspect.signature(getattr(owner, method)).parameters
    found = {name: p.default for name, p in parameters.items() if name != "self"}
    expected = SIGNATURES[owner, method]
    assert list(found) == list(expected)
    assert found == expected


def test_class_methods_and_properties(dataset):
    for name in ("getCESPEDEntries", "getLocallyAvailableEntries", "addNewEntryLocally"):
        assert inspect.ismethod(getattr(ParticlesDataset, name))
    for name in [*PROPERTIES, "particles", "augmenter"]:
        assert isinstance(inspect.getattr_static(ParticlesDataset, name), property)
    assert issubclass(ParticlesDataset, ParticlesRelionStarDataset)
    assert issubclass(ParticlesDataset, Dataset)
    assert dataset.symmetry == "D2"
    assert dataset.image_size == 32
    assert dataset.sampling_rate == pytest.approx(3.0 * 24 / 32)
    assert dataset.targetName == "FAKE"
    assert dataset.halfset == 0
    assert dataset.starFname.endswith("FAKE/particles_0.star")
    assert dataset.stackFname.endswith("FAKE/particles_0.mrcs")
    assert dataset.datadir.endswith("FAKE")
    assert dataset.augmenter is None
    assert len(dataset.particles) == len(dataset) == 8


def test_entries_are_pairs_of_name_and_half():
    entries = ParticlesDataset.getCESPEDEntries()
    assert {(name, half) for name in PUBLISHED_NAMES for half in (0, 1)} <= set(entries)
    assert entries[0] == ("DEMO", 0)  # the paper's listing opens the first entry


def test_sample_tuple(dataset):
    iid, img, (rotMat, xyShiftAngs, confidence), metadata = dataset[0]
    assert iid == "000001@particles_0.mrcs"
    assert img.shape == (1, 32, 32)
    assert img.dtype == rotMat.dtype == xyShiftAngs.dtype == confidence.dtype == torch.float32
    assert rotMat.shape == (3, 3)
    assert xyShiftAngs.shape == (2,)
    assert confidence.shape == (1,)
    assert confidence.item() == 1
    assert metadata["rlnImageName"] == iid
    assert all(isinstance(value, str | int | float) for value in metadata.values())


def test_listing_1_of_the_paper(dataset):
    for batch in DataLoader(dataset, batch_size=3):
        iid, img, (rotMat, xyShiftAngs, confidence), metadata = batch
        assert len(iid) == len(img)
        assert img.shape[1:] == (1, 32, 32)
        assert rotMat.shape[1:] == (3, 3)
        assert xyShiftAngs.shape[1:] == (2,)
        assert confidence.shape[1:] == (1,)
        assert len(metadata["rlnDefocusU"]) == len(img)


@pytest.mark.parametrize("angles_format", ["rotmat", "zyzEulerDegs"])
def test_listing_2_of_the_paper(dataset, tmp_path, angles_format):
    rotations = Rotation.random(8, random_state=1)
    angles = {
        "rotmat": torch.tensor(rotations.as_matrix(), dtype=torch.float32),
        "zyzEulerDegs": rotations.as_euler("ZYZ", degrees=True),
    }[angles_format]
    for start in (0, 4):
        iid = [dataset[i][0] for i in range(start, start + 4)]
        dataset.updateMd(
            ids=iid,
            angles=angles[start : start + 4],
            shifts=torch.zeros(4, 2),
            confidence=torch.full((4, 1), 0.25),
            angles_format=angles_format,
        )
    dataset.saveMd(str(tmp_path / "predictions.star"))
    saved = fake.starfile.read(tmp_path / "predictions.star")["particles"]
    found = saved[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy()
    read = Rotation.from_euler("ZYZ", found, degrees=True)
    assert np.degrees((read.inv() * rotations).magnitude()).max() < 1e-4
    assert (saved["rlnOriginXAngst"] == 0).all()
    assert (saved["rlnParticleFigureOfMerit"] == 0.25).all()
    assert saved["rlnImageName"].tolist() == [f"{i:06d}@particles_0.mrcs" for i in range(1, 9)]


def test_star_dataset_is_exported_at_the_top():
    code = "from cesped import ParticlesRelionStarDataset as D; print(D.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "ParticlesRelionStarDataset", done.stderr


def test_add_new_entry_locally(dataset, tmp_path):
    ParticlesDataset.addNewEntryLocally(
        dataset.starFname,
        particlesRootDir=dataset.datadir,
        newTargetName="NEW",
        halfset=0,
        symmetry=dataset.symmetry,
        benchmarkDir=tmp_path,
    )
    new = ParticlesDataset("NEW", 0, benchmarkDir=tmp_path)
    assert torch.equal(new[3][1], dataset[3][1])
    assert new[3][0] == dataset[3][0]
    assert ("NEW", 0) in ParticlesDataset.getLocallyAvailableEntries(tmp_path)
