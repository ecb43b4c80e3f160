"""Files and folders in the making."""
