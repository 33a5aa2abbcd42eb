"""PhyDNet: a partial differential equation beside a convolutional LSTM."""
