"""The page on which the masks of a whole data set are looked through and marked: a local server, live on the workspace."""
