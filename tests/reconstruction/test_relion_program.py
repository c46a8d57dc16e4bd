"""How `relion_reconstruct` is called, with a shell script in its place: no RELION is needed."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from cesped.data.conventions import read_particle_table
from cesped.errors import OptionError, PixelSizeError, ProgramError, ProgramNotFoundError
from cesped.io.mrc import write_volume
from cesped.io.star import read_star
from cesped.reconstruction import programs
from cesped.reconstruction.protocol import PoseSet, ReconstructionOptions
from cesped.reconstruction.relion import RelionReconstructor
from cesped.reconstruction.relion_star import write_relion_star

OPTIONS = ReconstructionOptions()


@pytest.fixture
def temporary_folders(tmp_path, monkeypatch):
    """Put temporary folders where the test can see whether they were removed."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


SAYS_VERSION = """
for word; do
    if [ "$word" = --version ]; then echo "RELION version: 3.1.3"; exit; fi
done
"""


def install(folder, name, script, beginning=SAYS_VERSION):
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{beginning}\n{script}\n")
    program.chmod(0o755)
    return folder


@pytest.fixture
def recorder(tmp_path):
    """A folder with programs that write down how they were called and leave a map behind."""
    write_volume(tmp_path / "given.mrc", np.full((24, 24, 24), 0.5, np.float32), 2.0)
    script = (
        f'echo "$(basename "$0") $*" >> {tmp_path}/calls\n'
        f"cp -P stack_0_00000.mrcs particles.star {tmp_path}/\n"
        f"cp {tmp_path}/given.mrc map.mrc"
    )
    for name in ("relion_reconstruct", "relion_reconstruct_mpi", "mpirun", "apptainer"):
        install(tmp_path / "bin", name, script)
    return tmp_path


def test_a_map_is_returned_and_nothing_left_behind(small_table, recorder, temporary_folders):
    reconstructor = RelionReconstructor(bin_dir=recorder / "bin")
    options = ReconstructionOptions("D2", gridding=False)
    (volume,) = reconstructor.reconstruct(small_table, [PoseSet(small_table.poses)], options)
    assert volume.dtype == np.float32
    assert (volume == 0.5).all()
    assert (recorder / "calls").read_text() == (
        "relion_reconstruct --i particles.star --o map.mrc --pad 2 --sym d2 --ctf --skip_gridding\n"
    )
    assert list(temporary_folders.iterdir()) == []


def test_the_star_file_says_what_the_table_says(small_table, tmp_path):
    weights = np.linspace(0.1, 1, 60)
    pose_set = PoseSet(small_table.poses, weights)
    write_relion_star(tmp_path / "out.star", [small_table], [pose_set], 2.0, with_ctf=True)
    written = read_particle_table(tmp_path / "out.star")
    np.testing.assert_allclose(written.poses.rotations, small_table.poses.rotations, atol=1e-9)
    np.testing.assert_allclose(written.poses.origins_angst, small_table.poses.origins_angst)
    for name in ("defocus_u_angst", "phase_shift_deg", "voltage_kv", "amplitude_contrast", "scale"):
        np.testing.assert_array_equal(getattr(written.ctf, name), getattr(small_table.ctf, name))
    np.testing.assert_array_equal(written.section, small_table.section)
    tables = read_star(tmp_path / "out.star")
    assert len(tables["optics"]) == 2
    np.testing.assert_array_equal(tables["particles"]["rlnParticleFigureOfMerit"], weights)
    link = tmp_path / "stack_0_00000.mrcs"
    assert os.path.samefile(link, small_table.stacks[0])


def test_both_halves_make_one_star_file(small_table, tmp_path):
    halves = (small_table.select(np.arange(20)), small_table.select(np.arange(20, 60)))
    pose_sets = [PoseSet(table.poses) for table in halves]
    write_relion_star(tmp_path / "out.star", halves, pose_sets, 2.0, with_ctf=False)
    written = read_particle_table(tmp_path / "out.star")
    assert len(written) == 60
    assert written.ctf is None
    np.testing.assert_array_equal(written.section, small_table.section)


def test_weights_and_no_ctf_are_passed_on(small_table, recorder):
    reconstructor = RelionReconstructor(bin_dir=recorder / "bin")
    weighted = PoseSet(small_table.poses, small_table.poses.confidence)
    reconstructor.reconstruct(small_table, [weighted], replace(OPTIONS, ctf=False))
    arguments = (recorder / "calls").read_text().split()
    assert "--fom_weighting" in arguments
    assert "--ctf" not in arguments


