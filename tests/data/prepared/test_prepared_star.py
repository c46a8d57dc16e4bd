"""Other programs read a prepared set and get the map that the raw particles give."""

import subprocess

import numpy as np
import pytest
import starfile
from fake_entry import write_fake_entry, write_star_30, write_star_31
from sets import OPTIONS, make_entry, table_of

from cesped.data.conventions import read_particle_table
from cesped.data.images import ImageSource
from cesped.data.prepared.reader import PreparedImages
from cesped.data.prepared.writer import prepare_images
from cesped.data.preprocessing import PreprocessingOptions
from cesped.io.mrc import read_volume
from cesped.vocabulary import CtfCorrection, Normalization


def test_the_star_file_describes_the_prepared_images(tmp_path):
    entry = make_entry(tmp_path / "raw")
    files = prepare_images(table_of(entry), tmp_path / "set" / "mine", OPTIONS)
    tables = starfile.read(files.star)
    optics, particles = tables["optics"], tables["particles"]
    assert optics["rlnImagePixelSize"].tolist() == pytest.approx([3.0 * 24 / 20])
    assert optics["rlnImageSize"].tolist() == [20]
    assert optics["rlnCtfDataArePhaseFlipped"].tolist() == [1]
    assert particles["rlnImageName"][2] == "000003@mine.mrcs"
    assert particles["rlnImageOriginalName"][2] == "000003@particles_0.mrcs"
    table = read_particle_table(files.star)
    np.testing.assert_allclose(table.poses.rotations, entry.poses[0].rotations, atol=1e-6)
    np.testing.assert_allclose(table.poses.origins_angst, entry.poses[0].origins_angst, atol=1e-6)
    images = ImageSource(table).read(np.arange(11))
    np.testing.assert_array_equal(images, PreparedImages(files.card).read(np.arange(11)))


def test_relion_30_becomes_31_with_the_same_poses_and_transfer(tmp_path):
    entry = make_entry(tmp_path / "raw")
    poses, ctf = entry.poses[0], entry.ctf[0]
    write_star_30(entry.star(0), poses, ctf, "particles_0.mrcs")
    files = prepare_images(table_of(entry), tmp_path / "set" / "mine", OPTIONS)
    table = read_particle_table(files.star)
    assert table.optics is not None
    assert table.sampling_rate == pytest.approx(3.6)
    np.testing.assert_allclose(table.poses.origins_angst, poses.origins_angst, atol=1e-6)
    for name in ("defocus_u_angst", "voltage_kv", "spherical_aberration_mm"):
        np.testing.assert_allclose(getattr(table.ctf, name), getattr(ctf, name), atol=1e-4)
    assert not {"rlnMagnification", "rlnOriginX", "rlnVoltage"} & set(table.particles)


def test_pixel_origins_beside_an_optics_table_are_in_prepared_pixels(tmp_path):
    entry = make_entry(tmp_path / "raw")
    poses, ctf = entry.poses[0], entry.ctf[0]
    columns = {
        "rlnOriginXAngst": None,
        "rlnOriginYAngst": None,
        "rlnOriginX": poses.origins_angst[:, 0] / 3.0,
        "rlnOriginY": poses.origins_angst[:, 1] / 3.0,
    }
    write_star_31(entry.star(0), poses, ctf, 32, **columns)
    files = prepare_images(table_of(entry), tmp_path / "set" / "mine", OPTIONS)
    table = read_particle_table(files.star)
    np.testing.assert_allclose(table.poses.origins_angst, poses.origins_angst, atol=1e-6)


def test_optics_groups_keep_their_own_pixel_sizes(tmp_path):
    entry = make_entry(tmp_path / "raw")
    tables = starfile.read(entry.star(0), always_dict=True)
    optics, particles = tables["optics"], tables["particles"]
    optics = optics.loc[[0, 0, 0]].reset_index(drop=True)
    optics["rlnOpticsGroup"] = [5, 2, 9]
    optics["rlnImagePixelSize"] = [3.0, 2.98, 3.01]
    particles["rlnOpticsGroup"] = [2, 5] * 5 + [2]
    starfile.write({"optics": optics, "particles": particles}, entry.star(0), overwrite=True)
    raw = table_of(entry)
    files = prepare_images(raw, tmp_path / "set" / "mine", OPTIONS)
    prepared = read_particle_table(files.star)
    np.testing.assert_allclose(prepared.pixel_size_angst, raw.pixel_size_angst * 1.2, rtol=1e-6)


def test_after_a_wiener_filter_no_correction_has_an_effect(tmp_path):
    entry = make_entry(tmp_path / "raw")
    options = PreprocessingOptions(None, Normalization.NONE, CtfCorrection.WIENER, 0.0)
    files = prepare_images(table_of(entry), tmp_path / "set" / "mine", options)
    table = read_particle_table(files.star)
    assert table.ctf_correction_done is CtfCorrection.NONE
    again = PreprocessingOptions(None, Normalization.NONE, CtfCorrection.CTF_MULTIPLY, 0.0)
    second = prepare_images(table, tmp_path / "again" / "mine", again)
    np.testing.assert_allclose(
        PreparedImages(second.card).read(np.arange(11)),
        PreparedImages(files.card).read(np.arange(11)),
        atol=1e-5,
    )


def reconstruct(star, *options):
    """Return RELION's map of a star file."""
    out = star.with_suffix(".map.mrc")
    command = ["relion_reconstruct", "--i", star.name, "--o", out.name, "--skip_gridding"]
    subprocess.run([*command, *options], cwd=star.parent, check=True, capture_output=True)
    return read_volume(out)[0].ravel()


@pytest.mark.relion
def test_relion_makes_the_map_of_the_raw_particles_from_corrected_ones(tmp_path):
    """What each correction needs to be told, and what comes of it if it is not."""
    entry = write_fake_entry(tmp_path / "raw", n_particles=300, snr=1.0)
    table = table_of(entry)
    truth = reconstruct(entry.star(0), "--ctf")

    def similarity(correction, *options):
        done = PreprocessingOptions(None, Normalization.NONE, correction, 0.0)
        files = prepare_images(table, tmp_path / str(correction) / "mine", done)
        return np.corrcoef(reconstruct(files.star, *options), truth)[0, 1]

    assert similarity(CtfCorrection.NONE, "--ctf") > 0.99999
    assert similarity(CtfCorrection.CTF_MULTIPLY, "--ctf") > 0.99999
    assert similarity(CtfCorrection.PHASE_FLIP, "--ctf", "--ctf_phase_flipped") > 0.99999
    assert (
        similarity(CtfCorrection.PHASE_FLIP, "--ctf") < 0.95
    )  # the mistake of which the docs warn
    with_ctf, without = (similarity(CtfCorrection.WIENER, *o) for o in (["--ctf"], []))
    assert with_ctf == pytest.approx(without, abs=1e-5)
    assert with_ctf > 0.8


@pytest.mark.relion
def test_relion_accepts_cropped_and_resized_images(tmp_path):
    entry = write_fake_entry(tmp_path / "raw", n_particles=100, snr=100.0)
    files = prepare_images(table_of(entry), tmp_path / "set" / "mine", OPTIONS)
    volume = reconstruct(files.star, "--ctf", "--ctf_phase_flipped")
    assert volume.size == 20**3
