"""flatselect: choose a convolutional network when no labelled data can be spared for validation."""