def test_several_processes_run_under_mpi(small_table, recorder, monkeypatch):
    monkeypatch.setenv("PATH", f"{recorder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    reconstructor = RelionReconstructor(n_processes=3, mpirun="mpirun --verbose")
    reconstructor.reconstruct(small_table, [PoseSet(small_table.poses)], OPTIONS)
    words = (recorder / "calls").read_text().split()
    assert words[:4] == ["mpirun", "--verbose", "-n", "3"]
    assert words[4].endswith("bin/relion_reconstruct_mpi")


def test_a_container_sees_the_stacks(small_table, recorder, monkeypatch):
    monkeypatch.setenv("PATH", str(recorder / "bin") + os.pathsep + os.environ["PATH"])
    image = recorder / "relion.sif"
    image.touch()
    reconstructor = RelionReconstructor(container=image)
    reconstructor.reconstruct(small_table, [PoseSet(small_table.poses)], OPTIONS)
    words = (recorder / "calls").read_text().split()
    assert words[:2] == ["apptainer", "exec"]
    assert str(small_table.stacks[0].resolve().parent) in words
    assert words[words.index(str(image)) + 1] == "relion_reconstruct"


def test_the_folder_of_the_programs_may_be_relative(small_table, recorder, monkeypatch):
    monkeypatch.chdir(recorder)
    reconstructor = RelionReconstructor(bin_dir="bin")
    reconstructor.reconstruct(small_table, [PoseSet(small_table.poses)], OPTIONS)
    assert (recorder / "calls").exists()


def test_what_is_not_installed_is_named(small_table, tmp_path, monkeypatch):
    pose_sets = [PoseSet(small_table.poses)]
    with pytest.raises(ProgramNotFoundError, match=r"relion_reconstruct is not in /nowhere; .*apt"):
        RelionReconstructor(bin_dir="/nowhere").reconstruct(small_table, pose_sets, OPTIONS)
    with pytest.raises(ProgramNotFoundError, match=r"no\.sif does not exist.*--relionSingularity"):
        RelionReconstructor(container="/no.sif").version()
    image = tmp_path / "relion.sif"
    image.touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramNotFoundError, match=r"on PATH; .*native backend"):
        RelionReconstructor().version()
    with pytest.raises(ProgramNotFoundError, match="neither apptainer nor singularity"):
        RelionReconstructor(container=image).version()
    install(tmp_path, "relion_reconstruct", "true")
    install(tmp_path, "relion_reconstruct_mpi", "true")
    with pytest.raises(ProgramNotFoundError, match="--mpirun"):
        RelionReconstructor(n_processes=2).reconstruct(small_table, pose_sets, OPTIONS)
    with pytest.raises(OptionError, match="n_processes is 0"):
        RelionReconstructor(n_processes=0)


def test_a_failure_shows_the_end_of_the_log(small_table, tmp_path, temporary_folders):
    script = "seq 1 30; printf '10%%\\r100%%\\n'; echo 'ERROR: out of memory' >&2; exit 3"
    folder = install(tmp_path / "bin", "relion_reconstruct", script)
    reconstructor = RelionReconstructor(bin_dir=folder)
    with pytest.raises(ProgramError) as caught:
        reconstructor.reconstruct(small_table, [PoseSet(small_table.poses)], OPTIONS)
    message = str(caught.value)
    assert "relion_reconstruct ended with status 3" in message
    assert message.endswith("    30\n    100%\n    ERROR: out of memory")
    assert "    5\n" not in message
    assert list(temporary_folders.iterdir()) == []


def test_success_without_a_map_is_a_failure(small_table, tmp_path):
    folder = install(tmp_path / "bin", "relion_reconstruct", "echo done")
    reconstructor = RelionReconstructor(bin_dir=folder)
    with pytest.raises(ProgramError, match="wrote no map"):
        reconstructor.reconstruct(small_table, [PoseSet(small_table.poses)], OPTIONS)


def test_a_program_that_does_not_say_its_version_is_not_trusted(small_table, tmp_path):
    folder = install(tmp_path / "bin", "relion_reconstruct", "echo done", beginning="")
    with pytest.raises(ProgramError, match="did not say its version"):
        RelionReconstructor(bin_dir=folder).version()


