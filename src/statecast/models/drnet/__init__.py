"""DrNet: content and pose of a video apart, by an adversary that compares scenes."""
