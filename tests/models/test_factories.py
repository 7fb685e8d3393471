import sys

import pytest
import torch
from torch import nn

from flatselect.errors import ModelError
from flatselect.models import GapCnn, build_model, count_parameters

USER_CODE = """
from torch import nn


class Net(nn.Module):
    def __init__(self, n_classes, in_channels, width=4):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(width, n_classes),
        )

    def forward(self, x):
        return self.layers(x)


def make_all(**kwargs):
    return Net(**kwargs)


def make_flat(num_classes, input_shape, *, hidden):
    channels, height, width = input_shape
    return nn.Sequential(
        nn.Flatten(), nn.Linear(channels * height * width, hidden), nn.ReLU(), nn.Linear(hidden, num_classes)
    )


def make_number(n_classes):
    return n_classes


def make_trouble(n_classes):
    raise ValueError("no such thing")


def make_pair(n_classes):
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    return Pair()


CONSTANT = 3
"""


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "nets_of_a_user.py").write_text(USER_CODE)
    (tmp_path / "needs_more.py").write_text("import a_library_nobody_has\n")
    (tmp_path / "is_broken.py").write_text("1 / 0\n")
    yield "nets_of_a_user"
    for name in ("nets_of_a_user", "needs_more", "is_broken"):
        sys.modules.pop(name, None)


def build(name, args=(), input_shape=(1, 8, 8), n_classes=5):
    return build_model(name, dict(args), input_shape, n_classes)


def test_the_built_in_family():
    model = build("cnn", {"width": 4, "stages": 1})
    assert isinstance(model, GapCnn)
    assert model.training
    # The check of the output has left no trace in the running statistics.
    assert model.stem.norm.num_batches_tracked == 0
    assert model.stem.norm.running_var.eq(1).all()


@pytest.mark.parametrize("input_shape", [(1, 32, 32), (3, 32, 32)])
def test_torchvision_models_take_grey_and_colour(input_shape):
    torch.manual_seed(0)
    model = build("torchvision:resnet18", input_shape=input_shape).eval()
    images = torch.randn(2, *input_shape)
    torch.manual_seed(0)
    bare = build("torchvision:resnet18", input_shape=(3, 32, 32)).eval()
    assert torch.equal(model(images), bare(images.expand(-1, 3, -1, -1)))
    assert model(images).shape == (2, 5)


def test_torchvision_arguments_are_handed_on():
    model = build("torchvision:mobilenet_v2", {"dropout": 0.7, "width_mult": 0.25}, (3, 32, 32))
    assert model.classifier[0].p == 0.7
    assert count_parameters(model) < 500_000


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_torchvision_models_with_auxiliary_classifiers_return_logits_in_training(name):
    model = build(f"torchvision:{name}", input_shape=(3, 80, 80))
    with torch.no_grad():
        assert model(torch.randn(2, 3, 80, 80)).shape == (2, 5)


def test_user_factories_are_given_what_their_signatures_name(user_module):
    model = build(f"{user_module}:Net", {"width": 7}, (2, 8, 8))
    assert model.layers[0].weight.shape == (7, 2, 3, 3)
    assert model.layers[-1].out_features == 5
    assert build(f"{user_module}:make_all", {"width": 3}).layers[0].out_channels == 3
    assert build(f"{user_module}:make_flat", {"hidden": 6})[1].weight.shape == (6, 64)


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("resnet18", {}, "unknown model 'resnet18'; expected cnn, torchvision:NAME, timm:NAME or module:function"),
        ("torchvision:", {}, "unknown model"),
        (":function", {}, "unknown model"),
        ("cnn", {"blok": "plain"}, "blok = 'plain': unknown key; did you mean 'block'?"),
        ("cnn", {"width": 0}, "cnn: width = 0: .*greater than or equal to 1"),
        ("cnn", {"norm": "layer"}, "norm = 'layer': should be 'batch', 'group' or 'none'"),
        ("torchvision:resnet81", {}, "no classification model 'resnet81'; did you mean resnet18"),
        ("torchvision:xyz", {}, "expected one of alexnet"),
        ("torchvision:fasterrcnn_resnet50_fpn", {}, "no classification model"),
        ("torchvision:resnet18", {"depth": 3}, "cannot be built with {'depth': 3}: .*unexpected keyword"),
        ("torchvision:resnet18", {"num_classes": 3}, "argument 'num_classes' is set for you"),
        ("torchvision:resnet18", {"weights": "DEFAULT"}, "argument 'weights' is set for you"),
        ("torchvision:alexnet", {}, "cannot take an image of 1×8×8 .*data.image_size"),
        ("torchvision:vit_b_32", {}, "cannot take an image of 1×8×8 .*Expected 224 but got 8"),
        ("no_such_module:make", {}, "no module named 'no_such_module'; expected one that Python can import"),
        ("torch.nothing:make", {}, "no module named 'torch.nothing'"),
        ("needs_more:make", {}, "module 'needs_more' needs 'a_library_nobody_has', which is not installed"),
        ("is_broken:make", {}, "importing 'is_broken' raised ZeroDivisionError: division by zero"),
        ("nets_of_a_user:make_al", {}, "has no function 'make_al'; did you mean 'make_all'?"),
        ("nets_of_a_user:xyz", {}, "has no function 'xyz'; it has Net, make_all, make_flat"),
        ("nets_of_a_user:CONSTANT", {}, "has no function 'CONSTANT'"),
        ("nets_of_a_user:Net", {"depth": 2}, "cannot be called with .*depth=2: got an unexpected keyword"),
        ("nets_of_a_user:make_flat", {}, "missing a required .*'hidden'"),
        ("nets_of_a_user:make_number", {}, "returned int; expected a torch.nn.Module"),
        ("nets_of_a_user:make_trouble", {}, "raised ValueError: no such thing"),
        ("nets_of_a_user:make_pair", {}, "returned tuple for one image of 1×8×8; expected logits of shape"),
        ("nets_of_a_user:Net", {"n_classes": 4}, r"of shape \(1, 4\) for one image .* shape \(1, 5\)"),
        ("torch.nn:Identity", {}, r"a tensor of shape \(1, 1, 8, 8\)"),
    ],
)
@pytest.mark.usefixtures("user_module")
def test_what_is_wrong_is_said(name, args, message):
    with pytest.raises(ModelError, match=message):
        build(name, args)


def test_other_numbers_of_channels_are_refused_by_torchvision():
    with pytest.raises(ModelError, match="takes images of 1 or 3 channels, not 4"):
        build("torchvision:resnet18", input_shape=(4, 32, 32))


def test_timm_models():
    timm = pytest.importorskip("timm", reason="timm is an optional dependency")
    assert build("timm:resnet18", {"drop_rate": 0.1}, (1, 32, 32)).conv1.in_channels == 1
    with pytest.raises(ModelError, match="no model 'resnet81'; did you mean"):
        build("timm:resnet81")
    with pytest.raises(ModelError, match=r"cannot be built with \{'colour': 1\}"):
        build("timm:resnet18", {"colour": 1})
    with pytest.raises(ModelError, match="argument 'in_chans' is set for you"):
        build("timm:resnet18", {"in_chans": 1})
    assert timm.is_model("resnet18")


def test_timm_missing_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)  # as if it were not installed
    with pytest.raises(ModelError, match=r"pip install 'flatselect\[timm\]'"):
        build("timm:resnet18")


def test_trainable_parameters_are_counted_once():
    layer = nn.Linear(3, 4)
    assert count_parameters(nn.Sequential(layer, nn.ReLU(), layer)) == 16
    layer.bias.requires_grad_(False)
    assert count_parameters(layer) == 12