@pytest.mark.parametrize(("said", "message"), [("2.1.0", "RELION 2.1.0"), ("3.0-beta", "RELION 3")])
def test_an_old_version_is_refused_before_it_runs(small_table, tmp_path, said, message):
    folder = install(
        tmp_path / "bin",
        "relion_reconstruct",
        f'[ "$1" = --version ] && echo "RELION version: {said}" && exit\ntouch {tmp_path}/ran',
        beginning="",
    )
    with pytest.raises(
        ProgramError, match=rf"is {message}.* knows no optics groups; use RELION 3.1"
    ):
        RelionReconstructor(bin_dir=folder).reconstruct(
            small_table, [PoseSet(small_table.poses)], OPTIONS
        )
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("said", ["3.1.3", "4.0.1-commit-abc", "5.0"])
def test_later_versions_are_taken(tmp_path, said):
    folder = install(
        tmp_path / "bin", "relion_reconstruct", f'echo "RELION version: {said}"', beginning=""
    )
    reconstructor = RelionReconstructor(bin_dir=folder)
    reconstructor._check_version()
    assert reconstructor.version() == f"RELION {said}"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo inserting; kill -KILL $$", r"was killed \(SIGKILL\): .* memory ran out"),
        ("echo inserting; kill -SEGV $$", "was ended by signal SIGSEGV"),
        ("echo inserting; exit 137", r"was killed \(SIGKILL\)"),  # how mpirun tells it
    ],
)
def test_a_killed_program_is_told_from_a_failed_one(small_table, tmp_path, script, message):
    folder = install(tmp_path / "bin", "relion_reconstruct", script)
    with pytest.raises(ProgramError, match=message) as caught:
        RelionReconstructor(bin_dir=folder).reconstruct(
            small_table, [PoseSet(small_table.poses)], OPTIONS
        )
    assert str(caught.value).endswith("its last words:\n    inserting")


def test_the_folder_of_a_killed_run_is_removed_by_the_next(
    small_table, recorder, temporary_folders
):
    words = "import os, signal, sys; from cesped.io.files import staging_folder\n"
    words += f"with staging_folder({str(temporary_folders)!r}, 'cesped-relion') as folder:\n"
    words += "    (folder / 'particles.star').touch(); os.kill(os.getpid(), signal.SIGKILL)"
    subprocess.run([sys.executable, "-c", words], check=False)
    assert len(list(temporary_folders.iterdir())) == 1
    reconstructor = RelionReconstructor(bin_dir=recorder / "bin")
    reconstructor.reconstruct(small_table, [PoseSet(small_table.poses)], OPTIONS)
    assert list(temporary_folders.iterdir()) == []


def test_an_interrupted_program_is_ended_even_if_it_will_not(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "_PATIENCE_S", 1.5)
    pid_file = tmp_path / "pid"
    install(tmp_path, "stubborn", f"trap '' TERM; echo $$ > {pid_file}; sleep 60 & wait; sleep 60")

    awaited = threading.Event()

    class Program(subprocess.Popen):
        def wait(self, timeout=None):
            awaited.set()  # no sooner: an interrupt before would be one of the start
            while timeout is None and self.poll() is None:
                time.sleep(0.01)  # one that comes just before a system call would end it late
            return super().wait(timeout)

    monkeypatch.setattr(programs.subprocess, "Popen", Program)

    def interrupt():
        awaited.wait()
        while not pid_file.exists() or not pid_file.read_text().strip():
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    # a shell's background jobs, such as these tests may be, ignore interrupts
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            programs.run_program([str(tmp_path / "stubborn")], tmp_path)
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_what_is_no_program_is_named(small_table, tmp_path):
    folder = install(tmp_path / "bin", "relion_reconstruct", "")
    (folder / "relion_reconstruct").write_bytes(b"\x00\x01")
    with pytest.raises(ProgramError, match="cannot be started"):
        RelionReconstructor(bin_dir=folder).version()


def test_halves_sampled_differently_are_refused(small_table, recorder):
    other = replace(small_table, pixel_size_angst=np.full(60, 1.5))
    pair = (PoseSet(small_table.poses), PoseSet(other.poses))
    reconstructor = RelionReconstructor(bin_dir=recorder / "bin")
    with pytest.raises(PixelSizeError, match="sampled alike"):
        reconstructor.reconstruct_halves((small_table, other), [pair], OPTIONS)
    maps = reconstructor.reconstruct_halves((small_table, small_table), [pair], OPTIONS)
    assert maps[0].full.shape == (24, 24, 24)
    assert len((recorder / "calls").read_text().splitlines()) == 3
