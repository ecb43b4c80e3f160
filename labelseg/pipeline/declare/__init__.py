"""What a stage is, and which instances a workspace has with which parameters."""
