"""Encoders: torchvision's names, shared centres, Gaussian channels."""

import functools
import hashlib
import re
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from cesped.errors import CheckpointError, OptionError
from cesped.models.encoders import resnet
from cesped.models.encoders.compact import CompactEncoder
from cesped.models.encoders.resnet import ResNet, load_encoder_weights
from cesped.models.encoders.smoothing import SmoothedChannels
from cesped.models.image2sphere.options import build_encoder

#: Parameters and state entries of torchvision's networks, less the classifier's two.
TORCHVISION = {
    "resnet18": (11_176_512, 120),
    "resnet34": (21_284_672, 216),
    "resnet50": (23_508_032, 318),
    "resnet101": (42_500_160, 624),
    "resnet152": (58_143_808, 930),
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_resnet_has_torchvisions_parameters(name):
    with torch.device("meta"):
        network = ResNet(name)
    parameters, entries = TORCHVISION[name]
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert len(network.state_dict()) == entries
    assert set(network.state_dict()) == torchvisions_names(name)


def torchvisions_names(name):
    """Return the names of parameters and buffers in torchvision's file, the classifier left out.

    Each network's file has the same scheme: a stem, four stages of numbered blocks, and in each
    block two convolutions (three in networks of 50 layers and more) with their normalisations.
    """
    depths = {
        "resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3),
        "resnet101": (3, 4, 23, 3), "resnet152": (3, 8, 36, 3),
    }  # fmt: skip
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    convolutions = 2 if name in ("resnet18", "resnet34") else 3
    layers = [("conv1", "bn1")]
    for stage, blocks in enumerate(depths[name], start=1):
        for block in range(blocks):
            place = f"layer{stage}.{block}"
            layers += [(f"{place}.conv{n}", f"{place}.bn{n}") for n in range(1, convolutions + 1)]
            if block == 0 and (stage > 1 or convolutions == 3):
                layers.append((f"{place}.downsample.0", f"{place}.downsample.1"))
    return {f"{conv}.weight" for conv, _ in layers} | {
        f"{bn}.{part}" for _, bn in layers for part in norm
    }


def test_resnet_map_is_a_32nd_of_the_image():
    network = ResNet("resnet18").eval()
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 512, 2, 2)


def test_weights_with_a_classifier_load(tmp_path):
    network = ResNet("resnet18")
    state = {**network.state_dict(), "fc.weight": torch.zeros(2, 512), "fc.bias": torch.zeros(2)}
    torch.save(state, tmp_path / "weights.pth")
    other = ResNet("resnet18")
    load_encoder_weights(other, "resnet18", str(tmp_path / "weights.pth"))
    torch.testing.assert_close(other.conv1.weight, network.conv1.weight)


def test_foreign_weights_are_refused(tmp_path):
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match=r"broken\.pth cannot be read"):
        load_encoder_weights(ResNet("resnet18"), "resnet18", str(tmp_path / "broken.pth"))
    torch.save({"state": {"a": torch.zeros(1)}}, tmp_path / "nested.pth")
    with pytest.raises(CheckpointError, match=r"nested\.pth are no state dictionary"):
        load_encoder_weights(ResNet("resnet18"), "resnet18", str(tmp_path / "nested.pth"))


