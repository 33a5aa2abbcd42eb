"""StructVRNN: keypoints found without labels, and a variational recurrent model of them."""
