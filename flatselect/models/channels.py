"""Grey images for networks made for colour."""

from torch import Tensor, nn


class RepeatChannels(nn.Module):
    """Repeats the one channel of (n_images, 1, height, width) n_channels times."""

    def __init__(self, n_channels: int = 3):
        super().__init__()
        self.n_channels = n_channels

    def forward(self, images: Tensor) -> Tensor:
        return images.expand(-1, self.n_channels, -1, -1)
