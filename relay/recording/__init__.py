"""Recording: one device's session kept as a case of the corpus, without whose it is."""
