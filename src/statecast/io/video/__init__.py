"""Videos and folders of images: found, decoded, prepared, encoded."""
