"""Tasks: requests to the model about chunks of audio, and the result made from the answers."""
