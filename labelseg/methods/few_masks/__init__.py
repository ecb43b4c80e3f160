"""Training from few masks and many images: samples of both, checks of the data, and the losses of a step."""
