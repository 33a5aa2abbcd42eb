"""DrNet: content and pose of a video, separated by an adversary that compares scenes."""
