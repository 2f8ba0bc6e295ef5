"""The networks: small, at first without effect, and the same in their files as in PyTorch."""

import functools

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: run in .venv-training (`make test-training`)")
pytest.importorskip("onnxscript", reason="needs onnxscript: run in .venv-training (`make test-training`)")

from etlab.course.benchmark.training import study  # noqa: E402
from etlab.solvers import LEARNED  # noqa: E402
from etlab.solvers.learned._deeprecon import NEIGHBOURS, band_reconstructions  # noqa: E402
from training import data, export  # noqa: E402
from training.networks import dncnn, halve, n_parameters  # noqa: E402
from training.networks.deeprecon import DeepRecon  # noqa: E402
from training.networks.diffusion import Diffusion  # noqa: E402
from training.recipes import RECIPES  # noqa: E402
from training.study import everything  # noqa: E402

# each once: cryoCARE's is also IsoNet's and TomoGAN's
NETWORKS = {recipe.network: name for name, recipe in RECIPES.items()}
# PyTorch takes longer to trace a layer than to train it, and a second one of the same kind shows nothing new
ONE_LAYER = {"swin": {"groups": 1}, "transformer": {"layers": 1}}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """For networks as small as these, one is fastest."""
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", NETWORKS.values())
def test_networks_are_small(name):
    assert n_parameters(RECIPES[name].network()) <= 1_000_000


@pytest.mark.parametrize("name", NETWORKS.values())
def test_the_onnx_file_gives_what_pytorch_gives_on_three_shapes(name, tmp_path, monkeypatch):
    monkeypatch.setattr(dncnn, "DILATIONS", (2,))
    make = functools.partial(RECIPES[name].network, **ONE_LAYER.get(name, {}))
    torch.manual_seed(0)
    network = make()
    for parameter in network.parameters():
        if not parameter.any():  # a last layer at zero would hide everything before it
            torch.nn.init.normal_(parameter, std=0.05)
    for name_of, statistic in network.named_buffers():
        if name_of.endswith(("running_mean", "running_var")):  # 0 and 1 would hide a normalisation left out
            torch.nn.init.uniform_(statistic, 0.5, 1.5)
    assert export.export(network, tmp_path / f"{name}.onnx") <= 1e-5

    torch.manual_seed(1)
    again = make().eval()
    export.restore(again, tmp_path / f"{name}.onnx")
    slices = torch.rand(1, network.channels, 4 * network.multiple, 4 * network.multiple) + 0.01
    with torch.no_grad():
        assert torch.equal(again(slices), network(slices))


class Doubled(torch.nn.Module):
    """A network that is soon exported."""

    multiple, channels = 2, 1

    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor([2.0]))

    def forward(self, slices):
        return self.factor * slices


def test_a_file_that_differs_from_the_network_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "largest_difference", lambda network, path: 1e-3)
    with pytest.raises(export.ExportError, match=r"differs from PyTorch by 1\.0e-03"):
        export.export(Doubled(), tmp_path / "doubled.onnx")
    assert list(tmp_path.iterdir()) == []


def test_parameters_of_another_network_or_of_none_are_not_taken(tmp_path):
    export.export(Doubled(), tmp_path / "doubled.onnx")
    with pytest.raises(export.ExportError, match=r"doubled\.onnx: 53 of 53 parameters are not there"):
        export.restore(RECIPES["isonet"].network(), tmp_path / "doubled.onnx")
    (tmp_path / "words.onnx").write_text("not a network")
    with pytest.raises(export.ExportError, match=r"words\.onnx: not an ONNX file"):
        export.restore(Doubled(), tmp_path / "words.onnx")
    with pytest.raises(FileNotFoundError, match=r"none\.onnx"):
        export.restore(Doubled(), tmp_path / "none.onnx")


@pytest.mark.parametrize("name", ["dncnn", "cryocare", "transformer", "swin", "unrolled", "tomogan"])
def test_an_untrained_network_changes_nothing(name):
    network = RECIPES[name].network().eval()
    slices = torch.rand(1, network.channels, 32, 64)
    with torch.no_grad():
        assert torch.equal(network(slices), slices[:, network.centre : network.centre + 1])


def test_without_noise_the_prior_believes_what_it_sees():
    network = Diffusion().eval()
    torch.nn.init.normal_(network.body.leave[0].weight)
    slices = torch.cat([torch.rand(1, 3, 16, 16), torch.full((1, 1, 16, 16), 1e-6)], dim=1)
    with torch.no_grad():
        assert torch.allclose(network(slices), slices[:, 1:2], atol=1e-3)


def test_the_way_down_can_be_the_splitting_of_voxels_into_channels():
    # a convolution of 6 × 6 at stride 2 holds pixel_unshuffle followed by one of 3 × 3 as a special case
    split = torch.nn.Conv2d(4 * 2, 5, 3, padding=1)
    whole = halve(2, 5)
    with torch.no_grad():
        whole.weight.copy_(torch.nn.functional.pixel_shuffle(split.weight, 2))
        whole.bias.copy_(split.bias)
        slices = torch.rand(1, 2, 8, 12)
        assert torch.allclose(whole(slices), split(torch.nn.functional.pixel_unshuffle(slices, 2)), atol=1e-5)


def test_the_bands_of_the_network_are_those_of_the_solver():
    operator = data.model("small")
    bands = band_reconstructions(operator, np.zeros(operator.geometry.images_shape, np.float32))
    assert DeepRecon().channels == len(bands) * NEIGHBOURS


def test_the_study_trains_every_shipped_row_first_and_nothing_twice():
    trainings = everything()
    assert [one.method for one in trainings[: len(LEARNED)]] == list(LEARNED)
    assert len(set(trainings)) == len(trainings)
    assert set(study()) <= set(trainings)
    assert set(LEARNED.values()) == set(RECIPES)
