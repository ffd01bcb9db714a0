"""What tests of encoders share."""

import pytest


@pytest.fixture(scope="module")
def one_torch_thread():
    """Sums are added up in one order, whatever the machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
