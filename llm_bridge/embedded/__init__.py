"""The language that is made here, and the model that learns it."""
