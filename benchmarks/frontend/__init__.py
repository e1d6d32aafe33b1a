"""Speed of reading, speech detection, chunking and features, without the model."""
