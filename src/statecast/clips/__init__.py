"""Videos and folders of frames: found, decoded, cropped and sized, written."""
