"""Market rules of the Korean exchange as pure functions over dated tables."""