def test_weights_of_another_network_are_told_in_a_line(tmp_path):
    state = {**ResNet("resnet18").state_dict(), "a": torch.zeros(1)}
    del state["bn1.weight"], state["bn1.bias"]
    torch.save({**state, "conv1.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError) as raised:
        load_encoder_weights(ResNet("resnet18"), "resnet18", str(tmp_path / "other.pth"))
    assert str(raised.value) == (
        f"encoder weights {tmp_path / 'other.pth'} are not those of resnet18: of its 120 "
        "parameters 2 are missing (bn1.weight), 1 are unknown (a), 1 are of another shape "
        "(conv1.weight); give the file of the network that model.encoder names"
    )


def test_unknown_encoder_is_refused():
    with pytest.raises(OptionError, match="resnet18, resnet34"):
        ResNet("resnet17")


def test_weights_that_would_go_unused_are_refused():
    with pytest.raises(OptionError, match="compact encoder has no published weights"):
        build_encoder("compact", 3, (4, 4, 4), (1, 1, 1), "imagenet")


def test_channels_are_the_image_and_two_gaussians():
    image = np.random.default_rng(0).standard_normal((20, 20)).astype(np.float32)
    channels = SmoothedChannels()(torch.from_numpy(image)[None, None])[0].numpy()
    np.testing.assert_array_equal(channels[0], image)
    for channel, sigma in zip(channels[1:], (1.0, 2.0), strict=True):
        expected = gaussian_filter(image, sigma, mode="nearest", truncate=4.0)
        np.testing.assert_allclose(channel, expected, atol=1e-5)


@pytest.mark.parametrize(("pixels", "expected"), [(32, 5), (33, 5), (16, 3), (64, 9)])
def test_compact_maps_share_the_centre_of_the_image(pixels, expected):
    torch.manual_seed(0)
    encoder = CompactEncoder(1, (4, 4, 4)).eval()
    for parameter in encoder.parameters():  # symmetric filters: the map of a point is symmetric
        parameter.data = parameter.data.abs().mean().expand_as(parameter.data).clone()
    image = torch.zeros(1, 1, pixels, pixels)
    image[0, 0, pixels // 2, pixels // 2] = 1.0
    image = image - encoder.stem[0].weight.sum() * 0
    features = encoder(image)
    assert features.shape[-1] == expected
    torch.testing.assert_close(features, features.flip(-1))
    torch.testing.assert_close(features, features.flip(-2))


def test_weights_that_cannot_be_fetched_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    closed = "http://127.0.0.1:9/resnet18-f37072fd.pth"
    monkeypatch.setitem(resnet._IMAGENET_URLS, "resnet18", closed)
    with pytest.raises(CheckpointError, match=r"127\.0\.0\.1:9.* cannot be had .*model\.weights"):
        load_encoder_weights(ResNet("resnet18"), "resnet18", "imagenet")


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Serve the weights of a resnet18 under their checksum; return the network and a way to lie."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    network = ResNet("resnet18")
    state = {**network.state_dict(), "fc.weight": torch.zeros(2, 512), "fc.bias": torch.zeros(2)}
    served = tmp_path / "served"
    served.mkdir()
    torch.save(state, served / "weights")
    checksum = hashlib.sha256((served / "weights").read_bytes()).hexdigest()
    name = f"resnet18-{checksum[:8]}.pth"
    (served / "weights").rename(served / name)
    handler = functools.partial(QuietHandler, directory=str(served))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/{name}"
    monkeypatch.setitem(resnet._IMAGENET_URLS, "resnet18", url)
    yield network, served / name
    server.shutdown()
    server.server_close()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Say nothing."""


def test_published_weights_are_fetched_once_and_checked(published, capsys):
    network, file = published
    fetched = ResNet("resnet18")
    load_encoder_weights(fetched, "resnet18", "imagenet")
    torch.testing.assert_close(fetched.layer4[1].conv2.weight, network.layer4[1].conv2.weight)
    file.unlink()  # from now on torch's cache has it
    load_encoder_weights(ResNet("resnet18"), "resnet18", "imagenet")


def test_published_weights_that_changed_on_the_way_are_refused(published):
    content = bytearray(published[1].read_bytes())
    content[len(content) // 2] ^= 1
    published[1].write_bytes(content)
    with pytest.raises(CheckpointError, match=r"cannot be had .*invalid hash value"):
        load_encoder_weights(ResNet("resnet18"), "resnet18", "imagenet")
    assert not list(published[1].parents[1].glob("home/**/*.pth"))


def test_every_published_network_has_its_file_and_the_start_of_its_checksum():
    assert set(resnet._IMAGENET_URLS) == set(resnet.RESNET_NAMES)
    for name, url in resnet._IMAGENET_URLS.items():
        assert re.fullmatch(
            rf"https://download\.pytorch\.org/models/{name}-[0-9a-f]{{8}}\.pth", url
        )


def test_weights_of_three_channels_serve_other_numbers_of_them(tmp_path):
    network = ResNet("resnet18").eval()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    other = ResNet("resnet18", channels=7).eval()
    load_encoder_weights(other, "resnet18", str(tmp_path / "weights.pth"))
    image = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        other(image.expand(-1, 7, -1, -1)),
        network(image.expand(-1, 3, -1, -1)),
        atol=1e-4,
        rtol=1e-4,
    )


def test_channels_follow_the_given_gaussians():
    channels = SmoothedChannels([0.75, 3.0, 4.0])
    assert channels.n_channels == 4
    assert channels(torch.zeros(1, 1, 8, 8)).shape == (1, 4, 8, 8)
    with pytest.raises(OptionError, match="must be above 0"):
        SmoothedChannels([1.0, 0.0])


def test_channels_of_two_images_are_those_of_each():
    images = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 2, 20, 20))).float()
    both = SmoothedChannels([1.0, 3.0], images=2)
    assert both.n_channels == 6
    found, single = both(images), SmoothedChannels([1.0, 3.0])
    for number in (0, 1):
        torch.testing.assert_close(found[:, number::2], single(images[:, number : number + 1]))
    with pytest.raises(OptionError, match="at least one"):
        SmoothedChannels(images=0)
