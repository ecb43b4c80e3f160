"""The image classifier whose class activation maps start the chain."""

from __future__ import annotations

from torch import Tensor, nn

from labelseg.models.encoders.base import Backbone
from labelseg.models.heads.joint_features import joint_features


class Classifier(nn.Module):
    """Multi-label classifier: global average of the last tap, then one weight per channel and class, without bias.

    Without a bias the logit of a class is the mean of its activation map, which is what makes the map an explanation.

    Args:
        backbone: Its last tap is read.
        n_classes: Number of classes without background.
        dropout: Probability with which a channel of the last tap is dropped in training.

    Source: Ahn & Kwak 2018; psa.md 1.4; the published head has dropout 0.5.
    """

    def __init__(self, backbone: Backbone, n_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.settings = {"n_classes": n_classes, "dropout": dropout}
        self.backbone = backbone
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(backbone.channels[-1], n_classes, 1, bias=False)
        nn.init.xavier_uniform_(self.classify.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits (B, K) of normalised images (B, 3, H, W)."""
        features = self.dropout(self.backbone(x)[-1])
        return self.classify(features.mean(dim=(2, 3), keepdim=True))[:, :, 0, 0]

    def cam(self, x: Tensor) -> Tensor:
        """Compute class activation maps (B, K, h, w) >= 0 of normalised images (B, 3, H, W), before any normalisation."""
        maps = self.classify(self.backbone(x)[-1]).relu()
        return maps.sqrt() if self.backbone.root_of_maps else maps

    def features(self, x: Tensor) -> Tensor:
        """Compute features to compare places by: the last two taps, each of unit length, on the grid of the finer one.

        Args:
            x: (B, 3, H, W), normalised.

        Returns:
            (B, D, h, w), D channels of both taps; zeros where a tap is silent.
        """
        return joint_features(self.backbone(x)[-2:])
