"""RAM in plain PyTorch, its glimpses cut out image by image.

The network of `keras_edram.models.RAM` with the dense glimpse network and an
LSTM, written as public implementations are: a Python loop over the images of
the batch cuts each patch out of the padded picture, scale by scale; the wider
ones are averaged down, a batch at once.
"""

import torch
from torch import nn

DEVIATION = 0.15


class LoopedRAM(nn.Module):
    """Scales twice as wide each; sizes as of `RAM`."""

    def __init__(
        self, num_glimpses, glimpse_size, num_scales, units, hidden_units
    ):
        super().__init__()
        self.num_glimpses = num_glimpses
        self.glimpse_size = glimpse_size
        self.num_scales = num_scales
        self.units = units
        self.what = nn.Linear(num_scales * glimpse_size**2, hidden_units)
        self.where = nn.Linear(2, hidden_units)
        self.what_output = nn.Linear(hidden_units, units)
        self.where_output = nn.Linear(hidden_units, units)
        self.core = nn.LSTMCell(units, units)
        self.action = nn.Linear(units, 10)
        self.location = nn.Linear(units, 2)
        self.baseline = nn.Linear(units, 1)

    def read(self, images, locations):
        scales = [
            self.read_scale(images, locations, 2**scale)
            for scale in range(self.num_scales)
        ]
        return torch.cat(scales, dim=1).flatten(1)

    def read_scale(self, images, locations, width):
        side = self.glimpse_size * width
        size = images.shape[-1]
        padded = nn.functional.pad(images, (side,) * 4)
        centre = (0.5 * (locations + 1.0) * size).long()
        corner = centre + side - side // 2
        patches = []
        for image in range(len(images)):
            x, y = corner[image]
            patches.append(padded[image, :, y : y + side, x : x + side])
        patches = torch.stack(patches)
        return (
            nn.functional.avg_pool2d(patches, width) if width > 1 else patches
        )

    def forward(self, images):
        locations = torch.zeros(len(images), 2)
        state = None
        decisions = []
        for _ in range(self.num_glimpses):
            what = torch.relu(self.what(self.read(images, locations)))
            where = torch.relu(self.where(locations))
            glimpse = torch.relu(
                self.what_output(what) + self.where_output(where)
            )
            state = self.core(glimpse, state)
            hidden = state[0].detach()
            means = torch.tanh(self.location(hidden))
            drawn = (means + DEVIATION * torch.randn_like(means)).detach()
            decisions.append((means, drawn, self.baseline(hidden)[:, 0]))
            locations = drawn.clamp(-1, 1)
        return self.action(state[0]), decisions[:-1]


def make_step(images, labels, **sizes):
    """A function that trains one batch with Adam; images (B, H, W, 1)."""
    torch.manual_seed(0)
    model = LoopedRAM(**sizes)
    optimiser = torch.optim.Adam(model.parameters())
    images = torch.from_numpy(images).permute(0, 3, 1, 2)
    labels = torch.from_numpy(labels).long()

    def step():
        logits, decisions = model(images.float() / 255)
        loss = nn.functional.cross_entropy(logits, labels)
        rewards = (logits.argmax(1) == labels).float()
        for means, drawn, baselines in decisions:
            log_policy = -((drawn - means) ** 2).sum(1) / (2 * DEVIATION**2)
            advantages = rewards - baselines.detach()
            loss = loss - (advantages * log_policy).mean()
            loss = loss + ((rewards - baselines) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return float(loss.detach())

    step()
    return step
