"""Learning from few masks: PseudoSeg's fusion, self-attention Grad-CAM, UniMatch's losses and CutMix."""
