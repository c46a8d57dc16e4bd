"""The stand-in for a second device refuses what a device refuses; its numbers are the CPU's."""

import pytest
import torch
from second_device import ELSEWHERE, FarTensor, back, second_device, there


def test_numbers_are_those_of_the_cpu():
    values = torch.randn(4, 6)
    with second_device():
        far = there(values)
        result = torch.fft.rfft(far @ far.T + torch.arange(4, device=far.device) * 2.0).abs()
    expected = torch.fft.rfft(values @ values.T + torch.arange(4) * 2.0).abs()
    torch.testing.assert_close(back(result), expected)


def test_tensors_of_two_devices_do_not_mix():
    with second_device(), pytest.raises(RuntimeError, match="two devices"):
        there(torch.ones(3)) + torch.ones(3)
    with second_device():
        assert isinstance(there(torch.ones(3)) + torch.tensor(1.0), FarTensor)
        assert isinstance(there(torch.ones(3))[torch.tensor([0, 1])], FarTensor)


def test_numpy_cannot_look():
    with pytest.raises((RuntimeError, TypeError)):
        there(torch.ones(3)).numpy()


def test_what_goes_there_comes_back():
    with second_device():
        far = torch.arange(3.0).to(ELSEWHERE)
        assert isinstance(far, FarTensor)
        far[1] = 7.0
        near = far.cpu()
    assert not isinstance(near, FarTensor)
    assert near.tolist() == [0.0, 7.0, 2.0]


def test_a_result_of_the_wrong_device_is_told():
    with pytest.raises(AssertionError, match="not on the device"):
        back(torch.ones(3))
