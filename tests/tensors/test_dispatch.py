import os

import pytest
import torch


@pytest.mark.skipif("ATEN_CPU_CAPABILITY" not in os.environ, reason="only make test-dispatch chooses other kernels")
def test_the_kernels_are_those_that_were_chosen():
    assert torch.backends.cpu.get_cpu_capability() == os.environ["ATEN_CPU_CAPABILITY"].upper()
