"""The networks: backbones, the classifier, AffinityNet, the boundary network and the segmenter."""
