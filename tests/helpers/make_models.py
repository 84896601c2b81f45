"""Makes ``tests/data/models``: small PyTorch networks with seeded weights, exported by both of PyTorch's exporters.

Beside every model lies an npz file with five images and PyTorch's own answers. The tests need only these files;
to make them again::

    pip install torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2
    python tests/helpers/make_models.py
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent.parent / "data" / "models"
N_IMAGES = 5


def networks():
    """Return name -> (module, shape of one image), with weights drawn from the current seed."""
    import torch
    from torch import nn

    class Cnn(nn.Module):
        """Convolutions with batch normalisation, pooling, and a flatten by shape arithmetic."""

        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(2, 6, 3, padding=1, bias=False),
                nn.BatchNorm2d(6),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(6, 8, (3, 1), stride=(1, 2), padding=(1, 0)),
                nn.ReLU(),
                nn.BatchNorm2d(8),
                nn.AdaptiveAvgPool2d((2, 1)),
            )
            self.classifier = nn.Linear(16, 5)

        def forward(self, x):
            x = self.features(x)
            return torch.softmax(self.classifier(x.view(x.size(0), -1)), dim=1)

    class Residual(nn.Module):
        """A depthwise separable block with a skip connection, and a mean over space."""

        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1)
            self.expand = nn.Sequential(nn.Conv2d(6, 12, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU6())
            self.depthwise = nn.Sequential(nn.Conv2d(12, 12, 3, padding=1, groups=12), nn.ReLU6())
            self.project = nn.Sequential(nn.Conv2d(12, 6, 1, bias=False), nn.BatchNorm2d(6))
            self.slopes = nn.PReLU(6)
            self.leak = nn.LeakyReLU(0.2)
            self.head = nn.Linear(6, 4)

        def forward(self, x):
            x = self.leak(self.stem(x))
            x = x + self.project(self.depthwise(self.expand(x)))
            return self.head(self.slopes(x).mean((2, 3)))

    class Decoder(nn.Module):
        """A code made an image by transposed convolutions and nearest-neighbour upsampling."""

        def __init__(self):
            super().__init__()
            self.dense = nn.Linear(7, 4 * 3 * 2)
            self.images = nn.Sequential(
                nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=(1, 0)),
                nn.ReLU(),
                nn.ConvTranspose2d(6, 4, (2, 3), groups=2),
                nn.ReLU(),
                nn.Upsample(scale_factor=2, mode="nearest"),
                nn.Conv2d(4, 1, 3, padding=1),
                nn.Sigmoid(),
            )

        def forward(self, x):
            return self.images(torch.relu(self.dense(x)).view(-1, 4, 3, 2))

    class Shuffle(nn.Module):
        """A unit of ShuffleNet: half of the channels convolved, both halves concatenated and shuffled."""

        def __init__(self):
            super().__init__()
            self.branch = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, groups=3), nn.Conv2d(3, 3, 1), nn.ReLU())
            self.head = nn.Conv2d(6, 4, (5, 3))

        def forward(self, x):
            for _ in range(2):
                kept, convolved = x.chunk(2, dim=1)
                x = torch.cat([kept, self.branch(convolved)], dim=1)
                n, channels, height, width = x.size()
                x = x.view(n, 2, channels // 2, height, width).transpose(1, 2).contiguous()
                x = x.view(n, -1, height, width)
            return torch.flatten(self.head(x), 1)

    mlp = nn.Sequential(nn.Flatten(), nn.Linear(35, 9), nn.ReLU(), nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 4))
    return {
        "mlp": (mlp, (7, 5)),
        "cnn": (Cnn(), (2, 9, 13)),
        "residual": (Residual(), (3, 9, 7)),
        "decoder": (Decoder(), (7,)),
        "shuffle": (Shuffle(), (6, 5, 7)),
    }


def main():
    """Export every network by both routes, one file each, and write the images and answers beside them."""
    import onnx
    import torch

    torch.manual_seed(0)
    FOLDER.mkdir(exist_ok=True)
    for name, (module, shape) in networks().items():
        for part in module.modules():
            if isinstance(part, torch.nn.BatchNorm2d):  # as after training: no number is 0 or 1 by chance
                for tensor in (part.weight.data, part.running_var):
                    tensor.uniform_(0.5, 1.5)
                for tensor in (part.bias.data, part.running_mean):
                    tensor.uniform_(-0.5, 0.5)
        for weight in module.parameters():
            if weight.dim() > 1:  # PyTorch's initial weights are so small that the answers would hardly vary
                weight.data *= 2.0
        module.eval()
        x = torch.rand(N_IMAGES, *shape)
        with torch.no_grad():
            y = module(x)
        np.savez(FOLDER / f"{name}.npz", x=x.numpy(), y=y.numpy())
        names = {"input_names": ["image"], "output_names": ["scores"]}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the TorchScript exporter is deprecated, and still what many use
            torch.onnx.export(
                module,
                (x,),
                FOLDER / f"{name}-torchscript.onnx",
                dynamo=False,
                opset_version=12,  # the newest that the oldest stack reads
                dynamic_axes={"image": {0: "batch"}, "scores": {0: "batch"}},
                **names,
            )
            torch.onnx.export(
                module,
                (x,),
                FOLDER / f"{name}-dynamo.onnx",
                dynamo=True,
                external_data=False,
                verbose=False,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                **names,
            )
        for path in FOLDER.glob(f"{name}-*.onnx"):
            model = onnx.load(str(path))
            for node in model.graph.node:  # the exporters note the paths of the machine that they run on
                node.ClearField("metadata_props")
                node.ClearField("doc_string")
            model.graph.ClearField("metadata_props")
            onnx.save(model, str(path))


if __name__ == "__main__":
    sys.exit(main())
